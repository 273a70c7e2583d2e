package walk

import (
	"net/netip"
)

// Flow is the first packet of a connection.
type Flow struct {
	// In is the interface by which it comes in.
	In string
	// Protocol is "tcp" or "udp".
	Protocol string
	// Src and Dst are its addresses when it comes in. Src is no address of the router.
	Src, Dst netip.AddrPort
	// To is where dst-nat is taken to send it, whatever the rules of dst-nat say: for
	// a rule that is not there yet. The zero value leaves it to the rules.
	To netip.AddrPort
}

// Walk follows the first packet of a connection through the router, and the answer
// to it.
func (t *Tables) Walk(f Flow) Trip {
	return explore(func(o *oracle) Trip { return t.trip(f, o) })
}

// Redirect follows the first packet of a connection through dst-nat alone: the
// trail of the leg has the row that decided about it, if any did. An address of the
// flow may be missing; then it is not known.
func (t *Tables) Redirect(f Flow, local bool) Leg {
	return explore(func(o *oracle) Trip {
		r := run{t: t, oracle: o, pass: "there", p: first(f)}
		r.p.Local = local
		r.dstNAT(f)
		r.arrive()
		return Trip{There: r.leg}
	}).There
}

// explore makes a trip in all the ways that what is not known leaves open.
func explore(once func(*oracle) Trip) Trip {
	o := new(oracle)
	o.begin()
	trip := once(o)
	for n := 1; ; n++ {
		spot, more := o.another()
		if !more {
			return trip
		}
		if n == maxRuns {
			trip.There.disagree(spot)
			trip.Back.disagree(spot)
			return trip
		}
		o.begin()
		other := once(o)
		if trip.There.How == Unsure || !trip.There.agrees(other.There) {
			trip.There.disagree(spot)
			trip.Back.disagree(spot)
			return trip
		}
		if !trip.Back.agrees(other.Back) {
			trip.Back.disagree(spot)
		}
	}
}

// agrees reports whether the same became of two packets.
func (l *Leg) agrees(other Leg) bool {
	if l.How != other.How {
		return false
	}
	return l.How != Arrives || l.Local == other.Local && l.Out == other.Out && l.Src == other.Src && l.Dst == other.Dst
}

// disagree notes that it depends on a row what becomes of the packet.
func (l *Leg) disagree(spot Spot) {
	if l.How != Unsure || l.Spot.IsZero() {
		l.How, l.Stage, l.Spot = Unsure, stageOf(spot), spot
	}
}

// stageOf returns the stage of a row.
func stageOf(spot Spot) Stage {
	switch spot.Path {
	case PathRaw:
		return StageRaw
	case PathMangle:
		return StageMangle
	case PathFilter:
		return StageFilter
	case PathNAT:
		if spot.Row.Value("chain") == "srcnat" {
			return StageSrcNAT
		}
		return StageDstNAT
	default:
		return StageRoute
	}
}

// trip is one run there and back.
func (t *Tables) trip(f Flow, o *oracle) Trip {
	there := run{t: t, oracle: o, pass: "there", p: first(f)}
	there.through(func() { there.dstNAT(f) })
	if there.over {
		return Trip{There: there.leg, Back: Leg{How: there.leg.How}}
	}
	there.arrive()
	back := run{t: t, oracle: o, pass: "back", p: there.p}
	back.answer(f, there)
	return Trip{There: there.leg, Back: back.leg}
}

// first returns the packet that opens a connection.
func first(f Flow) Packet {
	return Packet{
		In: f.In, Protocol: f.Protocol, Src: One(f.Src.Addr()), Dst: One(f.Dst.Addr()), SrcPort: f.Src.Port(), DstPort: f.Dst.Port(),
		State: StateNew, NATState: NoNAT, Mark: NoMark, RoutingMark: NoMark, PacketMark: NoMark,
	}
}

// through leads a packet from a network through the router. Translate does what
// connection tracking does before the routing decision.
func (r *run) through(translate func()) {
	r.chain(PathRaw, "prerouting", StageRaw)
	if !r.leg.Trail.Untracked.IsZero() {
		r.p.State = StateUntracked
	}
	r.leg.Trail.Mangle = r.chain(PathMangle, "prerouting", StageMangle)
	if r.over {
		return
	}
	translate()
	if r.over {
		return
	}
	r.decide()
	if r.over {
		return
	}
	if r.leg.Local {
		r.p.Out = NoInterface
		r.chain(PathMangle, "input", StageMangle)
		r.chain(PathFilter, "input", StageFilter)
		return
	}
	r.leg.Out = r.p.Out
	r.chain(PathMangle, "forward", StageMangle)
	r.chain(PathFilter, "forward", StageFilter)
	r.depart()
}

