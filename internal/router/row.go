package router

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"doublenat/internal/nat"
	"doublenat/routeros"
)

// natPath is the table of the rules.
const natPath = "/ip/firewall/nat"

// The values of chain and action of a rule of ours.
const (
	chainDstNAT  = "dstnat"
	actionDstNAT = "dst-nat"
)

// natRow is a row of /ip/firewall/nat as far as this package looks at it. An
// attribute that is absent and one that is empty are the same: RouterOS 7.15 and
// later print some matchers that are not set.
type natRow struct {
	id          string
	chain       string
	action      string
	protocol    string
	dstPort     string
	port        string // source or destination port
	toAddresses string
	toPorts     string
	iface       string
	ifaceList   string
	dstAddress  string
	dstType     string
	srcAddress  string
	srcPort     string
	jumpTarget  string
	comment     string
	about       string // why RouterOS does not like the row
	packets     uint64
	disabled    bool
	invalid     bool
	dynamic     bool
	narrowed    bool // has a matcher besides those above
}

// otherMatchers are the matchers of RouterOS 6.48 to 7.24 which a rule of ours
// never has. One that is set makes the rule take fewer packets than its comment says.
func otherMatchers() []string {
	return []string{
		"src-address-list", "src-address-type", "src-mac-address",
		"dst-address", "dst-address-list", "dst-address-type", "dst-limit",
		"out-interface", "out-interface-list", "in-bridge-port", "in-bridge-port-list", "out-bridge-port", "out-bridge-port-list",
		"connection-mark", "packet-mark", "routing-mark", "connection-bytes", "connection-limit", "connection-rate", "connection-type",
		"limit", "time", "nth", "random", "per-connection-classifier", "psd", "content", "layer7-protocol", "tls-host",
		"dscp", "tos", "fragment", "hotspot", "icmp-options", "ingress-priority", "priority", "ipsec-policy", "ipv4-options",
		"packet-size", "realm", "tcp-flags", "tcp-mss", "ttl",
	}
}

// rowProperties are all properties that parseRow looks at. Those that a version
// does not have are simply not printed.
func rowProperties() []string {
	return append([]string{
		".id", "chain", "action", "protocol", "dst-port", "port", "to-addresses", "to-ports", "in-interface", "in-interface-list",
		"src-address", "src-port", "jump-target", "comment", "packets", "disabled", "invalid", "dynamic", ".about", "about",
	}, otherMatchers()...)
}

// parseRow reads a row. Narrowing is what otherMatchers returns. The strings are parts of
// the sentence in which the row came: what is kept of them has to be cloned.
func parseRow(row routeros.Row, narrowing []string) natRow {
	packets, _ := strconv.ParseUint(row.Value("packets"), 10, 64) // 0 for what is no number
	return natRow{
		id:          row.Value(".id"),
		chain:       row.Value("chain"),
		action:      row.Value("action"),
		protocol:    row.Value("protocol"),
		dstPort:     row.Value("dst-port"),
		port:        row.Value("port"),
		toAddresses: row.Value("to-addresses"),
		toPorts:     row.Value("to-ports"),
		iface:       row.Value("in-interface"),
		ifaceList:   row.Value("in-interface-list"),
		dstAddress:  row.Value("dst-address"),
		dstType:     row.Value("dst-address-type"),
		srcAddress:  row.Value("src-address"),
		srcPort:     row.Value("src-port"),
		jumpTarget:  row.Value("jump-target"),
		comment:     row.Value("comment"),
		about:       cmp.Or(row.Value(".about"), row.Value("about")),
		packets:     packets,
		disabled:    row.Bool("disabled"),
		invalid:     row.Bool("invalid"),
		dynamic:     row.Bool("dynamic"),
		narrowed: slices.ContainsFunc(row, func(a routeros.Attr) bool {
			return a.Value != "" && slices.Contains(narrowing, a.Name)
		}),
	}
}

