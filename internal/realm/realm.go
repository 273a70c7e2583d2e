// Package realm tells which IPv4 addresses the Internet knows, and which can be told to
// anybody at all (RFC 6890). A gateway may say any four bytes, and a name may lead anywhere.
package realm

import "net/netip"

// Public reports whether the Internet knows the address. It knows neither those of a home
// (RFC 1918), of a provider's NAT (RFC 6598) and of a link, nor what is no host's address.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	return host(a) && !a.IsLoopback() && !a.IsPrivate() && !netip.MustParsePrefix("100.64.0.0/10").Contains(a)
}

// Tellable reports whether a client may be told that the gateway's public address is a. A
// private one may: behind it is one more NAT, and who is between the two gets through. That of
// a group, a link or a host itself leads nowhere, but a gateway on loopback is one of a lab.
func Tellable(a, gateway netip.Addr) bool {
	return a.Is4() && host(a) && (!a.IsLoopback() || gateway.IsLoopback())
}

// host reports whether a host that is further away than a link can have the address:
// "this network" (0.0.0.0/8), groups, links and 240.0.0.0/4 are out. Loopback counts.
func host(a netip.Addr) bool {
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
		return false
	}
	if !a.Is4() {
		return true
	}
	first := a.As4()[0]
	return first != 0 && first < 240
}
