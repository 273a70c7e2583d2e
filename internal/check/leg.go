package check

import (
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"doublenat/internal/remedy"
	"doublenat/internal/walk"
	"doublenat/natpmp"
	"doublenat/routeros"
)

const (
	// maxHosts is how many hosts of a network are looked at: as many as rows tell apart.
	maxHosts = 256
	// clientPort is the port of a client that has no other meaning, and openPort one
	// that a program lets be mapped.
	clientPort, openPort = 40_000, 50_413
)

// leg is a way that packets have to go and come back.
type leg struct {
	// flows are the packets that stand for all of them; the first ones are of the host
	// that stands for most, and are as many as mains.
	flows []sample
	mains int
	// there and back say what is to become of them.
	there, back heading
	// onlyThere and onlyBack leave the other direction to another probe.
	onlyThere, onlyBack bool
	// onlySource looks at nothing but whether packets that arrive have kept their source.
	onlySource bool
}

// sample is a packet with the ways that it and the answer have to take.
type sample struct {
	walk.Flow

	// out is the interface by which it has to leave, and home that of the answer; "" for
	// the router itself.
	out, home string
	// network is that of the client, if there is one.
	network netip.Prefix
}

// client returns the host on the LAN.
func (s sample) client() netip.Addr {
	if s.To.IsValid() {
		return s.To.Addr()
	}
	return s.Src.Addr()
}

// heading is one direction of a leg.
type heading struct {
	// what names the packets for people, in the plural; some names those of one host,
	// with %s in it, "" where there is only one.
	what, some string
	// unmasked is an address with which they must not leave, invalid for none.
	unmasked netip.Addr
	// kit mends the direction.
	kit kit
}

// kit is what rules match that let the packets of a direction through.
type kit struct {
	raw, mangle, filter []string     // matchers, as name and value in turn
	rawChain, chain     string       // chains of raw and of the filter
	network             netip.Prefix // where the packets go; invalid for the client's
}

// problem is what is wrong with a direction of a leg. It is comparable but for Spot.
type problem struct {
	back  bool
	how   walk.How
	stage walk.Stage
	spot  walk.Spot
	trip  walk.Trip
	flow  sample
	main  bool // it is of the host that stands for most
	all   bool // none of the flows is without a problem
}

// same reports whether two problems have the same cause.
func (p problem) same(other problem) bool {
	return p.back == other.back && p.stage == other.stage && p.spot.Path == other.spot.Path && p.spot.ID() == other.spot.ID()
}

// leg returns the direction's part of the trip.
func (p problem) leg() walk.Leg {
	if p.back {
		return p.trip.Back
	}
	return p.trip.There
}

// examine walks all flows of a leg and returns the first problem, if there is any.
func (l leg) examine(t *walk.Tables) (problem, bool) {
	var worst problem
	found, fine := false, false
	for i, f := range l.flows {
		p, bad := l.judge(f, t.Walk(f.Flow))
		if !bad {
			fine = true
			continue
		}
		if !found {
			found, worst = true, p
			worst.flow, worst.main = f, i < l.mains
		}
	}
	worst.all = !fine
	return worst, found
}

// judge compares what became of a packet with what should.
func (l leg) judge(f sample, trip walk.Trip) (problem, bool) {
	if l.onlySource {
		return judgeSource(f, trip)
	}
	if p, bad := l.there.judge(f.out, trip.There); bad {
		p.trip = trip
		return p, !l.onlyBack
	}
	if l.onlyThere {
		return problem{}, false
	}
	p, bad := l.back.judge(f.home, trip.Back)
	p.back, p.trip = true, trip
	return p, bad
}

// judgeSource looks whether a packet that arrives has another source.
func judgeSource(f sample, trip walk.Trip) (problem, bool) {
	got := trip.There
	switch {
	case got.How == walk.Unsure && got.Stage == walk.StageSrcNAT:
		return problem{how: walk.Unsure, stage: got.Stage, spot: got.Spot, trip: trip}, true
	case got.How == walk.Arrives && got.Src.Addr() != f.Src.Addr():
		return problem{how: walk.Lost, stage: walk.StageSrcNAT, spot: got.Trail.SrcNAT, trip: trip}, true
	default:
		return problem{}, false
	}
}

// judge compares what became of a packet in one direction with what should. A packet
// that took a wrong way before it was lost is lost because of the way.
func (h heading) judge(out string, got walk.Leg) (problem, bool) {
	wrongWay := got.Out != "" && got.Out != out || got.Local && out != ""
	switch {
	case got.How == walk.Unsure:
		return problem{how: walk.Unsure, stage: got.Stage, spot: got.Spot}, true
	case wrongWay && (got.How == walk.Arrives || got.Stage > walk.StageRoute):
		p := detour(got)
		return p, true
	case got.How == walk.Lost:
		return problem{how: walk.Lost, stage: got.Stage, spot: got.Spot}, true
	case h.unmasked.IsValid() && got.Src.Addr() == h.unmasked:
		p := problem{how: walk.Lost, stage: walk.StageSrcNAT, spot: got.Trail.SrcNAT}
		if !got.Trail.Untracked.IsZero() {
			p.stage, p.spot = walk.StageRaw, got.Trail.Untracked
		}
		return p, true
	default:
		return problem{}, false
	}
}

