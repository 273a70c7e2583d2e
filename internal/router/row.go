package router

import (
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
	comment     string
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
		"src-address", "src-address-list", "src-address-type", "src-port", "src-mac-address",
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
		"comment", "packets", "disabled", "invalid", "dynamic",
	}, otherMatchers()...)
}

// parseRows reads the rows of a print.
func parseRows(rows []routeros.Row) []natRow {
	narrowing := otherMatchers()
	parsed := make([]natRow, len(rows))
	for i, row := range rows {
		parsed[i] = parseRow(row, narrowing)
	}
	return parsed
}

// parseRow reads a row. Narrowing is what otherMatchers returns.
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
		comment:     row.Value("comment"),
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
// end of the built-in chain itself.
func (r natRow) takes() bool {
	switch r.action {
	case "log", "passthrough", "add-src-to-address-list", "add-dst-to-address-list":
		return false
	case "return":
		return r.chain == chainDstNAT
	default:
		return true
	}
}

// rule returns the row as a rule of ours, whose comment says o. It is altered
// when the row and its comment do not say the same.
func (r natRow) rule(o owned, iface string) nat.Rule {
	rule := o.rule()
	rule.ID, rule.Packets = r.id, r.packets
	match, ok := r.match(o)
	rule.Match = match
	rule.Altered = !ok || r.chain != chainDstNAT || r.action != actionDstNAT || r.disabled || r.narrowed ||
		r.iface != iface || r.ifaceList != "" || r.port != "" ||
		r.protocol != o.key.Protocol.String() ||
		r.toAddresses != o.key.Client.String() ||
		r.toPorts != strconv.Itoa(int(rule.Target()))
	return rule
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
