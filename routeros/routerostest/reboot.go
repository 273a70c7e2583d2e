package routerostest

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Reboot says how a restart of the router goes.
type Reboot struct {
	// Down is how long the router refuses connections.
	Down time.Duration
	// Cut cuts the connections with an RST. Without it they vanish: no FIN, no RST,
	// no reply, until the router is up again and gets bytes that it cannot place.
	Cut bool
	// LoseLast loses the NAT rules that were added in this last while, as a power
	// cut does before the configuration is written; 0 for none.
	LoseLast time.Duration
	// Renumber gives every rule a new id.
	Renumber bool
}

// Reboot restarts the router: connections end, counters are zero, dynamic rules
// and tracked connections are gone, rules stay.
func (r *Router) Reboot(how Reboot) {
	r.mu.Lock()
	now := time.Now()
	r.downUntil = now.Add(how.Down)
	r.booted, r.writesSinceBoot, r.listens = r.downUntil, 0, nil
	sessions := r.sessionsLocked()
	t := r.tables[natPath]
	t.items = slices.DeleteFunc(t.items, func(it *item) bool {
		return it.is("dynamic") || how.LoseLast > 0 && !it.added.IsZero() && now.Sub(it.added) < how.LoseLast
	})
	r.tables["/ip/firewall/connection"].items = nil
	r.forgetTimedLocked()
	if r.config.ReuseIDs {
		t.lastID = 0
		for _, it := range t.items {
			t.lastID = max(t.lastID, parseID(it.id))
		}
	}
	for _, it := range t.items {
		resetCounters(t, it)
		if how.Renumber {
			it.id, it.printed = t.newID(), nil
		}
	}
	r.natChanges++
	until := r.downUntil
	r.mu.Unlock()
	for _, s := range sessions {
		if how.Cut {
			s.end(endReset)
		} else {
			s.vanish(until)
		}
	}
	r.changed()
}

// sessionsLocked returns the open sessions in the order in which they began.
func (r *Router) sessionsLocked() []*session {
	return slices.SortedFunc(maps.Keys(r.sessions), func(a, b *session) int { return cmp.Compare(a.number, b.number) })
}

// Disconnect cuts all connections with an RST; the router stays up.
func (r *Router) Disconnect() {
	r.mu.Lock()
	sessions := r.sessionsLocked()
	r.mu.Unlock()
	for _, s := range sessions {
		s.end(endReset)
	}
}
