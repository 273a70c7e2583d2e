//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"doublenat/routeros/routerostest"
)

// The tables of rules that the kernel carries out, in the order in which a packet
// meets them.
const (
	rawPath    = "/ip/firewall/raw"
	manglePath = "/ip/firewall/mangle"
	natPath    = "/ip/firewall/nat"
	filterPath = "/ip/firewall/filter"
)

// hook is where the kernel enters a chain of RouterOS.
type hook struct{ path, chain, kind, at, priority string }

// hooks returns those of all chains that RouterOS has of itself. Linux looks at
// marks, and at the new destination, when it routes after prerouting: so does
// RouterOS (routeros-field A1).
func hooks() []hook {
	return []hook{
		{rawPath, "prerouting", "filter", "prerouting", "-300"},
		{rawPath, "output", "filter", "output", "-300"},
		{manglePath, "prerouting", "filter", "prerouting", "-150"},
		{manglePath, "input", "filter", "input", "-150"},
		{manglePath, "forward", "filter", "forward", "-150"},
		{manglePath, "output", "route", "output", "-150"},
		{manglePath, "postrouting", "filter", "postrouting", "-150"},
		{natPath, "dstnat", "nat", "prerouting", "-100"},
		{natPath, "srcnat", "nat", "postrouting", "100"},
		{filterPath, "input", "filter", "input", "0"},
		{filterPath, "forward", "filter", "forward", "0"},
		{filterPath, "output", "filter", "output", "0"},
	}
}

// kernel turns the tables of a RouterOS for tests into what the kernel of the
// router's namespace does. What it has no translation for is an error: nothing is
// left out in silence.
type kernel struct {
	router *routerostest.Router
	marks  map[string]int // numbers of the marks and routing tables, by name
	// What the kernel was told last: the address lists, the rules of each chain, and
	// lines of `ip` that begin with "route add" or "rule add".
	lists  string
	chains map[string]string
	routed []string
}

// follow makes the kernel of the namespace what the tables say, all rules at once.
func (k *kernel) follow(ctx context.Context, ns *namespace) error {
	lists, chains := k.addressLists(), make(map[string]string)
	for _, path := range []string{rawPath, manglePath, natPath, filterPath} {
		if err := k.addChains(chains, path); err != nil {
			return err
		}
	}
	routed, err := k.routing()
	if err != nil {
		return err
	}
	if script := k.script(lists, chains); script != "" {
		err = ns.nft(ctx, script)
	}
	if changes := difference(k.routed, routed); len(changes) > 0 {
		err = errors.Join(err, ns.ip(ctx, changes...))
	}
	if err == nil {
		k.lists, k.chains, k.routed = lists, chains, routed
	}
	return err
}

