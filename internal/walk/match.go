package walk

import (
	"slices"
	"strconv"
	"strings"

	"doublenat/routeros"
)

// Match says whether a rule of the firewall takes the packet.
func (t *Tables) Match(row routeros.Row, p Packet) Fate {
	result := Always
	for _, a := range row {
		if a.Value == "" || !isMatcher(a.Name) {
			continue
		}
		result = min(result, t.matchOne(a.Name, a.Value, p))
		if result == Never {
			break
		}
	}
	return result
}

// matchOne says whether one matcher of a rule takes the packet.
func (t *Tables) matchOne(name, text string, p Packet) Fate {
	value, negated := strings.CutPrefix(text, "!")
	var f Fate
	switch name {
	case "tcp-flags":
		return p.matchFlags(text) // each flag has a sign of its own
	case "in-interface":
		f = t.matchInterface(value, p.In)
	case "out-interface":
		f = t.matchInterface(value, p.Out)
	case "in-interface-list":
		f = t.matchList(value, p.In)
	case "out-interface-list":
		f = t.matchList(value, p.Out)
	case "src-address-list":
		f = t.matchAddressList(value, p.Src)
	case "dst-address-list":
		f = t.matchAddressList(value, p.Dst)
	case "src-address-type":
		f = t.matchType(value, p.Src, false, false)
	case "dst-address-type":
		f = t.matchType(value, p.Dst, p.Local, p.Remote)
	case "ipsec-policy":
		f = t.matchIPsec(value, p)
	default:
		f = p.match(name, value)
	}
	if negated {
		return f.not()
	}
	return f
}

// match says whether a matcher that needs no table takes the packet.
func (p Packet) match(name, value string) Fate {
	switch name {
	case "connection-state":
		return matchWord(value, p.State)
	case "connection-nat-state":
		return p.matchNATState(value)
	case "connection-mark":
		return sure(p.Mark != "", value == p.Mark)
	case "routing-mark":
		return sure(p.RoutingMark != "", value == p.RoutingMark)
	case "packet-mark":
		return sure(p.PacketMark != "", value == p.PacketMark)
	case "protocol":
		return matchProtocol(value, p.Protocol)
	case "dst-port":
		return matchPort(value, p.DstPort)
	case "src-port":
		return matchPort(value, p.SrcPort)
	case "port":
		return max(matchPort(value, p.DstPort), matchPort(value, p.SrcPort))
	case "src-address":
		return matchSpan(value, p.Src)
	case "dst-address":
		return matchSpan(value, p.Dst)
	default:
		return matchRare(name, value)
	}
}

// matchRare says of matchers that no packet of ours has to do with whether they take
// it all the same.
func matchRare(name, value string) Fate {
	switch name {
	case "connection-type", "psd", "icmp-options", "p2p":
		// Connections of a helper (SIP, FTP), scans of many ports, ICMP: ours are none of them.
		return Never
	case "fragment":
		return sure(true, value == "no" || value == "false")
	case "ipv4-options":
		return sure(true, value == "none") // our packets have none
	default:
		return Perhaps
	}
}

// matchNATState looks for what was done to the connection in a list.
func (p Packet) matchNATState(list string) Fate {
	if p.NATState == "" {
		return Perhaps
	}
	return sure(true, slices.ContainsFunc(fields(p.NATState), func(s string) bool { return slices.Contains(fields(list), s) }))
}

// matchFlags knows the flags of the packet that opens a connection; of answers it
// only knows which they cannot have.
func (p Packet) matchFlags(list string) Fate {
	if p.Protocol != "tcp" || p.State == "" {
		return Perhaps
	}
	result := Always
	for _, item := range fields(list) {
		flag, negated := strings.CutPrefix(item, "!")
		f := sure(true, flag == "syn" && !p.Answer || flag == "ack" && p.Answer)
		if flag == "syn" && p.Answer {
			f = Perhaps // the first answer has it
		}
		if negated {
			f = f.not()
		}
		result = min(result, f)
	}
	return result
}

// matchWord looks for a word in a list of them.
func matchWord(list, word string) Fate {
	return sure(word != "", slices.Contains(fields(list), word))
}

// fields splits a list of RouterOS, which has no blanks.
func fields(list string) []string { return strings.Split(list, ",") }

// matchProtocol knows the two protocols that are mapped.
func matchProtocol(value, protocol string) Fate {
	switch value {
	case "6":
		value = "tcp"
	case "17":
		value = "udp"
	}
	switch {
	case protocol != "":
		return sure(true, value == protocol)
	case value == "tcp" || value == "udp":
		return Partly
	default:
		return Never
	}
}

// matchPort looks for a port in a list of ports and ranges.
func matchPort(list string, port uint16) Fate {
	if port == 0 {
		return Perhaps
	}
	for _, item := range fields(list) {
		low, high, ranged := strings.Cut(item, "-")
		if !ranged {
			high = low
		}
		first, errFirst := strconv.ParseUint(low, 10, 16)
		last, errLast := strconv.ParseUint(high, 10, 16)
		if errFirst != nil || errLast != nil {
			return Perhaps
		}
		if uint64(port) >= first && uint64(port) <= last {
			return Always
		}
	}
	return Never
}

// isMatcher reports whether an attribute of a rule limits what the rule takes.
// Whatever is not known to be harmless is taken for a limit.
func isMatcher(name string) bool {
	if strings.ContainsRune(name, '.') {
		return false // no argument has a dot: ".id", ".about"
	}
	switch name {
	case "chain", "action", "comment", "bytes", "packets", "invalid", "dynamic", "disabled", "about",
		"log", "log-prefix", "jump-target", "reject-with", "hw-offload", "passthrough", "to-addresses", "to-ports",
		"address-list", "address-list-timeout", "new-connection-mark", "new-routing-mark", "new-packet-mark", "new-mss",
		"new-dscp", "new-priority", "new-ttl", "route-dst", "sniff-id", "sniff-target", "sniff-target-port",
		"randomise-ports", "same-not-by-dst", "creation-time": //nolint:misspell // RouterOS spells it so
		return false
	default:
		return true
	}
}
