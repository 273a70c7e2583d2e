package router

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"doublenat/routeros"
)

// routeProperties are all that parseRoute looks at, of RouterOS 6 and 7.
func routeProperties() []string {
	return []string{
		"dst-address", "gateway", "immediate-gw", "gateway-status", "distance", "active", "disabled", "inactive", "routing-table", "routing-mark",
	}
}

// way is how the main routing table reaches an address.
type way struct {
	// interfaces are where packets leave; several for equal routes, none without a route.
	interfaces []string
	// bits is the length of the prefix that matched: [wholeInternet] for the default
	// route, less if it is not known.
	bits int
}

// wholeInternet is the length of the default route's prefix.
const wholeInternet = 0

// lines are the interfaces that have a default route, whether it is in use now or not:
// a second provider's waits for the first one's to fail.
type lines struct {
	main  []string // in the main routing table
	other []string // in another one
}

// findLines finds them in the rows of /ip/route, given those of /ip/address.
func findLines(rows, addresses []routeros.Row) (l lines) {
	for _, row := range rows {
		prefix, err := netip.ParsePrefix(row.Value("dst-address"))
		if err != nil || prefix.Bits() != wholeInternet || row.Bool("disabled") {
			continue
		}
		list := &l.main
		if !inMain(row) {
			list = &l.other
		}
		*list = append(*list, Exits(row)...)
		for gateway := range strings.SplitSeq(row.Value("gateway"), ",") {
			if hop, err := netip.ParseAddr(strings.TrimSpace(gateway)); err == nil {
				*list = append(*list, findNetwork(addresses, hop)...)
			}
		}
	}
	return l
}

// inMain reports whether a row of /ip/route is of the table that all packets use.
func inMain(row routeros.Row) bool {
	table := row.Value("routing-table")
	return row.Value("routing-mark") == "" && (table == "" || table == "main")
}

// findWay finds the way to the address in the rows of /ip/route: the longest
// prefix among the active routes of the main table, then the lowest distance.
func findWay(rows []routeros.Row, to netip.Addr) way {
	best := way{bits: -1}
	bestDistance := uint64(0)
	for _, row := range rows {
		prefix, err := netip.ParsePrefix(row.Value("dst-address"))
		if err != nil || !prefix.Contains(to) || !inUse(row) {
			continue
		}
		if !inMain(row) {
			continue // chosen by policy, of which only the router knows
		}
		interfaces := Exits(row)
		distance, _ := strconv.ParseUint(row.Value("distance"), 10, 8) // 0 for a connected route without one
		switch {
		case len(interfaces) == 0:
		case prefix.Bits() > best.bits, prefix.Bits() == best.bits && distance < bestDistance:
			best, bestDistance = way{interfaces: interfaces, bits: prefix.Bits()}, distance
		case prefix.Bits() == best.bits && distance == bestDistance:
			best.interfaces = append(best.interfaces, interfaces...)
		}
	}
	slices.Sort(best.interfaces)
	best.interfaces = slices.Compact(best.interfaces)
	best.bits = max(best.bits, 0)
	return best
}

// Exits returns the interfaces through which a row of /ip/route leads: several for
// equal routes, none for a route that is not in use.
func Exits(row routeros.Row) []string {
	parse, list := exitV7, row.Value("immediate-gw")
	if status := row.Value("gateway-status"); status != "" {
		parse, list = exitV6, status
	} else if list == "" {
		list = row.Value("gateway")
	}
	var names []string
	for item := range strings.SplitSeq(list, ",") {
		if name := parse(strings.TrimSpace(item)); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// exitV7 reads what RouterOS 7 has in immediate-gw: "10.2.0.1%wg1", or the
// interface alone.
func exitV7(text string) string {
	if _, name, ok := strings.Cut(text, "%"); ok {
		return name
	}
	if _, err := netip.ParseAddr(text); err == nil {
		return "" // an address alone says nothing about the interface
	}
	return text
}

// exitV6 reads what RouterOS 6 has in gateway-status: "10.2.0.1 reachable via
// wg1" (with two blanks), "wg1 reachable", "10.2.0.1 recursive via 192.0.2.1
// ether1", "10.2.0.1 unreachable".
func exitV6(text string) string {
	if _, name, ok := strings.Cut(text, " via "); ok {
		name = strings.TrimSpace(name)
		if hop, rest, ok := strings.Cut(name, " "); ok {
			if _, err := netip.ParseAddr(hop); err == nil {
				return strings.TrimSpace(rest)
			}
		}
		return name
	}
	name, ok := strings.CutSuffix(text, " reachable")
	if !ok {
		return ""
	}
	return exitV7(name)
}

// findNetwork returns the interfaces that have an address in one network with
// the gateway.
func findNetwork(rows []routeros.Row, gateway netip.Addr) []string {
	var names []string
	for _, row := range rows {
		prefix, err := netip.ParsePrefix(row.Value("address"))
		if err != nil || !prefix.Contains(gateway) || prefix.Addr() == gateway || row.Bool("disabled") || row.Bool("invalid") {
			continue
		}
		name := row.Value("actual-interface")
		if name == "" {
			name = row.Value("interface")
		}
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
