package routerostest

import (
	"net/netip"
	"slices"
	"strings"
)

// maxJumps is how deep chains may call each other.
const maxJumps = 32

// verdict is what a rule, or a chain, says of a packet.
type verdict uint8

const (
	// goOn asks the next rule.
	goOn verdict = iota
	// stop ends the table: the packet passes.
	stop
	// drop ends the packet.
	drop
)

// chain leads the packet through a chain of a table, and reports whether it passed.
func (w *walker) chain(table, chain string) bool { return w.rules(table, chain, maxJumps) != drop }

// rules asks the rules of a chain one by one.
func (w *walker) rules(table, chain string, jumps int) verdict {
	for _, it := range w.r.tables[table].items {
		if it.value("chain") != chain || !it.works() || !w.matches(table, it) {
			continue
		}
		v := goOn
		switch action := it.value("action"); action {
		case "jump":
			if jumps > 0 {
				v = w.rules(table, it.value("jump-target"), jumps-1)
			}
		case "return":
			return goOn
		default:
			v = w.act(table, it, action)
		}
		if v != goOn {
			return v
		}
	}
	return goOn
}

// stageOf names a table and a rule's chain.
func stageOf(table string, it *item) string {
	return strings.TrimPrefix(table, "/ip/firewall/") + " " + it.value("chain")
}

// act does what a rule says that matched.
func (w *walker) act(table string, it *item, action string) verdict {
	note := func(what string) { w.step(Step{Stage: stageOf(table, it), Table: table, ID: it.id, What: what}) }
	switch action {
	case "accept":
		note(action)
		return stop
	case "drop", "reject", "tarpit":
		note(action)
		w.path.Fate = Lost
		return drop
	case "notrack":
		note(action)
		w.path.untracked = true
		return goOn
	case "dst-nat", "redirect", "netmap", "masquerade", "src-nat", "same":
		return w.translate(it, action, note)
	case "mark-connection":
		if !w.path.untracked { // else there is no connection to mark
			w.path.connectionMark = it.value("new-connection-mark")
		}
	case "mark-routing":
		w.routingMark = it.value("new-routing-mark")
	case "mark-packet":
		w.packetMark = it.value("new-packet-mark")
	case "route":
		w.unsure(table, it, "action=route")
		return goOn
	default:
		return goOn // it counts, logs, or changes what no other rule looks at
	}
	note(action)
	if it.value("passthrough") == "false" {
		return stop
	}
	return goOn
}

// translate applies a NAT rule.
func (w *walker) translate(it *item, action string, note func(string)) verdict {
	dst := action == "dst-nat" || action == "redirect" || action == "netmap" && it.value("chain") != "srcnat"
	end := &w.path.Src
	if dst {
		end, w.path.dstNAT = &w.path.Dst, true
	} else {
		w.path.srcNAT = true
	}
	addr, port := end.Addr(), end.Port()
	span, given := parseAddresses(it.value("to-addresses"))
	switch {
	case action == "redirect":
		addr = w.r.addressOfLocked(w.path.Packet.In)
	case action == "masquerade":
		addr = w.r.sourceLocked(w.out, w.path.Via)
	case given && !span.contains(addr):
		addr = span.first
	}
	if list, ok := parsePorts(it.value("to-ports")); ok && (port < list[0].first || port > list[0].last) {
		port = list[0].first
	}
	*end = netip.AddrPortFrom(addr, port)
	note(action + " to " + end.String())
	return stop
}

// sourceLocked returns the address that the router uses on an interface towards a next hop.
func (r *Router) sourceLocked(name string, via netip.Addr) netip.Addr {
	for _, it := range r.tables["/ip/address"].items {
		prefix, err := netip.ParsePrefix(it.value("address"))
		if err == nil && it.value("interface") == name && !it.is("disabled") && prefix.Contains(via) {
			return prefix.Addr()
		}
	}
	return r.addressOfLocked(name)
}

// unsure notes a rule that was passed over.
func (w *walker) unsure(table string, it *item, what string) {
	s := Step{Stage: stageOf(table, it), Table: table, ID: it.id, What: what}
	if !slices.Contains(w.path.Unsure, s) {
		w.path.Unsure = append(w.path.Unsure, s)
	}
}

// isSetting reports whether a property of a rule matches nothing. Those that limit a
// rate let the first packet of a connection through.
func isSetting(name string) bool {
	switch name {
	case "chain", "action", "comment", "bytes", "packets", "invalid", "dynamic", "disabled", ".about", "log", "log-prefix", "to-addresses", "to-ports",
		"jump-target", "address-list", "address-list-timeout", "reject-with", "passthrough", "new-connection-mark", "new-routing-mark",
		"new-packet-mark", "new-mss", "new-dscp", "new-ttl", "new-priority", "hw-offload", "same-not-by-dst",
		"randomise-ports", "limit", "dst-limit": //nolint:misspell // RouterOS spells it so
		return true
	default:
		return false
	}
}

// matches reports whether every matcher of a rule takes the packet.
func (w *walker) matches(table string, it *item) bool {
	var strange string
	for _, p := range it.props {
		if p.value() == "" || isSetting(p.name()) {
			continue
		}
		value, negated := positive(p.value()), strings.HasPrefix(p.value(), "!")
		if p.name() == "tcp-flags" { // each flag has a sign of its own
			value, negated = p.value(), false
		}
		hit, known := w.match(p.name(), value)
		if !known {
			strange = p.name() + "=" + p.value()
			continue
		}
		if hit == negated {
			return false
		}
	}
	if strange != "" {
		w.unsure(table, it, strange)
	}
	return strange == ""
}

