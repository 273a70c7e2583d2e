package remedy

import (
	"fmt"
	"net/netip"
	"strings"
)

// Interface is for an interface to the gateway that is not known. Candidates are the
// interfaces that come into question.
func Interface(candidates []string) Advice {
	text := "set MIKROTIK_IN_INTERFACE"
	if len(candidates) > 0 {
		text += " to one of: " + strings.Join(candidates, ", ")
	}
	return routerAdvice(KindInterface, text)
}

// NoRoute is for a router that has no route to the gateway, or only its default
// route. The setting alone would not do: requests of doublenat need the route too.
// Tunnels are the interfaces into which it may lead.
func NoRoute(gateway netip.Addr, tunnels []string) Advice {
	into := "the interface that leads to it"
	if len(tunnels) > 1 {
		into = "the right one of these tunnels: " + strings.Join(tunnels, ", ")
	}
	if len(tunnels) != 1 {
		return routerAdvice(KindInterface, fmt.Sprintf("add a route to %v through %s; doublenat then finds the interface by that route", gateway, into))
	}
	return routerAdvice(KindInterface, "route the gateway through "+tunnels[0]+"; doublenat then finds the interface by that route",
		NewCommand("/ip/route/add", "dst-address", netip.PrefixFrom(gateway, gateway.BitLen()).String(), "gateway", tunnels[0]))
}

// NoDefaultGateway is for a default route of the router that has no address as its gateway,
// where VPN_GATEWAY=auto: looks for one.
func NoDefaultGateway() Advice {
	return routerAdvice(KindInterface, "set VPN_GATEWAY=auto:// and the address of the box upstream of the router, such as auto://192.168.1.1; "+
		"a default route whose gateway is an interface (PPPoE, LTE, a tunnel) names no address, and there may be no box behind it")
}

// STUNAstray is for a STUN request that did not, or not for certain, leave by the interface
// where a pool's ports arrive.
func STUNAstray(server netip.Addr, iface string) Advice {
	return routerAdvice(KindOtherLine, "route the STUN server through "+iface+" (unless it is a tunnel, give its next hop as the gateway), or set PUBLIC_ADDRESS",
		NewCommand("/ip/route/add", "dst-address", netip.PrefixFrom(server, server.BitLen()).String(), "gateway", iface, "comment", "STUN of doublenat"))
}

// STUNUnmasked is for one that left with doublenat's own address.
func STUNUnmasked(iface string) Advice {
	return routerAdvice(KindOtherLine, "masquerade what leaves through "+iface, Masquerade(iface))
}

// STUNSilent is for a STUN server that does not answer, or refuses.
func STUNSilent() Advice {
	return routerAdvice(KindOtherLine, "check that STUN_SERVER is a STUN server and that UDP reaches it and comes back, or set PUBLIC_ADDRESS")
}

// STUNPrivate is for a STUN server that sees an address which the Internet does not know.
func STUNPrivate() Advice {
	return routerAdvice(KindOtherLine, "use a STUN server on the Internet, beyond all NATs, or set PUBLIC_ADDRESS")
}

// NoTunnel is for a MIKROTIK_IN_INTERFACE that names an interface by which the
// gateway is not reached: rules there open ports on the wrong side. Reached is the
// interface by which it is; empty if that is not known.
func NoTunnel(named, reached string) Advice {
	if reached != "" {
		return routerAdvice(KindInterface, fmt.Sprintf("leave MIKROTIK_IN_INTERFACE empty, or set it to %s: that leads to the gateway, not %s", reached, named))
	}
	return routerAdvice(KindInterface, fmt.Sprintf("leave MIKROTIK_IN_INTERFACE empty: doublenat then finds the interface by the route to VPN_GATEWAY, and %s does not lead there", named))
}
