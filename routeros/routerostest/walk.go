package routerostest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Packet is the first packet of a connection.
type Packet struct {
	// Protocol is "udp", "tcp" or "icmp".
	Protocol string
	// In is the interface where it comes in, "" for one that the router itself sends.
	In string
	// Src and Dst are its ends as they are on the wire. ICMP has port 0.
	Src, Dst netip.AddrPort
}

// Fate is what becomes of a packet.
type Fate uint8

// The fates of packets.
const (
	// Lost is a packet that a rule drops, or for which there is no way.
	Lost Fate = iota
	// Arrived is one for the router itself, which its input chain lets in.
	Arrived
	// Forwarded is one that leaves the router.
	Forwarded
	// Beside is a reply that never passes the router, because both ends are in one
	// network: its source is whatever the sender has.
	Beside
)

// String returns the name of the fate, for example "forwarded".
func (f Fate) String() string {
	if names := []string{"lost", "arrived", "forwarded", "beside the router"}; int(f) < len(names) {
		return names[f]
	}
	return "unknown"
}

// Step is a row that did something to a packet, or a stage without one.
type Step struct {
	// Stage is where, for example "filter forward", "dst-nat" or "routing".
	Stage string
	// Table is the path of the row's table, ID the row itself; both "" for a decision
	// that no row made.
	Table, ID string
	// What says what happened, for example "drop" or "no route to 10.2.0.1".
	What string
}

// String returns the step in one line.
func (s Step) String() string {
	if s.ID == "" {
		return s.Stage + ": " + s.What
	}
	return fmt.Sprintf("%s: %s (%s %s)", s.Stage, s.What, s.Table, s.ID)
}

// Path is the way of a packet through the router.
type Path struct {
	// Packet is how it came.
	Packet Packet
	// Fate is how it went.
	Fate Fate
	// Src and Dst are its ends as it leaves the router or arrives, all NAT applied.
	Src, Dst netip.AddrPort
	// Out is the interface by which it leaves, "" unless it was forwarded. Via is the
	// next hop; equal to the destination where that is on the link.
	Out string
	Via netip.Addr
	// RoutingTable is the one that knew the way, "local" for the router's own addresses.
	RoutingTable string
	// Steps are what happened in order; the last one says where a lost packet was lost.
	Steps []Step
	// Unsure are rows with matchers that the walk does not know: they were passed over,
	// and might have matched. Nil if the path is certain.
	Unsure []Step

	// connectionMark, natState and untracked are what the connection table would hold.
	connectionMark string
	dstNAT, srcNAT bool
	untracked      bool
}

// LostAt returns the step at which a packet was lost, the zero Step for one that was not.
func (p Path) LostAt() Step {
	if p.Fate != Lost || len(p.Steps) == 0 {
		return Step{}
	}
	return p.Steps[len(p.Steps)-1]
}

// String returns the path with its steps, a line each.
func (p Path) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %v → %v in by %q: %v", p.Packet.Protocol, p.Packet.Src, p.Packet.Dst, p.Packet.In, p.Fate)
	if p.Fate != Lost {
		fmt.Fprintf(&b, " as %v → %v by %q (table %s)", p.Src, p.Dst, p.Out, p.RoutingTable)
	}
	for _, s := range p.Steps {
		b.WriteString("\n\t" + s.String())
	}
	for _, s := range p.Unsure {
		b.WriteString("\n\tnot understood: " + s.String())
	}
	return b.String()
}

// Walk says what becomes of the first packet of a connection: raw first, then mangle
// prerouting, dst-nat, the routing decision for the new destination, the input or
// forward chain, and srcnat on the way out. The decision asks routing marks, VRFs,
// the router's own addresses, the user's rules and the main table in this order
// (RouterOS 6 the own addresses first). Chains are followed, address and interface
// lists evaluated, rp-filter applied. Nothing is changed, no counter goes up.
//
// It is written without a look at how internal/check or doublenat decide, to be
// their judge.
func (r *Router) Walk(p Packet) Path {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.walkerLocked(Path{Packet: p, Src: p.Src, Dst: p.Dst}, "new")
	if p.In == "" {
		w.originate()
	} else {
		w.arrive()
	}
	return w.path
}

// WalkBack says what becomes of the answer to the packet whose path that is. An
// answer that arrives as it has to is [Forwarded] by the interface where the first
// packet came in, with that one's ends turned round.
func (r *Router) WalkBack(way Path) Path {
	r.mu.Lock()
	defer r.mu.Unlock()
	back := Path{
		Packet: Packet{Protocol: way.Packet.Protocol, In: way.Out, Src: way.Dst, Dst: way.Src},
		Src:    way.Dst, Dst: way.Src, connectionMark: way.connectionMark, dstNAT: way.dstNAT, srcNAT: way.srcNAT,
	}
	w := r.walkerLocked(back, "established")
	w.way = &way
	switch {
	case way.Fate == Lost || way.Fate == Beside:
		w.lose(Step{Stage: "answer", What: "there is none to a packet that was " + way.Fate.String()})
	case way.Fate == Arrived:
		w.originate()
	case !way.srcNAT && way.Via == way.Dst.Addr() && r.sameLinkLocked(way.Out, way.Dst.Addr(), way.Src.Addr()):
		w.path.Fate = Beside
	default:
		w.arrive()
	}
	return w.path
}

