package daemon

import (
	"net/netip"

	"doublenat/internal/frontend"
	"doublenat/internal/router"
	"doublenat/natpmp"
	"doublenat/stun"
)

// GatewayKind returns in which language the gateway is asked.
func (d *Daemon) GatewayKind() string { return d.gateway.Stats().Kind.String() }

// PacketStats returns what became of the packets of clients.
func (d *Daemon) PacketStats() (natpmp.ServerStats, frontend.Stats) {
	return d.server.Stats(), d.frontend.Stats()
}

// AnswerThrough is a STUN server's answer to a question from an address.
func AnswerThrough(local string, server netip.AddrPort, says netip.Addr) stun.Answer {
	return stun.Answer{Mapped: netip.AddrPortFrom(says, 1), Local: netip.AddrPortFrom(netip.MustParseAddr(local), 40000), Server: server}
}

// DepartedFrom is how the router says that a packet left; unclear for "".
func DepartedFrom(address string) router.Departure {
	if address == "" {
		return router.Departure{Unclear: "nobody knows"}
	}
	return router.Departure{From: netip.MustParseAddr(address)}
}
