package natpmptest

import (
	"net/netip"
	"time"
)

// Profile returns a copy of how the gateway behaves now.
func (g *Gateway) Profile() Profile {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.profile.clone()
}

// Adjust changes how the gateway behaves, from the next request on: silence,
// delays, limits, results, and whatever else a [Profile] has. Leases that stand
// stay as they are. The function must not call the gateway.
func (g *Gateway) Adjust(change func(p *Profile)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.profile)
	g.profile = g.profile.clone()
	close(g.adjusted)
	g.adjusted = make(chan struct{})
}

// Refuse closes the gateway's port or opens it again. Under
// [Gateway.ListenAndServe] its socket is really closed, a moment after this
// returns, so that clients see ICMP port unreachable; under [Gateway.Serve], whose
// socket is the caller's, requests are only ignored. Leases stand and expire meanwhile.
func (g *Gateway) Refuse(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refusing != on {
		g.refusing = on
		close(g.turned)
		g.turned = make(chan struct{})
	}
}

// Restart makes the epoch start at 0. The leases are forgotten unless they are kept.
func (g *Gateway) Restart(keep bool) {
	g.update(func(now time.Time) {
		g.epoch, g.epochAt = 0, now
		if !keep && g.table.dropIf(func(*lease) bool { return true }) > 0 {
			g.changed = true
		}
	})
}

// Skip lets time pass for the gateway alone: its epoch goes on, and leases end that
// much sooner. It is what a client sees whose own clock stood still, as the clock of a
// suspended machine does.
func (g *Gateway) Skip(d time.Duration) {
	g.update(func(now time.Time) {
		g.epochAt, g.skipped = g.epochAt.Add(-d), g.skipped+d
		g.table.advance(d)
		g.expireLocked(now)
	})
}

// SetAddress changes the public address. The zero value takes it away: the
// gateway then answers address requests with result 3.
func (g *Gateway) SetAddress(a netip.Addr) {
	g.update(func(time.Time) {
		g.changed = g.changed || a != g.address
		g.address = a
	})
}

// MovePorts gives every lease another external port at once, as a gateway does
// that changed its mind. Clients hear of it when they renew.
func (g *Gateway) MovePorts() {
	g.update(func(time.Time) { g.moveAllLocked() })
}

// GrantNext sets the external ports of the next new or moved leases. A port that
// is taken is skipped, and a companion port that is due goes first.
func (g *Gateway) GrantNext(ports ...uint16) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next = append(g.next, ports...)
}