// depart leads a packet through what is behind the filter.
func (r *run) depart() {
	r.chain(PathMangle, "postrouting", StageMangle)
	if !r.over && r.p.State == StateNew {
		r.leg.Trail.SrcNAT = r.chain(PathNAT, "srcnat", StageSrcNAT)
	}
}

// dstNAT replaces the destination of a new connection.
func (r *run) dstNAT(f Flow) {
	switch {
	case r.p.State == StateUntracked:
	case f.To.IsValid():
		_ = r.destination(f.To.Addr(), f.To.Port()) // that a rule ends its chain matters to nobody here
	default:
		r.leg.Trail.DstNAT = r.chain(PathNAT, "dstnat", StageDstNAT)
	}
}

// arrive notes where the packet is in the end.
func (r *run) arrive() {
	if r.over {
		return
	}
	r.leg.How, r.leg.Out, r.leg.Trail.Mark = Arrives, r.p.Out, r.p.Mark
	if r.leg.Local {
		r.leg.Out = ""
	}
	r.leg.Src, r.leg.Dst = netip.AddrPortFrom(r.p.Src.First, r.p.SrcPort), netip.AddrPortFrom(r.p.Dst.First, r.p.DstPort)
}

// answer follows the answer to a packet that has arrived.
func (r *run) answer(f Flow, there run) {
	untracked := there.p.State == StateUntracked
	r.p.Src, r.p.Dst, r.p.SrcPort, r.p.DstPort = there.p.Dst, there.p.Src, there.p.DstPort, there.p.SrcPort
	r.p.In, r.p.Out, r.p.RoutingMark, r.p.PacketMark = there.p.Out, "", NoMark, NoMark
	r.p.State, r.p.Answer = StateEstablished, true
	if untracked {
		r.p.State = "" // connection tracking does not know the connection: new, invalid or, in turn, exempt
	}
	if there.leg.Local {
		r.fromRouter(there)
	} else {
		if r.t.adjacent(there) {
			r.lose(StageLink, Spot{})
			return
		}
		r.through(func() { r.undo(f, there) })
	}
	if !r.over { // the source is what the packet was sent to
		r.p.Src, r.p.SrcPort = One(f.Dst.Addr()), f.Dst.Port()
	}
	r.arrive()
}

// undo puts the client's address in the place of the router's, as connection
// tracking does. A packet without it stays as it is, and is no answer to anything.
func (r *run) undo(f Flow, there run) {
	if r.untracked(there) {
		return
	}
	r.p.Dst, r.p.DstPort = One(f.Src.Addr()), f.Src.Port()
}

// untracked notes that raw has exempted an answer from connection tracking. It is lost
// then if the connection's addresses were changed.
func (r *run) untracked(there run) (lost bool) {
	spot := r.leg.Trail.Untracked
	if spot.IsZero() {
		return false
	}
	r.p.State, r.p.Mark = StateUntracked, NoMark
	if there.p.NATState != NoNAT {
		r.lose(StageRaw, spot)
	}
	return r.over
}

// fromRouter leads a packet of the router's own out. Its way is chosen before raw, and
// again when mangle has given it a mark ("routing adjustment" in the manual).
func (r *run) fromRouter(there run) {
	r.p.In = NoInterface
	if r.decide(); r.over {
		return
	}
	r.chain(PathRaw, "output", StageRaw)
	if r.untracked(there) {
		return
	}
	r.leg.Trail.Mangle = r.chain(PathMangle, "output", StageMangle)
	if r.over {
		return
	}
	if r.p.RoutingMark != NoMark {
		if r.decide(); r.over {
			return
		}
	}
	r.leg.Out = r.p.Out
	r.chain(PathFilter, "output", StageFilter)
	r.depart()
}

// adjacent reports whether a host and who asks it are in one network, where the
// answer does not come through the router, while the question came by dst-nat: it
// is then from an address that nobody asked.
func (t *Tables) adjacent(there run) bool {
	if there.p.In != there.p.Out || there.p.NATState != "dstnat" {
		return false
	}
	for _, n := range t.Networks() {
		if n.Interface == there.p.Out && n.Prefix.Contains(there.p.Src.First) && n.Prefix.Contains(there.p.Dst.First) {
			return true
		}
	}
	return false
}
