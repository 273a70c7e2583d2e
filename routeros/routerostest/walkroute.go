package routerostest

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The routing tables that every router has.
const (
	mainTableName = "main"
	localTable    = "local"
)

// flow is what the routing decision looks at.
type flow struct {
	src, dst netip.Addr
	in, mark string
}

// hop is the result of a routing decision.
type hop struct {
	table, out string
	via        netip.Addr
	// refused is why there is no way, "" for none.
	refused string
	// by is the row that decided, if it was one.
	path, id string
}

// decide makes the routing decision for the packet as it is now.
func (w *walker) decide() bool {
	h, strange := w.r.decideLocked(flow{src: w.path.Src.Addr(), dst: w.path.Dst.Addr(), in: w.path.Packet.In, mark: w.routingMark})
	w.path.Unsure = append(w.path.Unsure, strange...)
	step := Step{Stage: "routing", Table: h.path, ID: h.id, What: h.refused}
	if h.refused != "" {
		return w.lose(step)
	}
	w.path.RoutingTable, w.path.Via, w.out = h.table, h.via, h.out
	step.What = fmt.Sprintf("table %s sends %v by %s", h.table, w.path.Dst.Addr(), h.out)
	if h.table == localTable {
		step.What = fmt.Sprintf("%v is the router's own", w.path.Dst.Addr())
	}
	w.step(step)
	return true
}

// reversePath applies rp-filter to a packet that came in.
func (w *walker) reversePath() bool {
	t := w.r.tables["/ip/settings"]
	if len(t.items) == 0 || w.path.Packet.In == "" {
		return true
	}
	mode := t.items[0].value("rp-filter")
	if mode != "strict" && mode != "loose" {
		return true
	}
	// The kernel asks without marks, and rules for an interface do not match.
	h, _ := w.r.decideLocked(flow{src: w.path.Dst.Addr(), dst: w.path.Src.Addr()})
	if h.refused != "" || h.table == localTable || mode == "strict" && h.out != w.path.Packet.In {
		return w.lose(Step{Stage: "rp-filter", What: fmt.Sprintf("%s: answers to %v leave by %q", mode, w.path.Src.Addr(), h.out)})
	}
	return true
}

// decideLocked finds the way of a flow. Steps are rules that were not understood.
func (r *Router) decideLocked(f flow) (hop, []Step) {
	local := func() (hop, bool) { return hop{table: localTable, via: f.dst}, r.localLocked(f.dst) }
	if r.behavior.localFirst {
		if h, ok := local(); ok {
			return h, nil
		}
	}
	if f.mark != "" {
		if h, ok := r.lookUpLocked(f.mark, f.dst, -1); ok {
			return h, nil
		}
	}
	if vrf := r.vrfLocked(f.in); vrf != "" {
		if h, ok := r.lookUpLocked(vrf, f.dst, -1); ok {
			return h, nil
		}
		return hop{refused: fmt.Sprintf("VRF %s has no route to %v", vrf, f.dst)}, nil
	}
	if h, ok := local(); ok {
		return h, nil
	}
	h, done, strange := r.askRulesLocked(f)
	if done {
		return h, strange
	}
	if h, ok := r.lookUpLocked(mainTableName, f.dst, -1); ok {
		return h, strange
	}
	return hop{refused: fmt.Sprintf("no route to %v", f.dst)}, strange
}

// vrfLocked returns the VRF of an interface, "" for none but main.
func (r *Router) vrfLocked(in string) string {
	path, name := vrfPath, "name"
	if r.behavior.localFirst {
		path, name = "/ip/route/vrf", "routing-mark"
	}
	for _, it := range r.tables[path].items {
		if !it.is("disabled") && it.value(name) != mainTableName && slices.Contains(strings.Split(it.value("interfaces"), ","), in) {
			return it.value(name)
		}
	}
	return ""
}

