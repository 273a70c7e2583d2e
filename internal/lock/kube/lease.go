package kube

import (
	"time"
)

// lease is what is read of a Lease. What else it has stays as it is, for only what is ours is written.
type lease struct {
	Metadata struct {
		// ResourceVersion names one state of the object. A write that names an old one is refused.
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Spec struct {
		HolderIdentity       string `json:"holderIdentity"`
		LeaseDurationSeconds int    `json:"leaseDurationSeconds"`
		RenewTime            string `json:"renewTime"`
		LeaseTransitions     int    `json:"leaseTransitions"`
	} `json:"spec"`
}

// spec is what is written, in the words of LeaseSpec.
type spec struct {
	HolderIdentity       string `json:"holderIdentity"`
	LeaseDurationSeconds int    `json:"leaseDurationSeconds"`
	AcquireTime          string `json:"acquireTime,omitempty"`
	RenewTime            string `json:"renewTime"`
	LeaseTransitions     *int   `json:"leaseTransitions,omitempty"`
}

// metadata is what is written beside it: the name of a new object, the version of an old one.
type metadata struct {
	Name            string `json:"name,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// body is a whole request.
type body struct {
	APIVersion string   `json:"apiVersion,omitempty"`
	Kind       string   `json:"kind,omitempty"`
	Metadata   metadata `json:"metadata"`
	Spec       spec     `json:"spec"`
}

// micro is how a MicroTime is written.
const micro = "2006-01-02T15:04:05.000000Z07:00"

func stamp(t time.Time) string { return t.UTC().Format(micro) }

// seconds is a lease's duration as it is written. A fraction is more: others shall not come too early.
func seconds(d time.Duration) int { return max(1, int((d+time.Second-1)/time.Second)) }

// sighting is the state in which somebody else's Lease was last seen, and when it was first seen in
// that state by our clock. The times in the object are the holder's, whose clock may be wrong.
type sighting struct {
	version string
	at      time.Time
}

// see takes a state in.
func (s *sighting) see(l *lease, now time.Time) {
	if l.Metadata.ResourceVersion != s.version {
		*s = sighting{version: l.Metadata.ResourceVersion, at: now}
	}
}

// free says whether nobody has the lock: it was given back, or its holder has not renewed it for as long
// as it said, and as long as we would.
func (s *sighting) free(l *lease, ours time.Duration, now time.Time) bool {
	theirs := time.Duration(l.Spec.LeaseDurationSeconds) * time.Second
	return l.Spec.HolderIdentity == "" || now.Sub(s.at) >= max(theirs, ours)
}
