package config

import "net/netip"

// device reads where UPnP is served, the zero value for nowhere. Without an address of its own
// it is that of NAT-PMP.
func (p *parser) device(given raw, listen netip.AddrPort) netip.AddrPort {
	on := value(p, "UPNP", given.UPnP, parseSwitch)
	at := value(p, "UPNP_ADDR", given.UPnPAddr, parseListen)
	if !on || !at.IsValid() {
		return netip.AddrPort{}
	}
	if at.Addr().IsUnspecified() && listen.IsValid() {
		at = netip.AddrPortFrom(listen.Addr(), at.Port())
	}
	if http := value(p, "HTTP_ADDR", given.HTTPAddr, ParseListenAddress); http.Network == "tcp" {
		if other, err := parseListen(http.Address); err == nil && meet(at, other) {
			p.fail("UPNP_ADDR", given.UPnPAddr, "is that of HTTP_ADDR, the status page's: give it another port")
		}
	}
	return at
}

// meet says whether two servers cannot listen at both addresses.
func meet(a, b netip.AddrPort) bool {
	return a.Port() == b.Port() && (a.Addr() == b.Addr() || a.Addr().IsUnspecified() || b.Addr().IsUnspecified())
}
