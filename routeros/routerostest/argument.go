package routerostest

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// argument is one argument that a menu's add and set take.
type argument struct {
	// A star at its end stands for any further characters.
	name string
	// span has the versions that know it.
	span span
	// required makes add refuse to work without it.
	required bool
	// check judges a value; nil takes any.
	check checkFunc
	// flag is a boolean: yes is printed as true.
	flag bool
}

// is reports whether the argument goes by the name.
func (a *argument) is(name string) bool {
	start, open := strings.CutSuffix(a.name, "*")
	return a.name == name || open && strings.HasPrefix(name, start)
}

// checkFunc judges a value of the named argument in the world as it is.
type checkFunc func(r *Router, name, value string) traps

// stateless reports whether there is no world, so that only the form of values counts.
func (r *Router) stateless() bool { return r.tables == nil }

// args makes arguments that share a check, from names divided by blanks.
func args(check checkFunc, names string) []argument {
	var list []argument
	for name := range strings.FieldsSeq(names) {
		list = append(list, argument{name: name, check: check})
	}
	return list
}

// argsIn is args for some versions only. It is called so often that a copy of it in
// every place would be tens of kilobytes of the lab's program.
//
//go:noinline
func argsIn(s span, check checkFunc, names string) []argument {
	list := args(check, names)
	for i := range list {
		list[i].span = s
	}
	return list
}

// flags makes arguments that are yes or no, for some versions only unless the span is zero.
func flags(s span, names string) []argument {
	list := argsIn(s, checkBool, names)
	for i := range list {
		list[i].flag = true
	}
	return list
}

// positive takes the exclamation mark of a negated matcher away.
func positive(value string) string { return strings.TrimPrefix(value, "!") }

func checkBool(_ *Router, name, value string) traps {
	if !slices.Contains([]string{"yes", "no", "true", "false"}, value) {
		return refuseChoice(name)
	}
	return nil
}

// checkChoice takes one of the given words.
func checkChoice(words ...string) checkFunc {
	return func(_ *Router, name, value string) traps {
		if !slices.Contains(words, value) {
			return refuseChoice(name)
		}
		return nil
	}
}

func checkInteger(_ *Router, name, value string) traps {
	if _, err := strconv.ParseUint(value, 10, 32); err != nil {
		return refuseInteger(name)
	}
	return nil
}

// checkName takes any text but none.
func checkName(_ *Router, name, value string) traps {
	if value == "" {
		return refuseValue(name)
	}
	return nil
}

// checkAddress takes an address, a prefix, or a range of addresses, negated or not.
func checkAddress(_ *Router, name, value string) traps {
	if _, ok := parseAddresses(positive(value)); !ok {
		return refuseValue(name)
	}
	return nil
}

// checkAddressOrNone takes what checkAddress takes, or nothing.
func checkAddressOrNone(r *Router, name, value string) traps {
	if value == "" {
		return nil
	}
	return checkAddress(r, name, value)
}

// checkPorts takes a list of ports and ranges, negated or not.
func checkPorts(_ *Router, name, value string) traps {
	if _, ok := parsePorts(positive(value)); !ok {
		return refuseValue(name)
	}
	return nil
}

// checkPortRange takes one port or one range.
func checkPortRange(_ *Router, name, value string) traps {
	if ports, ok := parsePorts(value); !ok || len(ports) != 1 {
		return refuseValue(name)
	}
	return nil
}

// checkProtocol takes a name or a number.
func checkProtocol(_ *Router, name, value string) traps {
	if protocolName(positive(value)) == "" {
		return refuseChoice(name)
	}
	return nil
}

// checkInterface takes an interface that there is, or one of the built-in groups.
func checkInterface(r *Router, name, value string) traps {
	value = positive(value)
	if slices.Contains([]string{"all-ethernet", "all-ppp", "all-vlan", "all-wireless"}, value) {
		return nil
	}
	return checkNamed("/interface")(r, name, value)
}

// checkInterfaceList takes a list of interfaces that there is, negated or not.
func checkInterfaceList(r *Router, name, value string) traps {
	return checkNamed("/interface/list")(r, name, positive(value))
}

// checkNamed takes the name of an item in another menu.
func checkNamed(path string) checkFunc {
	return func(r *Router, name, value string) traps {
		if r.stateless() {
			return nil
		}
		if t := r.tables[path]; t == nil || value == "" || !slices.ContainsFunc(t.items, func(it *item) bool { return it.value("name") == value }) {
			return refuseChoice(name)
		}
		return nil
	}
}

// addresses is an inclusive range.
type addresses struct{ first, last netip.Addr }

// contains reports whether the address is in the range.
func (a addresses) contains(addr netip.Addr) bool {
	return a.first.Compare(addr) <= 0 && addr.Compare(a.last) <= 0
}

// parseAddresses reads "1.2.3.4", "1.2.3.0/24" or "1.2.3.4-1.2.3.9".
func parseAddresses(s string) (addresses, bool) {
	if prefix, err := netip.ParsePrefix(s); err == nil && prefix.Addr().Is4() {
		first := prefix.Masked().Addr().As4()
		last := first
		for bit := prefix.Bits(); bit < 32; bit++ {
			last[bit/8] |= 0x80 >> (bit % 8)
		}
		return addresses{netip.AddrFrom4(first), netip.AddrFrom4(last)}, true
	}
	lo, hi, ranged := strings.Cut(s, "-")
	if !ranged {
		hi = lo
	}
	first, errFirst := netip.ParseAddr(lo)
	last, errLast := netip.ParseAddr(hi)
	if errFirst != nil || errLast != nil || !first.Is4() || !last.Is4() || last.Less(first) {
		return addresses{}, false
	}
	return addresses{first, last}, true
}

// ports is an inclusive range.
type ports struct{ first, last uint16 }

// parsePorts reads "80,443,1000-2000".
func parsePorts(s string) ([]ports, bool) {
	var list []ports
	for part := range strings.SplitSeq(s, ",") {
		lo, hi, ranged := strings.Cut(part, "-")
		if !ranged {
			hi = lo
		}
		first, errFirst := strconv.ParseUint(lo, 10, 16)
		last, errLast := strconv.ParseUint(hi, 10, 16)
		if errFirst != nil || errLast != nil || last < first {
			return nil, false
		}
		list = append(list, ports{uint16(first), uint16(last)})
	}
	return list, true
}

// protocolName gives numbers of the common protocols their names and returns ""
// for what is no protocol.
func protocolName(s string) string {
	names := []string{"icmp", "igmp", "ggp", "tcp", "udp", "gre", "ipsec-esp", "ipsec-ah", "ospf", "pim", "vrrp", "l2tp", "udp-lite", "dccp", "sctp"}
	if slices.Contains(names, s) {
		return s
	}
	switch n, err := strconv.ParseUint(s, 10, 8); {
	case err != nil:
		return ""
	case n == 6:
		return "tcp"
	case n == 17:
		return "udp"
	default:
		return s
	}
}