// protocols returns which of our protocols the row takes. RouterOS prints names;
// numbers are understood as well.
func (r natRow) protocols() []nat.Protocol {
	name, negated := strings.CutPrefix(r.protocol, "!")
	var p nat.Protocol
	switch name {
	case "":
		return []nat.Protocol{nat.TCP, nat.UDP}
	case "tcp", "6":
		p = nat.TCP
	case "udp", "17":
		p = nat.UDP
	default:
		if negated {
			return []nat.Protocol{nat.TCP, nat.UDP}
		}
		return nil
	}
	if negated {
		p = p.Other()
	}
	return []nat.Protocol{p}
}

// ports returns the destination ports that the row takes. Known is false when
// it takes all of them, or something that this package does not understand.
func (r natRow) ports() (list portList, known bool) {
	switch {
	case r.dstPort != "":
		return parsePorts(r.dstPort)
	case r.port != "":
		return parsePorts(r.port)
	default:
		return portList{}, false
	}
}

// takes reports whether a packet that the row matches goes no further. Rows that
// only look (log, add to a list) let it pass; so does a return, except at the
// end of the built-in chain itself. What a jump does is for the other chain to say.
func (r natRow) takes() bool {
	switch r.action {
	case "log", "passthrough", "add-src-to-address-list", "add-dst-to-address-list", "jump":
		return false
	case "return":
		return r.chain == chainDstNAT
	default:
		return true
	}
}

// rule returns the row as a rule of ours, for which o is what its comment says or, if
// somebody wrote another one, should say. It is altered when the row does not do what
// the comment says, and displaced or edited when all that is wrong is the interface or the comment.
func (r natRow) rule(o owned, iface string) nat.Rule {
	rule := o.rule()
	rule.ID, rule.Packets = r.id, r.packets
	match, ok := r.match(o)
	rule.Match = match
	rule.Altered = !ok || r.chain != chainDstNAT || r.action != actionDstNAT || r.disabled || r.narrowed ||
		r.ifaceList != "" || r.port != "" ||
		r.protocol != o.key.Protocol.String() ||
		r.toAddresses != o.key.Client.String() ||
		r.toPorts != strconv.Itoa(int(rule.Target())) ||
		!r.hearsOnly(o.remote)
	rule.Displaced = r.iface != iface
	rule.Edited = r.comment != o.String()
	return rule
}

// The values of matchers that match everything: a set command has no other way to take one
// away, for RouterOS may refuse an empty value.
const (
	anyAddress = "0.0.0.0/0"
	anyPort    = "0-65535"
)

// hearsOnly reports whether the row matches the packets of the remote and no others, as far
// as its source address and port say.
func (r natRow) hearsOnly(remote nat.Remote) bool {
	first, last, ok := parseAddresses(cmp.Or(r.srcAddress, anyAddress))
	wantFirst, wantLast, _ := parseAddresses(remote.Hosts().String())
	ports, known := parsePorts(cmp.Or(r.srcPort, anyPort))
	want, _ := parsePorts(sourcePort(remote))
	return ok && first == wantFirst && last == wantLast && known && slices.Equal(ports.plain().ranges, want.ranges)
}

// sourceAddress and sourcePort return a remote as the values of matchers.
func sourceAddress(remote nat.Remote) string {
	if hosts := remote.Hosts(); !hosts.IsSingleIP() {
		return hosts.String()
	}
	return remote.Prefix.Addr().String()
}

func sourcePort(remote nat.Remote) string {
	if remote.Port == 0 {
		return anyPort
	}
	return strconv.Itoa(int(remote.Port))
}

// match returns the ports that the row matches: the inner port, the external port,
// and the one that was the external port before it changed, of which the comment
// knows nothing. Ok is false if there are others, or none that the comment names.
func (r natRow) match(o owned) (match nat.MatchPorts, ok bool) {
	list, ok := parsePorts(r.dstPort)
	if !ok || list.negated {
		return match, false
	}
	var inner, external bool
	var former []uint16
	ports := 0
	ok = list.each(len(match), func(port uint16) {
		ports++
		switch port {
		case o.inner:
			inner = true
		case o.external:
			external = true
		default:
			former = append(former, port)
		}
	})
	named := match[:0]
	if inner {
		named = append(named, o.inner)
	}
	if external {
		named = append(named, o.external)
	}
	ok = ok && len(named) > 0 && len(former) <= 1 && len(named)+len(former) == ports
	if ok {
		copy(match[len(named):], former)
	}
	return match, ok
}
