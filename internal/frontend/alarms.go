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
	// flood, haste, crowd, mismatch, port and masquerade are when each was last told of, zero for never.
	flood, haste, crowd, mismatch, port, masquerade time.Time
	// inRow counts the requests from the router, or from one relay, since one that was a
	// client's.
	inRow int
	relay netip.Addr // the last one
}

// flooded is called for each request that came too fast.
func (a *alarms) flooded(client netip.Addr, now time.Time, count *counters) {
	if a.due(&a.flood, now) {
		a.log.Warn("requests come too fast, dropping some", "client", client,
			"over_client_rate", count.tooFast.Load(), "over_new_client_rate", count.tooManyNew.Load())
	}
}

// hasty is called for each mapping that is refused because its client makes so many.
func (a *alarms) hasty(client netip.Addr, now time.Time, count *counters) {
	if a.due(&a.haste, now) {
		a.log.Warn("a client asks for too many new mappings, refusing them", "client", client,
			"refused", count.tooManyCreates.Load())
	}
}

// crowded is called for each mapping that is not made because all clients together
// make so many.
func (a *alarms) crowded(now time.Time, count *counters) {
	if a.due(&a.crowd, now) {
		a.log.Warn("clients ask for more new mappings than CREATE_RATE allows, dropping requests",
			"dropped", count.tooManyInAll.Load(), "remedy", "find who floods, or raise CREATE_RATE if they are all yours")
	}
}

// mismatched is called for each request of PCP that came from another address than it names.
func (a *alarms) mismatched(source netip.Addr, now time.Time) {
	if a.due(&a.mismatch, now) {
		a.log.Warn("PCP request refused, it comes from another address than it contains: something between client and doublenat changes addresses",
			"source", source, "remedy", "the rule that redirects requests must not be masqueraded: "+
				"let srcnat rules with action=masquerade have an out-interface, or except dst-port=5351")
	}
}

// otherPort is called for each request by UPnP for a port that is not to be had.
func (a *alarms) otherPort(client netip.Addr, req request, now time.Time) {
	if a.due(&a.port, now) {
		a.log.Warn("UPnP request refused, the gateway does not grant the very external port that it asks for and the program accepts no other",
			"client", client, "proto", req.protocol.String(), "port", req.suggested, "description", req.description,
			"remedy", "let the program ask by NAT-PMP, PCP or AddAnyPortMapping, which take another port, or for a port that is free there")
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

// suspectLocked counts a request that hides its client, and reports whether it is time
// to warn of them.
func (a *alarms) suspectLocked(now time.Time) bool {
	a.inRow++
	due := a.inRow >= suspects && (a.masquerade.IsZero() || now.Sub(a.masquerade) >= masqueradePause)
	if due {
		a.masquerade = now
	}
	return due
}

// masqueraded is called for each request from an address of the router's.
func (a *alarms) masqueraded(router netip.Addr, now time.Time) {
	a.mu.Lock()
	due := a.suspectLocked(now)
	a.mu.Unlock()
	if due {
		a.log.Warn("all requests come from the router itself, so that clients cannot be told apart: they are dropped",
			"source", router, "remedy", "the rule that redirects NAT-PMP must not be masqueraded: "+
				"let srcnat rules with action=masquerade have an out-interface, or except dst-port=5351")
	}
}

// relayed is called for each request from an address behind which a host hides its clients.
func (a *alarms) relayed(relay netip.Addr, now time.Time) {
	a.mu.Lock()
	if a.relay != relay {
		a.relay, a.inRow = relay, 0
	}
	due := a.suspectLocked(now)
	a.mu.Unlock()
	if due {
		a.log.Warn("all requests come from the address of a bridge or of a container network, so that clients cannot be told apart",
			"source", relay, "remedy", "give the container the host's network (network_mode: host) or one of its own in the LAN (macvlan), "+
				"and do not masquerade requests on this host")
	}
}

// served is called for each request of a client.
func (a *alarms) served() {
	a.mu.Lock()
	a.inRow = 0
	a.mu.Unlock()
}
