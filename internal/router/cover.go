package router

import (
	"net/netip"
	"slices"
	"strings"

	"doublenat/internal/nat"
)

// wideFrom is how many ports a rule of others has to take to count as wide: one that
// was written for everything, or for a whole range, before which a rule of ours for one
// port may stand. What takes fewer was meant for just these ports, and is left to them.
const wideFrom = 1000

// claim is which packets of new connections that come in through the tunnel a row can take.
type claim struct {
	protocols []nat.Protocol
	ports     portList
	all       bool // ports are all
}

// of reports whether the claim has packets for the port.
func (c claim) of(p nat.Protocol, port uint16) bool {
	return slices.Contains(c.protocols, p) && (c.all || c.ports.has(port))
}

// wide reports whether the claim takes very many ports.
func (c claim) wide() bool { return c.all || c.ports.count() >= wideFrom }

// empty reports whether the claim has no packets at all.
func (c claim) empty() bool { return len(c.protocols) == 0 || !c.all && c.ports.count() == 0 }

// within returns the part of the claim that other has too.
func (c claim) within(other claim) claim {
	var both []nat.Protocol
	for _, p := range c.protocols {
		if slices.Contains(other.protocols, p) {
			both = append(both, p)
		}
	}
	part := claim{protocols: both, ports: c.ports, all: c.all}
	switch {
	case c.all:
		part.ports, part.all = other.ports, other.all
	case !other.all:
		part.ports = c.ports.intersect(other.ports)
	}
	return part
}

// claims returns what the row can take of the packets that come in through the tunnel.
// Ok is false if that is nothing. In doubt it can.
func (s *site) claims(r natRow) (c claim, ok bool) {
	if r.disabled || r.invalid || !s.concerns(r) || !s.sendsTo(r) || !s.hearsFrom(r) {
		return claim{}, false
	}
	c.protocols = r.protocols()
	ports, known := r.ports()
	c.ports, c.all = ports.plain(), !known
	return c, !c.empty()
}

// concerns reports whether packets that come in through the tunnel may match the
// row's interface. In doubt they may.
func (s *site) concerns(r natRow) bool {
	if r.iface != "" {
		name, negated := strings.CutPrefix(r.iface, "!")
		switch name {
		case s.iface:
			if negated {
				return false
			}
		case "all-ethernet", "all-ppp", "all-vlan", "all-wireless":
			// A tunnel may be one of these or not: either way the row may take its packets.
		default:
			if !negated {
				return false
			}
		}
	}
	if r.ifaceList != "" {
		name, negated := strings.CutPrefix(r.ifaceList, "!")
		switch s.lists[name] {
		case listHas:
			return !negated
		case listLacks:
			return negated
		case listUnknown:
		}
	}
	return true
}

// sendsTo reports whether the row may match the address to which packets come through
// the tunnel: the router's own at its end.
func (s *site) sendsTo(r natRow) bool {
	kinds, negated := strings.CutPrefix(r.dstType, "!")
	has := func(kind string) bool { return slices.Contains(strings.Split(kinds, ","), kind) }
	switch {
	case kinds == "":
	case negated && has("local"):
		return false
	case !negated && !has("local") && !has("unicast"): // as which a version may count it
		return false
	}
	if r.dstAddress == "" || len(s.own) == 0 {
		return true
	}
	text, negated := strings.CutPrefix(r.dstAddress, "!")
	first, last, ok := parseAddresses(text)
	if !ok {
		return true
	}
	for _, own := range s.own {
		if (first.Compare(own) <= 0 && own.Compare(last) <= 0) != negated {
			return true
		}
	}
	return false
}

// hearsFrom reports whether the row may match packets from the Internet, or from the
// gateway, which may put its own address into them.
func (s *site) hearsFrom(r natRow) bool {
	first, last, ok := parseAddresses(r.srcAddress)
	if !ok || r.srcAddress == "" || first.Compare(s.gateway) <= 0 && s.gateway.Compare(last) <= 0 {
		return true
	}
	for _, inner := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"} {
		if p := netip.MustParsePrefix(inner); p.Contains(first) && p.Contains(last) {
			return false
		}
	}
	return true
}
