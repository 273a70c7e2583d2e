package ops

import (
	"fmt"
	"net/netip"
	"time"
)

// The kinds of events that are neither a mapping's nor about how a hop is doing.
const (
	// kindRouter is the kind of an event that tells of the router.
	kindRouter = "router"
	// kindAddress is the kind of a public address that changed.
	kindAddress = "address"
)

// RouteMoved takes in that the gateway is reached through another interface.
func (m *Monitor) RouteMoved(from, to string) {
	m.notice(kindRouter, "the way to the gateway moved from "+from+" to "+to+", rules move with it")
}

// GatewayReplaced takes in that the gateway is another one.
func (m *Monitor) GatewayReplaced() {
	m.notice(kindRouter, "the gateway is another one, asking it for all leases")
}

// AddressChanged takes in that the public address is another one than the last that was known.
func (m *Monitor) AddressChanged(before, now netip.Addr) {
	m.notice(kindAddress, fmt.Sprintf("Public address changed from %v to %v", before, now))
}

func (m *Monitor) notice(kind, text string) {
	m.mu.Lock()
	m.events.add(entry{Event: Event{Time: time.Now(), Kind: kind, Text: text}})
	m.mu.Unlock()
	m.Changed()
}
