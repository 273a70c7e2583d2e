package check

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"doublenat/routeros"
)

// fate says whether a rule takes a packet.
type fate uint8

// The fates, in the order of their strength.
const (
	// never is a rule that does not take it.
	never fate = iota
	// perhaps is a rule that asks for something which is not known here.
	perhaps
	// partly is a rule that takes some packets of the kind for sure.
	partly
	// always is a rule that takes all of them.
	always
)

// packet is a kind of packets. A field that is empty is not known, or differs
// from packet to packet.
type packet struct {
	// in and out are interfaces.
	in, out string
	// protocol is "tcp" or "udp"; empty stands for both of them.
	protocol string
	// port is the destination port; src and dst are the addresses, the zero span if
	// nothing is known of them.
	port     uint16
	src, dst span
	// state and natState are those of the connection, "new" and "dstnat" for example.
	state, natState string
	// mark is the connection's mark, "no-mark" for none.
	mark string
	// local says that the packet is for the router itself, before any NAT, and remote
	// that it is for a host somewhere else.
	local, remote bool
}

// meets says whether a rule of the firewall takes the packet.
func (v *visit) meets(ctx context.Context, row routeros.Row, p packet) (fate, error) {
	result := always
	for _, a := range row {
		if a.Value == "" || !isMatcher(a.Name) {
			continue
		}
		value, negated := strings.CutPrefix(a.Value, "!")
		f, err := v.match(ctx, a.Name, value, p)
		if err != nil {
			return never, err
		}
		if negated {
			f = f.not()
		}
		result = min(result, f)
	}
	return result, nil
}

// not returns the fate under the opposite of a matcher.
func (f fate) not() fate {
	switch f {
	case never:
		return always
	case always:
		return never
	case perhaps, partly:
		return f
	default:
		return perhaps
	}
}

// match says whether one matcher of a rule takes the packet.
func (v *visit) match(ctx context.Context, name, value string, p packet) (fate, error) {
	switch name {
	case "in-interface-list":
		return v.matchList(ctx, value, p.in)
	case "out-interface-list":
		return v.matchList(ctx, value, p.out)
	case "src-address-list":
		return v.matchSpanList(ctx, value, p.src)
	case "dst-address-list":
		return v.matchSpanList(ctx, value, p.dst)
	default:
		return p.match(name, value), nil
	}
}

// match says whether a matcher that needs no table takes the packet.
func (p packet) match(name, value string) fate {
	switch name {
	case "in-interface":
		return matchInterface(value, p.in)
	case "out-interface":
		return matchInterface(value, p.out)
	case "connection-state":
		return matchWord(value, p.state)
	case "connection-nat-state":
		return matchWord(value, p.natState)
	case "connection-mark":
		return sure(p.mark != "", value == p.mark)
	case "protocol":
		return matchProtocol(value, p.protocol)
	case "dst-port", "port":
		return matchPort(value, p.port)
	case "src-address":
		return matchSpan(value, p.src)
	case "dst-address":
		return matchSpan(value, p.dst)
	case "dst-address-type":
		return p.matchType(value)
	default:
		return perhaps
	}
}

// matchType knows whether the destination is the router itself.
func (p packet) matchType(value string) fate {
	return sure(p.local || p.remote, value == "local" && p.local || value == "unicast" && p.remote)
}

// sure is always or never where something is known, and perhaps where it is not.
func sure(known, yes bool) fate {
	switch {
	case !known:
		return perhaps
	case yes:
		return always
	default:
		return never
	}
}

// matchInterface knows single interfaces; of the built-in groups it is not sure.
func matchInterface(value, name string) fate {
	return sure(name != "" && !strings.HasPrefix(value, "all-"), value == name)
}

// matchList looks the interface up in an interface list.
func (v *visit) matchList(ctx context.Context, list, name string) (fate, error) {
	lists, err := v.rows(ctx, "/interface/list")
	if err != nil {
		return never, err
	}
	row, _ := named(lists, list)
	switch {
	case list == "all":
		return always, nil
	case list == "none":
		return never, nil
	case name == "", list == "dynamic", list == "static", row.Value("include") != "", row.Value("exclude") != "":
		return perhaps, nil
	}
	members, err := v.active(ctx, "/interface/list/member")
	return sure(true, slices.ContainsFunc(members, func(r routeros.Row) bool {
		return r.Value("list") == list && r.Value("interface") == name
	})), err
}

// matchWord looks for a word in a list of them.
func matchWord(list, word string) fate {
	return sure(word != "", slices.Contains(fields(list), word))
}

// matchProtocol knows the two protocols that are mapped.
func matchProtocol(value, protocol string) fate {
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
		return partly
	default:
		return never
	}
}

// matchPort looks for a port in a list of ports and ranges.
func matchPort(list string, port uint16) fate {
	if port == 0 {
		return perhaps
	}
	for _, item := range fields(list) {
		low, high, ranged := strings.Cut(item, "-")
		if !ranged {
			high = low
		}
		first, errFirst := strconv.ParseUint(low, 10, 16)
		last, errLast := strconv.ParseUint(high, 10, 16)
		if errFirst != nil || errLast != nil {
			return perhaps
		}
		if uint64(port) >= first && uint64(port) <= last {
			return always
		}
	}
	return never
}

// isMatcher reports whether an attribute of a rule limits what the rule takes.
// Whatever is not known to be harmless is taken for a limit.
func isMatcher(name string) bool {
	switch name {
	case ".id", ".nextid", "chain", "action", "comment", "bytes", "packets", "invalid", "dynamic", "disabled", "about",
		"log", "log-prefix", "jump-target", "reject-with", "hw-offload", "passthrough", "to-addresses", "to-ports",
		"address-list", "address-list-timeout", "new-connection-mark", "new-routing-mark", "new-packet-mark", "new-mss",
		"randomise-ports", "same-not-by-dst", "creation-time": //nolint:misspell // RouterOS spells it so
		return false
	default:
		return true
	}
}
