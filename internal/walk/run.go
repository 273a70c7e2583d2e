package walk

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"doublenat/routeros"
)

// maxJumps bounds how deep chains are followed: they may lead in a circle.
const maxJumps = 8

// run is one walk of one packet, with all that is not known decided by the oracle.
type run struct {
	t      *Tables
	oracle *oracle
	p      Packet
	leg    Leg
	over   bool   // the packet was lost, or is past understanding
	pass   string // tells the packet from the answer to it, for the oracle
}

// lose ends the walk.
func (r *run) lose(stage Stage, spot Spot) {
	if !r.over {
		r.over, r.leg.How, r.leg.Stage, r.leg.Spot = true, Lost, stage, spot
	}
}

// doubt ends the walk because something is past understanding.
func (r *run) doubt(stage Stage, spot Spot) {
	if !r.over {
		r.over, r.leg.How, r.leg.Stage, r.leg.Spot = true, Unsure, stage, spot
	}
}

// takes decides whether a rule takes the packet.
func (r *run) takes(path string, row routeros.Row, f Fate) bool {
	switch f {
	case Never:
		return false
	case Always:
		return true
	case Perhaps, Partly:
	}
	return r.choose(path+row.Value(".id"), Spot{Path: path, Row: row, Before: row})
}

// choose has the oracle decide about what is not known. The same question about
// the same packet has the same answer.
func (r *run) choose(what string, spot Spot) bool { return r.oracle.ask(r.pass+" "+what, spot) }

// effect is what becomes of a packet that a rule took.
type effect uint8

const (
	goesOn  effect = iota // to the next rule
	ends                  // the chain is over
	returns               // to the chain that jumped here
	isLost
	isUnclear
)

// chain leads the packet through a chain and those that it jumps to. Spot is the
// row that ended it; none if the packet came to its end.
func (r *run) chain(path, name string, stage Stage) Spot {
	spot, _ := r.follow(path, name, stage, nil, 0)
	return spot
}

// follow is chain at a depth; before is the row at which the first chain was left.
func (r *run) follow(path, name string, stage Stage, before routeros.Row, depth int) (Spot, effect) {
	if depth > maxJumps {
		return Spot{}, goesOn
	}
	for _, row := range r.t.chain(path, name) {
		if r.over {
			return Spot{}, ends
		}
		if inconsequential(row) || !r.takes(path, row, r.t.Match(row, r.p)) {
			continue
		}
		spot := Spot{Path: path, Row: row, Before: row}
		if before != nil {
			spot.Before = before
		}
		if row.Value("action") == "jump" {
			if inner, e := r.follow(path, row.Value("jump-target"), stage, spot.Before, depth+1); e == ends {
				return inner, ends
			}
			continue
		}
		switch e := r.act(spot); {
		case e == isLost:
			r.lose(stage, spot)
			return spot, ends
		case e == isUnclear:
			r.doubt(stage, spot)
			return spot, ends
		case e == ends || e == returns && depth == 0:
			return spot, ends
		case e == returns:
			return spot, returns
		}
	}
	return Spot{}, goesOn
}

// inconsequential reports whether a rule does nothing to what it takes.
func inconsequential(row routeros.Row) bool {
	action := row.Value("action")
	return action == "log" || action == "passthrough" || action == "add-src-to-address-list" || action == "add-dst-to-address-list"
}

// act does to the packet what the rule says.
func (r *run) act(spot Spot) effect {
	switch spot.Row.Value("action") {
	case "accept", "":
		return ends
	case "return":
		return returns
	case "drop", "reject", "tarpit":
		return isLost
	case "notrack":
		r.leg.Trail.Untracked = spot
		return goesOn
	case "fasttrack-connection":
		r.leg.Trail.FastTrack = spot
		return goesOn
	}
	switch spot.Path {
	case PathMangle:
		return r.mangle(spot)
	case PathNAT:
		return r.translate(spot)
	default:
		return isUnclear
	}
}

// mangle carries out an action of mangle.
func (r *run) mangle(spot Spot) effect {
	switch action := spot.Row.Value("action"); action {
	case "mark-connection":
		if r.leg.Trail.Untracked.IsZero() {
			r.p.Mark = spot.Row.Value("new-connection-mark")
			r.leg.Trail.MarkedConnection = spot
		}
	case "mark-routing":
		r.p.RoutingMark = spot.Row.Value("new-routing-mark")
		r.leg.Trail.MarkedRouting = spot
	case "mark-packet":
		r.p.PacketMark = spot.Row.Value("new-packet-mark")
	case "change-mss", "change-ttl", "change-dscp", "clear-df", "set-priority", "strip-ipv4-options", "sniff-tzsp", "sniff-pc":
	default:
		return isUnclear // route, for example, which sends the packet elsewhere
	}
	if value := spot.Row.Value("passthrough"); value == "false" || value == "no" {
		return ends
	}
	return goesOn
}

// translate carries out an action of NAT.
func (r *run) translate(spot Spot) effect {
	row := spot.Row
	to, port, ok := translation(row)
	if !ok {
		return isUnclear // one of several: nobody knows which
	}
	leaving := r.p.Out != "" // in a chain of srcnat
	action := row.Value("action")
	switch {
	case action == "redirect" && !leaving:
		return r.destination(r.t.AddressOn(r.p.In), port)
	case slices.Contains([]string{"dst-nat", "netmap"}, action) && !leaving:
		return r.destination(to, port)
	case action == "masquerade" && leaving:
		return r.source(r.preferred(), port)
	case slices.Contains([]string{"src-nat", "same", "netmap"}, action) && leaving:
		return r.source(to, port)
	default:
		return isUnclear
	}
}

// translation returns the address and port that a row of NAT names, zero where it names
// none. Ok is false if it names several.
func translation(row routeros.Row) (to netip.Addr, port uint16, ok bool) {
	if text := row.Value("to-addresses"); text != "" {
		s, parsed := ParseSpan(text)
		if !parsed || s.First != s.Last {
			return netip.Addr{}, 0, false
		}
		to = s.First
	}
	text := row.Value("to-ports")
	if text == "" {
		return to, 0, true
	}
	number, err := strconv.ParseUint(text, 10, 16)
	return to, uint16(number), err == nil
}

// destination sends the packet to an address and port; what is zero stays.
func (r *run) destination(to netip.Addr, port uint16) effect {
	if to.IsValid() {
		r.p.Dst = One(to)
	}
	if port != 0 {
		r.p.DstPort = port
	}
	r.p.NATState = addState(r.p.NATState, "dstnat")
	return ends
}

// source replaces the packet's source.
func (r *run) source(from netip.Addr, port uint16) effect {
	if from.IsValid() {
		r.p.Src = One(from)
	}
	if port != 0 {
		r.p.SrcPort = port
	}
	r.p.NATState = addState(r.p.NATState, "srcnat")
	return ends
}

// preferred returns the address with which a masqueraded packet leaves: that of the
// route, or the first of the interface.
func (r *run) preferred() netip.Addr {
	if a, err := netip.ParseAddr(r.leg.Trail.Route.Row.Value("pref-src")); err == nil {
		return a
	}
	return r.t.AddressOn(r.p.Out)
}

// addState adds what was done to a connection.
func addState(states, state string) string {
	if states == NoNAT || states == "" {
		return state
	}
	if slices.Contains(fields(states), state) {
		return states
	}
	return strings.Join(append(fields(states), state), ",")
}
