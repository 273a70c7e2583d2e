package walk

import (
	"net/netip"
	"slices"
	"strconv"

	"doublenat/internal/router"
	"doublenat/routeros"
)

// route is what a routing table has for an address.
type route struct {
	row   routeros.Row
	exits []string // several for equal routes, none for one that discards
}

// lookUp finds the route to an address in a table: the longest prefix among the
// active routes, then the lowest distance. Prefixes of up to floor bits do not
// count; -1 is all do.
func (t *Tables) lookUp(table string, to netip.Addr, floor int) (route, bool) {
	best, bestBits, bestDistance := route{}, -1, uint64(0)
	for _, row := range t.Rows[PathRoute] {
		prefix, err := netip.ParsePrefix(row.Value("dst-address"))
		if err != nil || prefix.Bits() <= floor || !prefix.Contains(to) || !row.Bool("active") || !enabled(row) || tableOf(row) != table {
			continue
		}
		exits := router.Exits(row)
		if len(exits) == 0 && !discards(row) {
			continue
		}
		distance, _ := strconv.ParseUint(row.Value("distance"), 10, 8) // 0 for a connected route without one
		switch {
		case prefix.Bits() > bestBits, prefix.Bits() == bestBits && distance < bestDistance:
			best, bestBits, bestDistance = route{row, exits}, prefix.Bits(), distance
		case prefix.Bits() == bestBits && distance == bestDistance:
			best.exits = append(slices.Clone(best.exits), exits...)
		}
	}
	slices.Sort(best.exits)
	best.exits = slices.Compact(best.exits)
	return best, bestBits >= 0
}

// tableOf returns the routing table of a route: one version has it in one column,
// another in the other.
func tableOf(row routeros.Row) string {
	if name := row.Value("routing-table") + row.Value("routing-mark"); name != "" {
		return name
	}
	return MainTable
}

// discards reports whether a route throws packets away.
func discards(row routeros.Row) bool {
	kind := row.Value("type")
	_, flag := row.Lookup("blackhole")
	return flag && row.Value("blackhole") != "false" || kind == "blackhole" || kind == "unreachable" || kind == "prohibit"
}

// Exits returns the interfaces by which a routing table reaches an address, nil if
// it does not.
func (t *Tables) Exits(table string, to netip.Addr) []string {
	found, _ := t.lookUp(table, to, -1)
	return found.exits
}

// rules returns the routing rules that are in use, and their path.
func (t *Tables) rules() (string, []routeros.Row) {
	path := PathRule
	if len(t.Rows[PathRule6]) > 0 {
		path = PathRule6
	}
	return path, slices.DeleteFunc(slices.Clone(t.Rows[path]), func(r routeros.Row) bool { return !enabled(r) })
}

// vrf returns the VRF that an interface is in, "" for none.
func (t *Tables) vrf(iface string) string {
	for _, path := range []string{PathVRF, PathVRF6} {
		for _, row := range t.Rows[path] {
			if enabled(row) && slices.Contains(fields(row.Value("interfaces")), iface) {
				return row.Value("name") + row.Value("routing-mark")
			}
		}
	}
	return ""
}

// matchRule says whether a routing rule takes the packet.
func (t *Tables) matchRule(row routeros.Row, p Packet) Fate {
	result := Always
	for _, a := range row {
		if a.Value == "" {
			continue
		}
		name := a.Name
		switch name {
		case "table", "min-prefix", "action", "disabled", "inactive", "invalid", "dynamic", "comment", ".id", ".nextid":
			continue
		case "interface":
			name = "in-interface"
		case "src-address", "dst-address", "routing-mark":
		default:
			result = min(result, Perhaps) // a VRF or realm, for example
			continue
		}
		result = min(result, t.matchOne(name, a.Value, p))
	}
	return result
}

// decide finds out where the packet goes: by the mark of mangle, the VRF of its
// interface, the router's own addresses, the rules of the user, and the table main,
// in this order.
func (r *run) decide() {
	to := r.p.Dst.First
	if !r.t.covers(r.p.Dst) {
		r.doubt(StageRoute, Spot{})
		return
	}
	if r.t.LocalFirst && r.t.Owns(to) {
		r.leg.Local = true
		return
	}
	if r.p.RoutingMark != NoMark {
		if found, ok := r.t.lookUp(r.p.RoutingMark, to, -1); ok {
			if r.t.Owns(to) && tableOf(found.row) == MainTable {
				r.doubt(StageRoute, r.leg.Trail.MarkedRouting) // out of the interface to itself, or not: nobody says
				return
			}
			r.leg.Trail.ByMark = true
			r.take(r.p.RoutingMark, found)
			return
		}
	}
	if r.decideVRF(to) {
		return
	}
	if r.t.Owns(to) {
		r.leg.Local = true
		return
	}
	if r.byRules(to) {
		return
	}
	found, ok := r.t.lookUp(MainTable, to, -1)
	if !ok {
		r.lose(StageRoute, Spot{})
		return
	}
	r.take(MainTable, found)
}

// decideVRF looks into the table of the interface's VRF. What becomes of packets
// that have no route there is not known.
func (r *run) decideVRF(to netip.Addr) bool {
	table := r.t.vrf(r.p.In)
	if table == "" {
		return false
	}
	if found, ok := r.t.lookUp(table, to, -1); ok && !r.t.Owns(to) {
		r.take(table, found)
		return true
	}
	for _, path := range []string{PathVRF, PathVRF6} {
		for _, row := range r.t.Rows[path] {
			if slices.Contains(fields(row.Value("interfaces")), r.p.In) {
				r.doubt(StageRoute, Spot{Path: path, Row: row, Before: row})
				return true
			}
		}
	}
	return true
}

// byRules looks for the routing rule that decides.
func (r *run) byRules(to netip.Addr) bool {
	path, rows := r.t.rules()
	for _, row := range rows {
		if !r.takes(path, row, r.t.matchRule(row, r.p)) {
			continue
		}
		spot := Spot{Path: path, Row: row, Before: row}
		floor := -1
		if bits, err := strconv.Atoi(row.Value("min-prefix")); err == nil {
			floor = bits
		}
		action := row.Value("action")
		switch action {
		case "drop", "unreachable":
			r.lose(StageRoute, spot)
			return true
		case "lookup", "lookup-only-in-table", "":
		default:
			r.doubt(StageRoute, spot)
			return true
		}
		table := row.Value("table")
		if table == "" {
			table = MainTable
		}
		found, ok := r.t.lookUp(table, to, floor)
		if ok {
			r.leg.Trail.Rule = spot
			r.take(table, found)
			return true
		}
		if action == "lookup-only-in-table" {
			r.lose(StageRoute, spot)
			return true
		}
	}
	return false
}

// take sends the packet by a route.
func (r *run) take(table string, found route) {
	spot := Spot{Path: PathRoute, Row: found.row, Before: found.row}
	r.leg.Trail.Route, r.leg.Trail.Table = spot, table
	switch len(found.exits) {
	case 0:
		r.lose(StageRoute, spot)
	case 1:
		r.p.Out = found.exits[0]
	default: // one of several equal routes: nobody knows which
		for i, name := range found.exits {
			if i == len(found.exits)-1 || r.choose("exit "+name+found.row.Value(".id"), spot) {
				r.p.Out = name
				return
			}
		}
	}
}
