package routerostest

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// natPath is the table that this package is about.
const natPath = "/ip/firewall/nat"

// maxLogPrefix is the longest log-prefix from RouterOS 7.21 on.
const maxLogPrefix = 31

func checkChain(r *Router, name, value string) traps {
	if value == "" || value == "input" && r.version < v701 || value == "output" && r.version < v701 {
		return refuseChoice(name)
	}
	return nil
}

func checkAction(r *Router, name, value string) traps {
	actions := "accept dst-nat redirect netmap masquerade src-nat same jump return log passthrough " +
		"add-src-to-address-list add-dst-to-address-list"
	if r.version >= v701 {
		actions += " endpoint-independent-nat"
	}
	if r.version >= v720 {
		actions += " socksify"
	}
	return checkChoice(strings.Fields(actions)...)(r, name, value)
}

func checkLogPrefix(r *Router, name, value string) traps {
	if r.version >= v721 && len(value) > maxLogPrefix {
		return refuseValue(name)
	}
	return nil
}

// Match says where the first packet of a new connection goes that came in on an
// interface for a port of the router's own address there. It walks the dstnat
// chain in order as the router does: protocols, port lists, ranges, negation,
// interfaces and their lists, disabled and invalid rules, an accept before the
// dst-nat. Counters of the rule that matched go up.
//
// Protocol is "tcp" or "udp". Ok is false when no rule forwards the packet. A
// rule that asks for what Match is not told (a source address, a connection
// mark) does not match. Jumps are followed.
func (r *Router) Match(protocol, inInterface string, dstPort uint16) (to netip.AddrPort, ruleID string, ok bool) {
	return r.MatchFrom(netip.AddrPort{}, protocol, inInterface, dstPort)
}

// MatchFrom is Match for a packet that comes from an address and port: rules are asked for
// those too. The zero AddrPort is none.
func (r *Router) MatchFrom(from netip.AddrPort, protocol, inInterface string, dstPort uint16) (to netip.AddrPort, ruleID string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := packet{protocol: protocol, inInterface: inInterface, dst: r.addressOfLocked(inInterface), port: dstPort, src: from}
	it := r.matchLocked("dstnat", p, maxJumps)
	if it == nil {
		return netip.AddrPort{}, "", false
	}
	t := r.tables[natPath]
	count(t, it, "packets", 1)
	count(t, it, "bytes", 60)
	to, ok = target(it, p)
	return to, it.id, ok
}

// matchLocked returns the rule of a chain that decides about a packet, nil for none.
func (r *Router) matchLocked(chain string, p packet, jumps int) *item {
	for _, it := range r.tables[natPath].items {
		if it.value("chain") != chain || !it.works() || !r.matchesLocked(it, p) {
			continue
		}
		switch it.value("action") {
		case "log", "passthrough", "add-src-to-address-list", "add-dst-to-address-list":
		case "return":
			return nil
		case "jump":
			if jumps == 0 {
				continue
			}
			if found := r.matchLocked(it.value("jump-target"), p, jumps-1); found != nil {
				return found
			}
		default:
			return it
		}
	}
	return nil
}

// packet is what Match knows of a packet.
type packet struct {
	protocol, inInterface string
	dst                   netip.Addr
	port                  uint16
	src                   netip.AddrPort // zero for not told
}

// matchesLocked reports whether every matcher of the rule takes the packet.
func (r *Router) matchesLocked(it *item, p packet) bool {
	for _, prop := range it.props {
		if prop.value() == "" {
			continue
		}
		value := positive(prop.value())
		var hit bool
		switch prop.name() {
		case "protocol":
			hit = protocolName(value) == p.protocol
		case "dst-port", "port":
			list, _ := parsePorts(value)
			hit = slices.ContainsFunc(list, func(l ports) bool { return l.first <= p.port && p.port <= l.last })
		case "in-interface":
			hit = r.interfaceIsLocked(value, p.inInterface)
		case "in-interface-list":
			hit = r.inListLocked(value, p.inInterface)
		case "dst-address":
			span, _ := parseAddresses(value)
			hit = span.contains(p.dst)
		case "dst-address-type":
			hit = value == "local"
		case "src-address", "src-port":
			if !p.src.IsValid() {
				return false
			}
			hit = p.isFrom(prop.name(), value)
		case "src-address-list", "dst-address-list", "src-address-type", "out-interface",
			"out-interface-list", "connection-mark", "routing-mark", "packet-mark", "src-mac-address", "limit", "time", "tls-host":
			return false
		default:
			continue
		}
		if hit == strings.HasPrefix(prop.value(), "!") {
			return false
		}
	}
	return true
}

// isFrom reports whether a matcher of sources takes the packet.
func (p packet) isFrom(name, value string) bool {
	if name == "src-port" {
		return hasPort(value, p.src.Port())
	}
	span, _ := parseAddresses(value)
	return span.contains(p.src.Addr())
}

// target returns where a rule sends a packet that it matched.
func target(it *item, p packet) (netip.AddrPort, bool) {
	port := p.port
	if list, ok := parsePorts(it.value("to-ports")); ok && (port < list[0].first || port > list[0].last) {
		port = list[0].first
	}
	addr := p.dst
	switch it.value("action") {
	case "dst-nat", "netmap":
		if span, ok := parseAddresses(it.value("to-addresses")); ok {
			addr = span.first
		}
	case "redirect":
	default:
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr, port), addr.IsValid()
}

// count adds to a counter of a rule.
func count(t *table, it *item, name string, n uint64) {
	old, err := strconv.ParseUint(it.value(name), 10, 64)
	if err != nil {
		old = 0
	}
	it.set(t.menu.order, name, strconv.FormatUint(old+n, 10))
}

// addressOfLocked returns the first address on an interface, invalid for none.
func (r *Router) addressOfLocked(name string) netip.Addr {
	for _, it := range r.tables["/ip/address"].items {
		if it.value("interface") == name && !it.is("disabled") {
			if prefix, err := netip.ParsePrefix(it.value("address")); err == nil {
				return prefix.Addr()
			}
		}
	}
	return netip.Addr{}
}

// interfaceTypeLocked returns the type of an interface, "" for none.
func (r *Router) interfaceTypeLocked(name string) string {
	for _, it := range r.tables["/interface"].items {
		if it.value("name") == name {
			return it.value("type")
		}
	}
	return ""
}

// inListLocked reports whether an interface is in an interface list.
func (r *Router) inListLocked(list, name string) bool {
	return r.inListDepthLocked(list, name, maxJumps)
}

// inListDepthLocked follows lists that include and exclude others.
func (r *Router) inListDepthLocked(list, name string, depth int) bool {
	switch {
	case list == "all":
		return true
	case list == "none" || depth == 0:
		return false
	}
	if slices.ContainsFunc(r.tables["/interface/list/member"].items, func(it *item) bool {
		return it.value("list") == list && it.value("interface") == name && !it.is("disabled")
	}) {
		return true
	}
	t := r.tables["/interface/list"]
	at := t.find(list)
	if at < 0 {
		return false
	}
	among := func(names string) bool {
		return names != "" && slices.ContainsFunc(strings.Split(names, ","), func(other string) bool {
			return r.inListDepthLocked(other, name, depth-1)
		})
	}
	return among(t.items[at].value("include")) && !among(t.items[at].value("exclude"))
}
