package upnp

import (
	"net/netip"
	"time"

	"doublenat/internal/realm"
	"doublenat/internal/remedy"
)

// AddressSource is where [Gateway.External] comes from, for people.
const AddressSource = "UPnP GetExternalIPAddress"

// address is the public address. Guarded by Gateway.mu.
type address struct {
	// said is what the box said last, whatever that is; now is the address in it, at when
	// it was said, and told what OnAddressChange was told last.
	said, now, told netip.Addr
	at              time.Time
}

// External returns the public address from memory. It is false while the address is not
// known, or was not confirmed for too long.
func (g *Gateway) External() (netip.Addr, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ok := g.address.now.IsValid() && time.Since(g.address.at) <= g.cfg.MaxAge
	if !ok {
		return netip.Addr{}, false
	}
	return g.address.now, true
}

// Settled returns a channel that is closed once the box has said, since New, whether it has
// a public address: it told one, or answered with a failure.
func (g *Gateway) Settled() <-chan struct{} { return g.settled }

// ageAddress takes back an address that was not confirmed for too long.
func (g *Gateway) ageAddress() {
	if _, ok := g.External(); !ok {
		g.tellAddress(netip.Addr{})
	}
}

// tellAddress reports the address unless it was the last that was reported.
func (g *Gateway) tellAddress(now netip.Addr) {
	g.mu.Lock()
	before := g.address.told
	g.address.told = now
	if before != now {
		g.count.addressChanges++
	}
	g.mu.Unlock()
	if before == now {
		return
	}
	g.log.Info("external address changed", "external_address", now, "before", before, "source", AddressSource)
	g.cfg.OnAddressChange(before, now)
}

// setAddress notes what the box said as its public address.
func (g *Gateway) setAddress(said netip.Addr) {
	now := said
	if !realm.Tellable(said, g.cfg.Device.Gateway) {
		now = netip.Addr{} // 0.0.0.0 is a box's way to say that it has none
	}
	g.mu.Lock()
	news := g.address.said != said
	g.address.said, g.address.now, g.address.at = said, now, time.Now()
	g.mu.Unlock()
	switch {
	case news && !now.IsValid() && !said.IsUnspecified():
		g.log.Warn("gateway's public address cannot be public: clients get none", "external_address", said)
	case news && now.IsValid() && !realm.Public(now):
		g.log.Warn("gateway's public address is private: there is another NAT behind it", "external_address", now, "remedy", remedy.UPnPPrivate())
	}
	g.tellAddress(now)
}
