package remedy

import "doublenat/natpmp"

// PCPOnly is for a gateway that answers as a PCP server without NAT-PMP does.
func PCPOnly() Advice {
	return gatewayAdvice(KindPCPOnly, "the gateway speaks PCP only, and doublenat uses NAT-PMP: "+
		"switch NAT-PMP on at the gateway, or choose a server that offers it")
}

// ForOddity is for a gateway with implausible replies. [natpmp.OddNone] needs none.
func ForOddity(odd natpmp.Oddity) Advice {
	if odd == natpmp.OddNone {
		return Advice{}
	}
	return gatewayAdvice(KindNonsense, "the gateway "+odd.String()+": update its NAT-PMP server, or choose another server")
}

// EpochJumps is for a gateway whose epoch jumps back and forth.
func EpochJumps() Advice {
	return gatewayAdvice(KindNonsense, "check whether two machines answer at the gateway's address, or choose another server")
}
