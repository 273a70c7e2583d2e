package router

import (
	"time"

	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// Status is the router as the status page shows it.
type Status struct {
	// Connected is set while the connection stands and the login was accepted.
	Connected bool
	// Ready is set while rules can be made: connected, and the interface to the gateway is known.
	Ready bool
	// Since is when the connection was made or lost; zero before the first attempt.
	Since time.Time
	// Identity is the router's name, empty until it was connected once.
	Identity string
	// Version is RouterOS's, for example "7.18 (stable)".
	Version string
	// Board is the hardware, for example "hAP ax^3".
	Board string
	// InInterface is the interface to the gateway, empty while it is not known, and LinkKind
	// what it is.
	InInterface string
	LinkKind    remedy.LinkKind
	// LastSuccess is when the router last did what it was told; zero for never.
	LastSuccess time.Time
	// LastError is the last failure, nil for none. It may be long over.
	LastError error
	// ChangeError is why the last change of the table failed, nil if it did not or
	// there was none. ChangeErrorAt is when; zero without the error.
	ChangeError   error
	ChangeErrorAt time.Time
	// Denied are the policies that the router's user lacks, as far as that was noticed.
	Denied []string
	// Strays counts the rows with a comment of ours on some other interface, at the
	// last read. They are left alone.
	Strays int
	// Invalid are the rules of ours that the router calls invalid, for longer than that
	// may pass by itself; nil for none.
	Invalid []InvalidRule
	// Reads counts the commands that only read, Writes those that change something,
	// Errors those of both that failed.
	Reads, Writes, Errors uint64
	// API has the counters of the connection.
	API routeros.Stats
}

// Link returns the way to the gateway, without an interface while that is not known.
func (s Status) Link() remedy.Link { return remedy.Link{Interface: s.InInterface, Kind: s.LinkKind} }

// Status returns the state of this moment. It does not wait for anything.
func (r *Router) Status() Status {
	api := r.api.Stats()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Status{
		Connected:   r.connected,
		Ready:       r.site != nil,
		Since:       r.since,
		LastSuccess: r.success,
		LastError:   r.lastErr,
		Strays:      r.layout.strays,
		Invalid:     r.invalidLocked(time.Now()),
		Reads:       r.reads.Load(),
		Writes:      r.writes.Load(),
		Errors:      r.errs.Load(),
		API:         api,
	}
	if r.site == nil && r.cfg.Place == PlaceTunnel && r.cfg.InInterface == "" {
		s.LinkKind = remedy.LinkTunnel // or there will be none
	}
	if r.site != nil {
		s.Identity, s.Version, s.Board = r.site.identity, r.site.version, r.site.board
		s.InInterface, s.LinkKind = r.site.iface, r.site.kind.link()
	}
	if r.changeErr != nil {
		s.ChangeError, s.ChangeErrorAt = r.changeErr, r.changeAt
	}
	for _, policy := range []string{"read", "write"} {
		if _, ok := r.denied[policy]; ok {
			s.Denied = append(s.Denied, policy)
		}
	}
	return s
}