// difference returns the lines of `ip` that lead from one state to another.
func difference(from, to []string) (lines []string) {
	for _, line := range from {
		if !slices.Contains(to, line) {
			lines = append(lines, strings.Replace(line, " add ", " del ", 1))
		}
	}
	for _, line := range to {
		if !slices.Contains(from, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// script returns what nftables has to be told. A chain that changed is filled anew,
// which is what each mapping costs; for all else the whole table is.
func (k *kernel) script(lists string, chains map[string]string) string {
	var b strings.Builder
	same := func(string, string) bool { return true } // only the names count
	if k.chains == nil || k.lists != lists || !maps.EqualFunc(k.chains, chains, same) {
		b.WriteString("add table ip routeros\ndelete table ip routeros\ntable ip routeros {\n" + lists)
		for name := range chains {
			fmt.Fprintf(&b, "chain %s { }\n", name) // all are known before one jumps to another
		}
		for _, h := range hooks() {
			fmt.Fprintf(&b, "chain %s { type %s hook %s priority %s; jump %s; }\n",
				chainName(h.path, "at_"+h.chain), h.kind, h.at, h.priority, chainName(h.path, h.chain))
		}
		b.WriteString("}\n")
		k.chains = nil
	}
	for name, rules := range chains {
		if known, ok := k.chains[name]; !ok || known != rules {
			fmt.Fprintf(&b, "flush chain ip routeros %s\ntable ip routeros {\nchain %s {\n%s}\n}\n", name, name, rules)
		}
	}
	return b.String()
}

// addressLists returns the address lists as sets.
func (k *kernel) addressLists() string {
	addresses := make(map[string][]string)
	for _, row := range k.active("/ip/firewall/address-list") {
		addresses[row["list"]] = append(addresses[row["list"]], row["address"])
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(addresses)) {
		fmt.Fprintf(&b, "set %s { type ipv4_addr; flags interval; auto-merge; elements = %s; }\n",
			identifier("list_"+name), set(strings.Join(addresses[name], ", ")))
	}
	return b.String()
}

// addChains adds the chains of a table, also those that are empty: something may
// jump to them.
func (k *kernel) addChains(chains map[string]string, path string) error {
	for _, h := range hooks() {
		if h.path == path {
			chains[chainName(path, h.chain)] = ""
		}
	}
	for _, row := range k.active(path) {
		rule, err := k.rule(path, row)
		if err != nil {
			return fmt.Errorf("the row %v of %s: %w", row, path, err)
		}
		if rule != "" {
			chains[chainName(path, row["chain"])] += rule + "\n"
		}
		if target := row["jump-target"]; target != "" {
			chains[chainName(path, target)] += ""
		}
	}
	return nil
}

// active returns the rows of a table that are in use.
func (k *kernel) active(path string) []routerostest.Row {
	return slices.DeleteFunc(k.router.Rows(path), func(row routerostest.Row) bool {
		return row["disabled"] == "true" || row["invalid"] == "true"
	})
}

// errNoTranslation is something of RouterOS that the kernel cannot be told here.
var errNoTranslation = errors.New("no translation")

// rule returns a row in the language of nftables, "" if it never takes a packet.
func (k *kernel) rule(path string, row routerostest.Row) (string, error) {
	var words []string
	for _, m := range slices.Sorted(maps.Keys(row)) {
		if row[m] == "" || !isMatcher(m) {
			continue
		}
		value, negated := strings.CutPrefix(row[m], "!")
		word, result := k.match(row, m, value, negated)
		switch result {
		case matchesNothing:
			return "", nil
		case matchesAll:
		case matchesSome:
			words = append(words, word)
		case matchesUnknown:
			return "", fmt.Errorf("%w for %s=%s", errNoTranslation, m, row[m])
		}
	}
	action, err := k.action(path, row)
	if action == "" || err != nil {
		return "", err
	}
	return strings.Join(append(words, action), " "), nil
}

// isMatcher reports whether a property of a row limits what the row takes.
func isMatcher(name string) bool {
	return !slices.Contains(strings.Fields(".id .about chain action comment bytes packets invalid dynamic disabled about builtin "+
		"log log-prefix jump-target reject-with passthrough to-addresses to-ports new-connection-mark new-routing-mark new-mss"), name)
}

// result is what the translation of a matcher is.
type result uint8

const (
	// matchesSome is a matcher with a word of its own.
	matchesSome result = iota
	// matchesAll is one that limits nothing here.
	matchesAll
	// matchesNothing is one that no packet meets here.
	matchesNothing
	// matchesUnknown is one for which there is no word.
	matchesUnknown
)

// match returns one matcher in the language of nftables.
func (k *kernel) match(row routerostest.Row, name, value string, negated bool) (string, result) {
	is, none := "", matchesNothing
	if negated {
		is, none = "!= ", matchesAll
	}
	direction := map[string]string{"src": "saddr", "dst": "daddr", "in-": "iifname", "out": "oifname"}[name[:3]]
	switch name {
	case "protocol":
		return "meta l4proto " + is + value, matchesSome
	case "in-interface", "out-interface":
		return direction + " " + is + strconv.Quote(value), matchesSome
	case "in-interface-list", "out-interface-list":
		members := k.members(value)
		if members == "" {
			return "", none
		}
		return direction + " " + is + set(members), matchesSome
	case "src-address", "dst-address":
		return "ip " + direction + " " + is + value, matchesSome
	case "src-address-list", "dst-address-list":
		if !slices.ContainsFunc(k.active("/ip/firewall/address-list"), func(r routerostest.Row) bool { return r["list"] == value }) {
			return "", none
		}
		return "ip " + direction + " " + is + "@" + identifier("list_"+value), matchesSome
	case "src-address-type", "dst-address-type":
		return "fib " + direction + " type " + is + value, matchesSome
	case "src-port", "dst-port":
		return row["protocol"] + " " + name[:1] + "port " + is + set(value), matchesSome
	case "tcp-flags":
		return "tcp flags " + is + value, matchesSome
	default:
		return k.matchConnection(name, value, is)
	}
}

// matchConnection returns a matcher that looks at the connection or at marks.
func (k *kernel) matchConnection(name, value, is string) (string, result) {
	switch name {
	case "connection-state":
		if is != "" {
			return "ct state != " + set(value), matchesSome
		}
		return "ct state " + value, matchesSome
	case "connection-nat-state":
		status := map[string]string{"dstnat": "dnat", "srcnat": "snat"}[value]
		if is != "" {
			return "ct status & " + status + " == 0", matchesSome
		}
		return "ct status " + status, matchesSome
	case "connection-mark":
		return "ct mark " + is + strconv.Itoa(k.mark(value)), matchesSome
	case "routing-mark":
		return "meta mark " + is + strconv.Itoa(k.mark(value)), matchesSome
	case "ipsec-policy": // nothing is encrypted by IPsec here
		if strings.HasSuffix(value, ",none") != (is != "") {
			return "", matchesAll
		}
		return "", matchesNothing
	default:
		return "", matchesUnknown
	}
}

// action returns what is done with a packet, "" for a row that only looks.
func (k *kernel) action(path string, row routerostest.Row) (string, error) {
	further := ""
	if row["passthrough"] == "false" || row["passthrough"] == "no" {
		further = " accept" // ends the table and no other
	}
	target := strings.TrimSuffix(row["to-addresses"]+":"+row["to-ports"], ":")
	switch action := row["action"]; action {
	case "", "accept":
		return "accept", nil
	case "drop", "reject", "tarpit":
		return "drop", nil
	case "notrack", "return", "masquerade":
		return action, nil
	case "jump":
		return "jump " + chainName(path, row["jump-target"]), nil
	case "log", "passthrough":
		return "", nil
	case "mark-connection":
		return fmt.Sprintf("ct mark set %d%s", k.mark(row["new-connection-mark"]), further), nil
	case "mark-routing":
		return fmt.Sprintf("meta mark set %d%s", k.mark(row["new-routing-mark"]), further), nil
	case "change-mss":
		return "tcp option maxseg size set rt mtu" + further, nil
	case "dst-nat":
		return "dnat to " + target, nil
	case "src-nat":
		return "snat to " + target, nil
	case "redirect":
		return strings.TrimSuffix("redirect to :"+row["to-ports"], " to :"), nil
	default:
		return "", fmt.Errorf("%w for the action %s", errNoTranslation, action)
	}
}

// mark returns the number of a mark or a routing table; 0 is no mark.
func (k *kernel) mark(name string) int {
	switch name {
	case "no-mark":
		return 0
	case "", "main":
		return 254 // RT_TABLE_MAIN
	}
	if _, known := k.marks[name]; !known {
		k.marks[name] = 100 + len(k.marks)
	}
	return k.marks[name]
}

// members returns the interfaces of a list as the elements of a set, "" for none.
func (k *kernel) members(list string) string {
	var names []string
	for _, row := range k.active("/interface/list/member") {
		if row["list"] == list {
			names = append(names, strconv.Quote(row["interface"]))
		}
	}
	return strings.Join(names, ", ")
}

// chainName names a chain of a table of RouterOS.
func chainName(path, chain string) string {
	return identifier(path[strings.LastIndex(path, "/")+1:] + "_" + chain)
}

// identifier makes a name one of nftables.
func identifier(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}

// set writes a list as a set of nftables.
func set(list string) string { return "{ " + list + " }" }
