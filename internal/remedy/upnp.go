package remedy

// UPnPOff is for a box with nobody on the port of its UPnP service.
func UPnPOff() Advice {
	return gatewayAdvice(KindRefused, "the gateway's UPnP no longer answers: check that it is on, and wait if the gateway is restarting")
}

// UPnPSilent is for a box that does not answer.
func UPnPSilent() Advice {
	return gatewayAdvice(KindSilent, "switch UPnP (IGD) on in the gateway, check the route to it, and if it answers only multicast searches, "+
		"set VPN_GATEWAY to the URL of its description")
}

// UPnPNonsense is for a box whose UPnP cannot be used.
func UPnPNonsense() Advice {
	return gatewayAdvice(KindNonsense, "check the gateway's address, and that a UPnP Internet Gateway Device is there, or update its firmware")
}

// UPnPNotAuthorized is for a box that maps no ports for this host.
func UPnPNotAuthorized() Advice {
	return gatewayAdvice(KindNotAuthorized, "allow the router to map ports in the gateway's UPnP settings (some want this per host, or for ports below 1024); "+
		"requests must come from the router's own address, so masquerade them")
}

// UPnPRefused is for a box that refuses what is asked by a rule of its own.
func UPnPRefused() Advice {
	return gatewayAdvice(KindNotAuthorized, "the gateway's UPnP refuses such mappings: check its settings, or forward a range of ports by hand")
}

// UPnPConflict is for a box that has none of the ports that were tried.
func UPnPConflict() Advice {
	return gatewayAdvice(KindNoPorts, "other hosts have these ports at the gateway, or it accepts mappings from the router's own address only: "+
		"masquerade requests to it")
}

// UPnPFull is for a box whose table is full.
func UPnPFull() Advice {
	return gatewayAdvice(KindNoPorts, "the gateway's table of port mappings is full: remove those that nobody needs")
}

// UPnPPrivate is for a box whose own public address is private.
func UPnPPrivate() Advice {
	return gatewayAdvice(KindNoNetwork, "the Internet cannot reach the ports: get a public address from the provider, or map the ports in the next box too")
}