// askRulesLocked asks the user's rules. Done is false when none of them decides.
func (r *Router) askRulesLocked(f flow) (h hop, done bool, strange []Step) {
	t := r.tables[rulePath]
	if t == nil {
		t = r.tables["/ip/route/rule"]
	}
	for _, it := range t.items {
		if it.is("disabled") || it.is("inactive") || it.is("invalid") {
			continue
		}
		hit, known := r.ruleMatchesLocked(it, f)
		if !known {
			strange = append(strange, Step{Stage: "routing", Table: t.menu.path, ID: it.id, What: "a matcher that is not understood"})
		}
		if !hit || !known {
			continue
		}
		h, done = r.obeyRuleLocked(it, f)
		if h.path, h.id = t.menu.path, it.id; done {
			return h, true, strange
		}
	}
	return hop{}, false, strange
}

// obeyRuleLocked does what a rule says that matched.
func (r *Router) obeyRuleLocked(it *item, f flow) (h hop, done bool) {
	atLeast := -1
	if n, err := strconv.Atoi(it.value("min-prefix")); err == nil {
		atLeast = n
	}
	action, table := it.value("action"), it.value("table")
	switch action {
	case "drop", "unreachable":
		return hop{refused: "a rule says " + action}, true
	case "lookup-only-in-table":
		if h, ok := r.lookUpLocked(table, f.dst, atLeast); ok {
			return h, true
		}
		return hop{refused: fmt.Sprintf("table %s has no route to %v, and a rule asks no other", table, f.dst)}, true
	default:
		return r.lookUpLocked(table, f.dst, atLeast)
	}
}

// ruleMatchesLocked judges a rule that chooses a table.
func (r *Router) ruleMatchesLocked(it *item, f flow) (hit, known bool) {
	if it.value("vrf") != "" || it.value("realm") != "" || it.value("chain") != "" {
		return false, false
	}
	in := func(prop string, addr netip.Addr) bool {
		value := it.value(prop)
		span, ok := parseAddresses(positive(value))
		return value == "" || ok && span.contains(addr) != strings.HasPrefix(value, "!")
	}
	iface, mark := it.value("interface"), it.value("routing-mark")
	return in("dst-address", f.dst) && in("src-address", f.src) && (iface == "" || r.interfaceIsLocked(iface, f.in)) &&
		(mark == "" || mark == f.mark), true
}

// lookUpLocked finds the best route of a table with a prefix longer than shorter bits:
// the longest prefix over active routes, then the lowest distance. False is no route;
// a hop with a refusal is a route that leads nowhere.
func (r *Router) lookUpLocked(table string, dst netip.Addr, shorter int) (hop, bool) {
	var best *item
	bestBits, bestDistance := shorter, 0
	for _, it := range r.tables["/ip/route"].items {
		prefix, err := netip.ParsePrefix(it.value("dst-address"))
		if err != nil || !prefix.Contains(dst) || !it.is("active") || tableOf(it) != table {
			continue
		}
		distance, err := strconv.Atoi(it.value("distance"))
		if err != nil || prefix.Bits() < bestBits || prefix.Bits() == bestBits && (best == nil || distance >= bestDistance) {
			continue
		}
		best, bestBits, bestDistance = it, prefix.Bits(), distance
	}
	if best == nil {
		return hop{}, false
	}
	h := hop{table: table, path: "/ip/route", id: best.id}
	if leadsNowhere(best) {
		h.refused = "the route is a blackhole"
		return h, true
	}
	gateway, _, _ := strings.Cut(best.value("gateway"), ",")
	if h.out, h.via = r.reachLocked(gateway); !h.via.IsValid() {
		h.via = dst
	}
	return h, true
}

// tableOf returns the table that a route is in.
func tableOf(it *item) string {
	for _, name := range []string{"routing-table", "routing-mark"} {
		if value := it.value(name); value != "" {
			return value
		}
	}
	return mainTableName
}
