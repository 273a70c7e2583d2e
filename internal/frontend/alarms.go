package frontend

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// The bounds of what [alarms] says.
const (
	floodPause      = time.Minute
	masqueradePause = time.Hour
	// suspects is how many requests in a row have to come from the router itself
	// until that is no chance: its own tools ask once.
	suspects = 3
)

// alarms tells the operator of what packets do, however many there are: a line a
// minute at the most.
type alarms struct {
	log *slog.Logger

	mu sync.Mutex // guards what follows; held for moments only
	// flood, haste and masquerade are when each was last told of, zero for never.
	flood, haste, masquerade time.Time
	// inRow counts the requests from the router since one that was a client's.
	inRow int
}

// flooded is called for each request that came too fast.
func (a *alarms) flooded(client netip.Addr, now time.Time, count *counters) {
	if a.due(&a.flood, now) {
		a.log.Warn("requests come too fast and are dropped", "client", client,
			"over_client_rate", count.tooFast.Load(), "over_new_client_rate", count.tooManyNew.Load())
	}
}

// hasty is called for each mapping that is refused because its client makes so many.
func (a *alarms) hasty(client netip.Addr, now time.Time, count *counters) {
	if a.due(&a.haste, now) {
		a.log.Warn("a client asks for too many new mappings and is refused them", "client", client,
			"refused", count.tooManyCreates.Load())
	}
}

// due says whether it is time to tell of something again, and notes that it is told.
func (a *alarms) due(last *time.Time, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	due := last.IsZero() || now.Sub(*last) >= floodPause
	if due {
		*last = now
	}
	return due
}

// masqueraded is called for each request from an address of the router's.
func (a *alarms) masqueraded(router netip.Addr, now time.Time) {
	a.mu.Lock()
	a.inRow++
	due := a.inRow >= suspects && (a.masquerade.IsZero() || now.Sub(a.masquerade) >= masqueradePause)
	if due {
		a.masquerade = now
	}
	a.mu.Unlock()
	if due {
		a.log.Warn("all requests come from the router itself, so that clients cannot be told apart: they are dropped",
			"source", router, "remedy", "the rule that redirects NAT-PMP must not be masqueraded: "+
				"let srcnat rules with action=masquerade have an out-interface, or except dst-port=5351")
	}
}

// served is called for each request of a client.
func (a *alarms) served() {
	a.mu.Lock()
	a.inRow = 0
	a.mu.Unlock()
}
