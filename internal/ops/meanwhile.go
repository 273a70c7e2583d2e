package ops

import (
	"doublenat/internal/nat"
	"doublenat/internal/remedy"
)

// while notes how the open ports fare while the hop is broken. Where nothing is noted they
// go on working.
func (h HopStatus) while(fare remedy.OpenPorts) HopStatus {
	h.OpenPorts = fare
	return h
}

// settled says for people how the open ports fare; of a hop that is not broken, and where no
// port is open, there is nothing to say.
func (h HopStatus) settled(open int) HopStatus {
	if !h.State.broken() || open == 0 {
		h.OpenPorts = ""
		return h
	}
	if h.OpenPorts == "" {
		h.OpenPorts = remedy.PortsWork
	}
	hop := map[Hop]nat.Hop{HopRouter: nat.HopRouter, HopGateway: nat.HopGateway, HopAddress: nat.HopGateway}[h.Name]
	h.Meanwhile = h.OpenPorts.Meanwhile(hop)
	return h
}
