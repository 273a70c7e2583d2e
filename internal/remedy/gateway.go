package remedy

import (
	"doublenat/internal/nat"
	"doublenat/natpmp"
)

// gatewayAdvice is advice about the gateway.
func gatewayAdvice(kind Kind, text string) Advice {
	return Advice{Hop: nat.HopGateway, Kind: kind, Text: text}
}

// OtherLanguage is for a gateway that speaks another protocol than doublenat uses. Line is
// the setting that helps.
func OtherLanguage(line string) Advice {
	return gatewayAdvice(KindNotNATPMP, "set "+line)
}

// Refused is for a gateway with nobody on its port of NAT-PMP and PCP.
func Refused(by Link) Advice {
	const (
		key = "make a key with NAT-PMP (port forwarding) enabled, for a server that offers it"
		box = "switch NAT-PMP or PCP on in the box, which may call it UPnP; doublenat check shows what it supports"
	)
	switch by.Kind {
	case LinkTunnel:
		return gatewayAdvice(KindRefused, "NAT-PMP is off for this WireGuard key or on this server: "+key)
	case LinkLine:
		return gatewayAdvice(KindRefused, box)
	case LinkUnknown:
	}
	return gatewayAdvice(KindRefused, "for a VPN, "+key+"; otherwise "+box)
}

// Silent is for a gateway that does not answer. If the interface is known, a command makes
// requests come from the router's address on it, the only one that the gateway answers.
func Silent(by Link) Advice {
	if by.Interface == "" {
		return gatewayAdvice(KindSilent, "requests get lost: check the route to the gateway, "+
			"and that they come from the router's own address on that side (masquerade them, or bind to it)")
	}
	a := gatewayAdvice(KindSilent, "requests get lost: check the route to the gateway and "+by.deaf()+"; "+
		"they must come from the router's own address on "+by.Interface+", so unless they are masqueraded already, type")
	a.Commands = []Command{Masquerade(by.Interface)}
	return a
}

// Masquerade gives what leaves by an interface the router's own address there.
func Masquerade(iface string) Command {
	return NewCommand("/ip/firewall/nat/add", "chain", "srcnat", "action", "masquerade", "out-interface", iface, "comment", "to the gateway")
}

// ForResult is for a gateway that answers with a failure. Success needs none.
func ForResult(code natpmp.ResultCode) Advice {
	switch code {
	case natpmp.ResultSuccess:
		return Advice{}
	case natpmp.ResultNotAuthorized:
		return gatewayAdvice(KindNotAuthorized, "the gateway allows no mappings: switch on port forwarding in the provider's account, "+
			"or allow this client and its ports in the server's permission list")
	case natpmp.ResultNetworkFailure:
		return gatewayAdvice(KindNoNetwork, "the gateway has no public address now: wait, or choose another server; if it is a box, check its line")
	case natpmp.ResultOutOfResources:
		return gatewayAdvice(KindNoPorts, "the gateway has no port left for this router: delete mappings, raise the gateway's limit per host, or with a VPN use one tunnel per device")
	default:
		return gatewayAdvice(KindNotNATPMP, "check the gateway's address, and whether it speaks what VPN_GATEWAY says")
	}
}

// NotSymmetric is for a gateway that refuses internal port 0.
func NotSymmetric() Advice {
	return gatewayAdvice(KindNotAuthorized, "this gateway refuses internal port 0: unset GATEWAY_SYMMETRIC")
}

// NothingGranted is for a success that grants no port, or no time.
func NothingGranted() Advice {
	return gatewayAdvice(KindNothingGranted, "the gateway reports success but grants nothing: check with natpmpc or upnpc whether it maps anything, or choose another server")
}

// Limit is for a mapping that a limit of doublenat itself does not allow.
func Limit() Advice {
	return Advice{Kind: KindLimit, Text: "raise MAX_MAPPINGS or MAX_MAPPINGS_PER_CLIENT, or delete mappings that nobody needs"}
}