// detour returns the problem of a packet that takes a wrong way: whatever chose the way.
func detour(got walk.Leg) problem {
	p := problem{how: walk.Lost, stage: walk.StageRoute}
	switch trail := got.Trail; {
	case !trail.Untracked.IsZero():
		p.stage, p.spot = walk.StageRaw, trail.Untracked
	case got.Local:
	case trail.ByMark:
		p.stage, p.spot = walk.StageMangle, trail.MarkedRouting
	case !trail.Rule.IsZero():
		p.spot = trail.Rule
	default:
		p.spot = trail.Route
	}
	return p
}

// solve finds the problems of a leg one after the other: each that can be mended is
// taken for mended, so that what is behind it shows. Mend returns the finding for a
// problem. What its commands do is done to the visit's picture of the router; if
// that does not help, they are left out.
func (v *visit) solve(l leg, mend func(problem) Finding) []Finding {
	var found []Finding
	for range maxRounds {
		p, bad := l.examine(v.net)
		if !bad {
			break
		}
		f := mend(p)
		after, ok := v.apply(f.Advice.Commands)
		if ok {
			still, bad := l.examine(after)
			ok = !bad || !still.same(p) || still.flow != p.flow
		}
		if !ok {
			f.Advice.Commands = nil
			return append(found, f)
		}
		v.net = after
		found = append(found, f)
	}
	return found
}

// maxRounds bounds how many problems of one leg are told.
const maxRounds = 8

// apply returns the router as it is when the commands were typed. Ok is false if
// there are none, or if one of them is not understood.
func (v *visit) apply(commands []remedy.Command) (*walk.Tables, bool) {
	after := v.net.Clone()
	for _, c := range commands {
		if c.Find != "" || after.Apply(c.Path, placed(after, c)) != nil {
			return nil, false
		}
	}
	return after, len(commands) > 0
}

// placed returns a command's arguments with its place as an id.
func placed(t *walk.Tables, c remedy.Command) []routeros.Attr {
	if !c.Place.First {
		return c.Args
	}
	for _, row := range t.Rows[path.Dir(c.Path)] {
		meets := true
		for condition := range strings.FieldsSeq(c.Place.Where) {
			name, value, compared := strings.Cut(condition, "=")
			flag, negated := strings.CutPrefix(name, "!")
			meets = meets && (compared && row.Value(name) == value || !compared && row.Bool(flag) != negated)
		}
		if meets {
			return c.With("place-before", row.Value(".id")).Args
		}
	}
	return c.Args
}

// clients is a network of clients.
type clients struct {
	walk.Network

	hosts []netip.Addr // that of the largest part first
	whole bool         // there are no more kinds of hosts
}

// clientNetworks returns the networks from which the redirects take requests; if
// there are none, those of the list LAN and of bridges. A network that doublenat has
// for itself is none, nor is its own if there are others: its requests would not come
// back by the router.
func (v *visit) clientNetworks() []clients {
	if all := v.networksOf(v.redirects); len(all) > 0 {
		return all
	}
	return v.networksOf(nil)
}

// networksOf is clientNetworks for some redirects.
func (v *visit) networksOf(redirects []routeros.Row) []clients {
	var all, own []clients
	for _, n := range v.net.Networks() {
		if n.Interface == v.survey.InInterface || n.Prefix.Bits() > 29 || !v.serves(redirects, n) {
			continue
		}
		c := clients{Network: n}
		c.hosts, c.whole = v.net.Hosts(n.Prefix, maxHosts)
		c.hosts = slices.DeleteFunc(c.hosts, func(a netip.Addr) bool { return a == v.target })
		switch {
		case len(c.hosts) == 0:
		case v.target.IsValid() && n.Prefix.Contains(v.target):
			own = append(own, c)
		default:
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return own
	}
	return all
}

// serves reports whether one of the redirects is for clients of a network.
func (v *visit) serves(redirects []routeros.Row, n walk.Network) bool {
	if len(redirects) == 0 {
		return v.net.Match(routeros.Row{{Name: "in-interface-list", Value: "LAN"}}, walk.Packet{In: n.Interface}) == always || v.isBridge(n.Interface)
	}
	if v.leadsOut(n.Interface) {
		return false
	}
	p := walk.Packet{
		In: n.Interface, Protocol: "udp", DstPort: natpmp.Port, Src: walk.SpanOf(n.Prefix), Dst: walk.One(n.Prefix.Addr()),
		State: walk.StateNew, NATState: walk.NoNAT, Mark: walk.NoMark, RoutingMark: walk.NoMark, PacketMark: walk.NoMark, Local: true,
	}
	return slices.ContainsFunc(redirects, func(r routeros.Row) bool { return v.net.Match(r, p) != never })
}

// isBridge reports whether an interface is a bridge.
func (v *visit) isBridge(name string) bool {
	row, _ := named(v.net.Rows[walk.PathInterface], name)
	return row.Value("type") == "bridge"
}

// leadsOut reports whether an interface is the way to the Internet.
func (v *visit) leadsOut(name string) bool {
	return slices.Contains(v.net.Exits(mainTable, somewhere()), name)
}

// port returns a port as text.
func port(number uint16) string { return strconv.Itoa(int(number)) }
