package ops

import (
	"cmp"
	"fmt"
	"time"

	"doublenat/internal/remedy"
)

// Role is what a doublenat is among several that share a lock. Its values are part of the API.
type Role string

// The roles. Without a lock there is none.
const (
	// RoleStandby waits for the lock, and takes over.
	RoleStandby Role = "standby"
	// RoleActive has the lock, and is the only one that answers clients.
	RoleActive Role = "active"
	// RoleEnded lost the lock or gave it away. It stands by in a moment, or ends.
	RoleEnded Role = "ended"
)

// Roles lists the roles.
func Roles() [3]Role { return [...]Role{RoleStandby, RoleActive, RoleEnded} }

// Lock is how a doublenat stands among several that share a lock.
type Lock struct {
	// Role is what it is.
	Role Role `json:"role"`
	// Name is what the others call this one (LOCK_NAME).
	Name string `json:"name"`
	// Active is the name of the active one, empty while that is not known.
	Active string `json:"active"`
	// Since is when it came into its role.
	Since time.Time `json:"since"`
	// Error is why the lock cannot be reached; empty if it can.
	Error string `json:"error"`
	// Terms is how often this process was the active one.
	Terms int `json:"terms"`
}

// standsBy says whether another doublenat serves the clients.
func (in Input) standsBy() bool { return in.Parts.Lock.Role == RoleStandby }

// standby is the verdict of one that stands by: it is as it should be, and ready to take over.
func standby(in Input, hops []HopStatus) Verdict {
	l := in.Parts.Lock
	v := Verdict{State: StateOK, Ready: true, Title: "Standing by, active is " + cmp.Or(l.Active, "not known yet")}
	v.Detail = "Clients get no reply here. This doublenat takes over when the active one stops or falls silent."
	if l.Active != "" && l.Active == l.Name {
		v.Title = "Standing by, active is another doublenat called " + l.Active
		v.Detail += " Set LOCK_NAME on one of them to tell them apart."
	}
	for _, h := range hops {
		if h.State.broken() {
			return Verdict{
				State: StateDegraded, Hop: h.Name, Title: "Standing by, but it cannot take over: " + trouble(h), Ready: true,
				Detail: h.Detail, Remedy: h.Remedy, Commands: h.Commands,
			}
		}
	}
	if l.Error != "" {
		v.State, v.Hop, v.Title = StateDegraded, HopLAN, "Standing by, but the lock cannot be reached"
		v.Detail, v.Remedy, v.Commands = l.Error, in.Parts.LockAdvice.Text, in.Parts.LockAdvice.Typed()
		if in.Parts.LockAdvice.Kind == remedy.KindLock {
			v.Title = "Standing by, but the lock cannot be taken"
		}
	}
	return v
}

// standbyHops judges the hops of one that stands by: it asks the router alone.
func standbyHops(in Input) []HopStatus {
	lan := HopStatus{Name: HopLAN, State: StateOK, Summary: "standing by", Detail: "on " + in.About.Listen}
	if name := in.Parts.Lock.Active; name != "" {
		lan.Summary += ", clients are answered by " + name
	}
	router := routerHop(in)
	if router.State == StateUnknown && in.Parts.Router.Ready {
		router = router.is(StateOK, "connected, its rules are left to the active doublenat")
	}
	all := []HopStatus{lan, router}
	for _, hop := range []Hop{HopGateway, HopAddress} {
		all = append(all, HopStatus{Name: hop, State: StateUnknown, Summary: "not asked while standing by"})
	}
	return all
}

// kindLock is the kind of an event that tells of the lock.
const kindLock = "lock"

// BecameActive takes in that this doublenat is the active one now. Before is who was, "" if that is
// not known.
func (m *Monitor) BecameActive(before string) {
	text := "active: this doublenat serves the clients now"
	if before != "" {
		text = fmt.Sprintf("active: this doublenat took over from %s", before)
	}
	m.notice(kindLock, text)
}

// lockMetrics are those of the lock; without one there are none.
func lockMetrics() []Metric {
	return []Metric{
		{Name: MetricLockRole, Help: "1 for the role among the doublenats that share a lock (LOCK), 0 for the others; none without a lock.", Labels: []string{"role"}, read: func(s scrape) []point {
			var all []point
			for _, role := range Roles() {
				if s.Lock.Role != "" {
					all = append(all, point{truth(s.Lock.Role == role), []string{string(role)}})
				}
			}
			return all
		}},
		ofLock(gauge(MetricLockSince, "When this doublenat came into its role.", func(s scrape) float64 { return timestamp(s.Lock.Since) })),
		ofLock(gauge(MetricLockReachable, "1 while the lock can be reached, else 0.", func(s scrape) float64 { return truth(s.Lock.Error == "") })),
		ofLock(Metric{Name: MetricLockTerms, Counter: true, Help: "How often this process became the active one.", read: func(s scrape) []point {
			return []point{{value: float64(s.Lock.Terms)}}
		}}),
	}
}

// ofLock leaves a metric out where there is no lock.
func ofLock(m Metric) Metric {
	read := m.read
	m.read = func(s scrape) []point {
		if s.Lock.Role == "" {
			return nil
		}
		return read(s)
	}
	return m
}
