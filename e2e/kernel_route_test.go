//go:build e2e && linux

package e2e_test

import (
	"fmt"
	"net/netip"
	"strings"

	"doublenat/routeros/routerostest"
)

// The preferences of the routing rules, in the order in which RouterOS decides:
// the mark that mangle gave, the router's own addresses, the rules of the
// administrator, the main table (routeros-field A1).
const (
	preferMark  = 10
	preferLocal = 100
	preferRule  = 200
)

// routing returns what `ip` has to be told besides the addresses of the world: the
// static routes and the routing rules.
func (k *kernel) routing() ([]string, error) {
	var lines []string
	for _, row := range k.active("/ip/route") {
		if row["dynamic"] == "true" {
			continue // the kernel has them from its interfaces
		}
		way := "dev " + row["gateway"]
		if _, err := netip.ParseAddr(row["gateway"]); err == nil {
			way = "via " + row["gateway"]
		}
		lines = append(lines, fmt.Sprintf("route add %s %s table %d", row["dst-address"], way, k.mark(row["routing-table"])))
	}
	// The kernel's own first rule would be before those for marks.
	lines = append(lines, fmt.Sprintf("rule add pref %d lookup local", preferLocal))
	for _, number := range k.tables() {
		lines = append(lines, fmt.Sprintf("rule add pref %d fwmark %d lookup %d", preferMark, number, number))
	}
	for i, row := range k.active("/routing/rule") {
		rules, err := k.routingRule(preferRule+2*i, row)
		if err != nil {
			return nil, err
		}
		lines = append(lines, rules...)
	}
	return lines, nil
}

// tables returns the numbers of the routing tables besides main.
func (k *kernel) tables() map[string]int {
	numbers := make(map[string]int)
	for _, row := range k.active("/routing/table") {
		if row["name"] != "main" {
			numbers[row["name"]] = k.mark(row["name"])
		}
	}
	return numbers
}

// routingRule returns the kernel's rules for one of RouterOS.
func (k *kernel) routingRule(preference int, row routerostest.Row) ([]string, error) {
	var words []string
	for _, m := range [][2]string{{"src-address", "from"}, {"dst-address", "to"}, {"interface", "iif"}} {
		if value := row[m[0]]; value != "" {
			words = append(words, m[1]+" "+value)
		}
	}
	if mark := row["routing-mark"]; mark != "" {
		words = append(words, fmt.Sprintf("fwmark %d", k.mark(mark)))
	}
	rule := func(preference int, what string) string {
		return fmt.Sprintf("rule add pref %d %s %s", preference, strings.Join(words, " "), what)
	}
	lookup := fmt.Sprintf("lookup %d", k.mark(row["table"]))
	if row["min-prefix"] != "" {
		lookup += " suppress_prefixlength " + row["min-prefix"]
	}
	switch row["action"] {
	case "lookup":
		return []string{rule(preference, lookup)}, nil
	case "lookup-only-in-table":
		return []string{rule(preference, lookup), rule(preference+1, "unreachable")}, nil
	case "drop":
		return []string{rule(preference, "blackhole")}, nil
	case "unreachable":
		return []string{rule(preference, "unreachable")}, nil
	default:
		return nil, fmt.Errorf("the routing rule %v: %w", row, errNoTranslation)
	}
}