// match judges one matcher without its exclamation mark; known is false for one that
// the walk does not understand.
func (w *walker) match(name, value string) (hit, known bool) {
	src, dst := w.path.Src, w.path.Dst
	switch name {
	case "protocol":
		return protocolName(value) == w.path.Packet.Protocol, true
	case "src-address", "dst-address":
		span, ok := parseAddresses(value)
		return span.contains(w.end(name).Addr()), ok
	case "src-address-list", "dst-address-list":
		return w.r.addressListLocked(value, w.end(name).Addr())
	case "src-address-type", "dst-address-type":
		return w.r.addressTypeLocked(value, w.end(name).Addr()), true
	case "src-port", "dst-port":
		return hasPort(value, w.end(name).Port()), true
	case "port":
		return hasPort(value, src.Port()) || hasPort(value, dst.Port()), true
	case "in-interface":
		return w.r.interfaceIsLocked(value, w.path.Packet.In), true
	case "out-interface":
		return w.r.interfaceIsLocked(value, w.out), true
	case "in-interface-list":
		return w.r.inListLocked(value, w.path.Packet.In), !strings.HasPrefix(value, "*")
	case "out-interface-list":
		return w.r.inListLocked(value, w.out), !strings.HasPrefix(value, "*")
	default:
		return w.matchState(name, value)
	}
}

// end returns the end of the packet that a matcher is about.
func (w *walker) end(name string) netip.AddrPort {
	if strings.HasPrefix(name, "src-") {
		return w.path.Src
	}
	return w.path.Dst
}

// matchState judges matchers of marks and of the connection.
func (w *walker) matchState(name, value string) (hit, known bool) {
	switch name {
	case "connection-state":
		return slices.Contains(strings.Split(value, ","), w.state), true
	case "connection-nat-state":
		states := strings.Split(value, ",")
		return w.path.dstNAT && slices.Contains(states, "dstnat") || w.path.srcNAT && slices.Contains(states, "srcnat"), true
	case "connection-mark":
		return markIs(w.path.connectionMark, value), true
	case "routing-mark":
		return markIs(w.routingMark, value), true
	case "packet-mark":
		return markIs(w.packetMark, value), true
	case "ipsec-policy":
		return strings.HasSuffix(value, ",none"), true // no tunnel of the test router is IPsec
	case "hotspot", "tcp-mss", "connection-bytes", "psd", "fragment", "ipv4-options":
		return false, true // not so for a first packet, or without what they look at
	case "tcp-flags":
		return w.path.Packet.Protocol == "tcp" && w.way == nil && isSYN(value), true
	default:
		return false, false
	}
}

// markIs reports whether a matcher takes a mark.
func markIs(have, value string) bool { return have == value || have == "" && value == "no-mark" }

// isSYN reports whether a matcher of flags takes a packet that has SYN alone.
func isSYN(flags string) bool {
	return !slices.ContainsFunc(strings.Split(flags, ","), func(f string) bool {
		return f != "syn" && !strings.HasPrefix(f, "!") || f == "!syn"
	})
}

// hasPort reports whether a list of ports and ranges has a port.
func hasPort(list string, port uint16) bool {
	ranges, _ := parsePorts(list)
	return slices.ContainsFunc(ranges, func(p ports) bool { return p.first <= port && port <= p.last })
}

// interfaceIsLocked reports whether a matcher of interfaces takes one.
func (r *Router) interfaceIsLocked(matcher, name string) bool {
	if kinds, group := map[string][]string{
		"all-ethernet": {"ether"}, "all-vlan": {"vlan"}, "all-wireless": {"wlan", "wifi"},
		"all-ppp": {"l2tp-out", "l2tp-in", "pptp-out", "pptp-in", "sstp-out", "sstp-in", "pppoe-out", "pppoe-in", "ovpn-out", "ovpn-in", "ppp-out"},
	}[matcher]; group {
		return slices.Contains(kinds, r.interfaceTypeLocked(name))
	}
	return name != "" && matcher == name
}

// addressListLocked reports whether an address list has an address. It is not known
// when the list has names.
func (r *Router) addressListLocked(list string, addr netip.Addr) (has, known bool) {
	known = true
	for _, it := range r.tables["/ip/firewall/address-list"].items {
		if it.value("list") != list || it.is("disabled") {
			continue
		}
		span, ok := parseAddresses(it.value("address"))
		if ok && span.contains(addr) {
			return true, true
		}
		known = known && ok
	}
	return false, known
}

// addressTypeLocked reports whether an address is of one of the given types.
func (r *Router) addressTypeLocked(types string, addr netip.Addr) bool {
	kind := "unicast"
	switch {
	case r.localLocked(addr):
		kind = "local"
	case addr.IsMulticast():
		kind = "multicast"
	case addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || r.broadcastLocked(addr):
		kind = "broadcast"
	}
	return slices.Contains(strings.Split(types, ","), kind)
}

// localLocked reports whether an address is the router's own.
func (r *Router) localLocked(addr netip.Addr) bool {
	return addr.IsLoopback() || slices.ContainsFunc(r.tables["/ip/address"].items, func(it *item) bool {
		prefix, err := netip.ParsePrefix(it.value("address"))
		return err == nil && prefix.Addr() == addr && !it.is("disabled") && r.runningLocked(it.value("interface"))
	})
}

// broadcastLocked reports whether an address is the last one of a network of the router's.
func (r *Router) broadcastLocked(addr netip.Addr) bool {
	return slices.ContainsFunc(r.tables["/ip/address"].items, func(it *item) bool {
		prefix, err := netip.ParsePrefix(it.value("address"))
		span, ok := parseAddresses(it.value("address"))
		return err == nil && ok && prefix.Bits() < 31 && span.last == addr && !it.is("disabled")
	})
}
