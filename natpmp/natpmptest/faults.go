package natpmptest

import (
	"net/netip"
	"time"
)

// Path names packets by where they come from and where they go. The direction
// counts: requests and replies are two paths. It is comparable.
type Path struct {
	// From has the sources; the zero value is all.
	From netip.Prefix
	// To has the destinations; the zero value is all.
	To netip.Prefix
}

// Between returns the path from one address to another.
func Between(from, to netip.Addr) Path {
	return Path{From: netip.PrefixFrom(from, from.BitLen()), To: netip.PrefixFrom(to, to.BitLen())}
}

// has says whether a packet takes this path.
func (p Path) has(from, to netip.Addr) bool {
	return (!p.From.IsValid() || p.From.Contains(from)) && (!p.To.IsValid() || p.To.Contains(to))
}

// Faults is what may happen to packets. The zero value is a perfect path. It is comparable.
type Faults struct {
	// Loss is the part of the packets that vanish, 0 to 1.
	Loss float64
	// Duplicate is the part of the packets that arrive twice, 0 to 1. Each copy has
	// a delay of its own.
	Duplicate float64
	// Reorder is the part of the packets that are held back for Hold, 0 to 1, so
	// that later ones overtake them.
	Reorder float64
	// Hold is for how long; 0 means 100 ms.
	Hold time.Duration
	// Delay is what every packet takes.
	Delay time.Duration
	// Jitter is added to Delay, evenly distributed from 0 to less than this.
	Jitter time.Duration
	// Blackhole swallows everything, without a sign to the sender.
	Blackhole bool
}

// defaultHold is how long a reordered packet is held back unless [Faults] says otherwise.
const defaultHold = 100 * time.Millisecond

// fate is what happens to one packet.
type fate struct {
	// arrivals has the delay of each copy that arrives: none, one or two.
	arrivals []time.Duration
	// kinds has what was done to the packet.
	kinds []Kind
}

// roll decides about one packet.
func (f Faults) roll(d dice) fate {
	if f.Blackhole {
		return fate{kinds: []Kind{PacketSwallowed}}
	}
	if f == (Faults{}) {
		return fate{arrivals: []time.Duration{0}}
	}
	if d.chance(f.Loss) {
		return fate{kinds: []Kind{PacketLost}}
	}
	var out fate
	first := f.Delay + d.duration(f.Jitter)
	if d.chance(f.Reorder) {
		hold := f.Hold
		if hold == 0 {
			hold = defaultHold
		}
		first += hold
		out.kinds = append(out.kinds, PacketReordered)
	}
	out.arrivals = append(out.arrivals, first)
	if d.chance(f.Duplicate) {
		out.arrivals = append(out.arrivals, f.Delay+d.duration(f.Jitter))
		out.kinds = append(out.kinds, PacketDuplicated)
	}
	if f.Delay+f.Jitter > 0 {
		out.kinds = append(out.kinds, PacketDelayed)
	}
	return out
}
