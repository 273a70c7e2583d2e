package remedy

import (
	"doublenat/internal/nat"
	"doublenat/natpmp"
)

// gatewayAdvice is advice about the VPN gateway.
func gatewayAdvice(kind Kind, text string) Advice {
	return Advice{Hop: nat.HopGateway, Kind: kind, Text: text}
}

// Refused is for a gateway with nobody on its NAT-PMP port.
func Refused() Advice {
	return gatewayAdvice(KindRefused, "NAT-PMP is off for this WireGuard key or on this server: "+
		"make a key with NAT-PMP (port forwarding) on, for a server that offers it")
}

// Silent is for a gateway of which nothing is heard.
func Silent() Advice {
	return gatewayAdvice(KindSilent, "requests get lost: check the route to the gateway, "+
		"and that they come from the tunnel's address (masquerade them, or bind to it)")
}

// ForResult is for a gateway that answers with a failure. Success needs none.
func ForResult(code natpmp.ResultCode) Advice {
	switch code {
	case natpmp.ResultSuccess:
		return Advice{}
	case natpmp.ResultNotAuthorized:
		return gatewayAdvice(KindNotAuthorized, "the gateway allows no mappings: switch port forwarding on in the provider's account, "+
			"or this client and its ports in the server's permission list")
	case natpmp.ResultNetworkFailure:
		return gatewayAdvice(KindNoNetwork, "the gateway has no public address now: wait, or choose another server")
	case natpmp.ResultOutOfResources:
		return gatewayAdvice(KindNoPorts, "the gateway has no port left for this tunnel: give mappings back, or use a tunnel of its own for each device")
	default:
		return gatewayAdvice(KindNotNATPMP, "check the address of the gateway, and whether it speaks NAT-PMP")
	}
}

// NotSymmetric is for a gateway that refuses internal port 0.
func NotSymmetric() Advice {
	return gatewayAdvice(KindNotAuthorized, "this gateway grants named ports only: unset GATEWAY_SYMMETRIC")
}

// NothingGranted is for a success that grants no port, or no time.
func NothingGranted() Advice {
	return gatewayAdvice(KindNothingGranted, "the gateway says yes and grants nothing: check whether it speaks NAT-PMP, or choose another server")
}

// Limit is for a mapping that a limit of doublenat itself does not allow.
func Limit() Advice {
	return Advice{Kind: KindLimit, Text: "raise MAX_MAPPINGS or MAX_MAPPINGS_PER_CLIENT, or end mappings that nobody needs"}
}