// Answered reports whether a packet reaches whom it is for and the answer finds back as
// the sender expects it: from the address that it was sent to, out of the interface
// where it came in. Problem says what is wrong, "" for nothing.
func (r *Router) Answered(p Packet) (way, back Path, problem string) {
	way = r.Walk(p)
	if way.Fate == Lost {
		return way, Path{}, "the packet is lost at " + way.LostAt().String()
	}
	if home := r.homeOf(way.Dst.Addr()); way.Fate == Forwarded && home != "" && home != way.Out {
		return way, Path{}, fmt.Sprintf("the packet leaves by %s, and %v is at %s", way.Out, way.Dst.Addr(), home)
	}
	back = r.WalkBack(way)
	switch {
	case back.Fate == Lost:
		problem = "the answer is lost at " + back.LostAt().String()
	case back.Src != p.Dst:
		problem = fmt.Sprintf("the answer comes from %v instead of %v", back.Src, p.Dst)
	case back.Fate == Forwarded && back.Out != p.In:
		problem = fmt.Sprintf("the answer leaves by %s instead of %s", back.Out, p.In)
	}
	return way, back, problem
}

// homeOf returns the interface in whose network an address is, "" for none.
func (r *Router) homeOf(addr netip.Addr) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, it := range r.tables["/ip/address"].items {
		prefix, err := netip.ParsePrefix(it.value("address"))
		if err == nil && prefix.Contains(addr) && !it.is("disabled") && r.runningLocked(it.value("interface")) {
			return it.value("interface")
		}
	}
	return ""
}

// walker leads a packet through the router.
type walker struct {
	r *Router
	// path is filled in on the way; its Src and Dst are those of the moment.
	path Path
	// way is that of the connection's first packet, nil while this is the first.
	way *Path
	// state is the connection's.
	state string
	// out is known from the routing decision on.
	out                     string
	routingMark, packetMark string
}

// walkerLocked begins a walk.
func (r *Router) walkerLocked(path Path, state string) *walker {
	for _, t := range []string{natPath, filterPath, manglePath, rawPath, "/ip/firewall/address-list"} {
		r.tables[t].refresh(r)
	}
	return &walker{r: r, path: path, state: state}
}

// step notes what a row did.
func (w *walker) step(s Step) { w.path.Steps = append(w.path.Steps, s) }

// lose ends the walk at a step.
func (w *walker) lose(s Step) bool {
	w.step(s)
	w.path.Fate = Lost
	return false
}

// arrive leads a packet that came in by an interface.
func (w *walker) arrive() {
	if !w.raw("prerouting") || !w.chain(manglePath, "prerouting") || !w.translateDst("dstnat") || !w.decide() || !w.reversePath() {
		return
	}
	if w.path.RoutingTable == localTable {
		if w.chain(manglePath, "input") && w.chain(filterPath, "input") {
			w.path.Fate = Arrived
		}
		return
	}
	if settings := w.r.tables["/ip/settings"]; len(settings.items) > 0 && settings.items[0].value("ip-forward") == "false" {
		w.lose(Step{Stage: "routing", What: "ip-forward=no"})
		return
	}
	if w.chain(manglePath, "forward") && w.chain(filterPath, "forward") {
		w.leave()
	}
}

// raw leads the packet through a chain of raw. What a rule there exempts from tracking
// belongs to no connection.
func (w *walker) raw(chain string) bool {
	if !w.chain(rawPath, chain) {
		return false
	}
	if w.path.untracked {
		w.state, w.path.connectionMark = "untracked", ""
	}
	return true
}

// originate leads a packet that the router sends itself.
func (w *walker) originate() {
	if !w.decide() || !w.raw("output") {
		return
	}
	marked := w.routingMark
	if !w.chain(manglePath, "output") {
		return
	}
	if w.routingMark != marked && !w.decide() {
		return
	}
	if w.translateDst("output") && w.chain(filterPath, "output") {
		w.leave()
	}
}

// leave leads a packet out.
func (w *walker) leave() {
	if w.chain(manglePath, "postrouting") && w.translateSrc() {
		w.path.Fate, w.path.Out = Forwarded, w.out
	}
}

// translateDst applies dst-nat to the first packet of a connection, and takes src-nat
// back for its answers.
func (w *walker) translateDst(chain string) bool {
	if w.way != nil {
		if w.path.untracked && w.way.srcNAT {
			return w.lose(Step{Stage: "dst-nat", What: "the answer is not tracked, so that its translation is not undone"})
		}
		w.path.Dst = w.way.Packet.Src
		return true
	}
	if w.path.untracked {
		return true
	}
	return w.chain(natPath, chain)
}

// translateSrc applies src-nat to the first packet of a connection, and takes dst-nat
// back for its answers.
func (w *walker) translateSrc() bool {
	if w.path.untracked {
		return true
	}
	if w.way != nil {
		w.path.Src = w.way.Packet.Dst
		return true
	}
	return w.chain(natPath, "srcnat")
}

// sameLinkLocked reports whether two addresses are in one network of an interface.
func (r *Router) sameLinkLocked(name string, a, b netip.Addr) bool {
	return slices.ContainsFunc(r.tables["/ip/address"].items, func(it *item) bool {
		prefix, err := netip.ParsePrefix(it.value("address"))
		return err == nil && it.value("interface") == name && !it.is("disabled") && prefix.Contains(a) && prefix.Contains(b)
	})
}
