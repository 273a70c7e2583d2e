package natpmptest

import (
	"bytes"
	"cmp"
	"container/heap"
	"net"
	"net/netip"
	"slices"
	"time"
)

// flight is a packet on its way.
type flight struct {
	packet Packet
	due    time.Time
	order  hash   // the packet's own number, see orderLocked
	rank   hash   // place among the arrivals of one instant
	serial uint64 // place among those of one rank
	// sender hears when nobody is there; nil for an injected packet.
	sender *socket
}

// flights is a heap, the next arrival first.
type flights []flight

var _ heap.Interface = (*flights)(nil)

// Len is part of [heap.Interface].
func (f *flights) Len() int { return len(*f) }

// Less is part of [heap.Interface].
func (f *flights) Less(i, j int) bool {
	a, b := (*f)[i], (*f)[j]
	return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.rank, b.rank), cmp.Compare(a.serial, b.serial)) < 0
}

// Swap is part of [heap.Interface].
func (f *flights) Swap(i, j int) { (*f)[i], (*f)[j] = (*f)[j], (*f)[i] }

// Push is part of [heap.Interface].
func (f *flights) Push(x any) { *f = append(*f, x.(flight)) } //nolint:forcetypeassert,errcheck // only flights are pushed

// Pop is part of [heap.Interface].
func (f *flights) Pop() any {
	last := len(*f) - 1
	x := (*f)[last]
	(*f)[last] = flight{}
	*f = (*f)[:last]
	return x
}

// send puts a datagram of a socket on its way.
func (n *Network) send(s *socket, from, to netip.AddrPort, payload []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return net.ErrClosed
	}
	p := Packet{At: time.Now(), From: from, To: unmap(to), Payload: bytes.Clone(payload)}
	order := n.orderLocked(p)
	n.noteLocked(PacketSent, p, order)
	out := n.faultsLocked(p).roll(order.dice())
	for _, k := range out.kinds {
		n.noteLocked(k, p, order)
	}
	for _, delay := range out.arrivals {
		n.launchLocked(flight{packet: p, order: order, sender: s}, delay+n.cfg.Latency)
	}
	return nil
}

// orderLocked returns the number that decides the packet's fate and its place
// among others of the same instant. Ports are left out: which socket of a host
// got which ephemeral port may depend on the scheduler.
func (n *Network) orderLocked(p Packet) hash {
	at := p.At.Sub(n.start)
	h := newHash(n.cfg.Seed).addr(p.From.Addr()).addr(p.To.Addr()).bytes(p.Payload)
	return h.word(uint64(at)).word(n.tally.count(at, h)) //nolint:gosec // any bits will do
}

// faultsLocked returns the faults of the path that the packet takes.
func (n *Network) faultsLocked(p Packet) Faults {
	for _, pf := range slices.Backward(n.paths) {
		if pf.path.has(p.From.Addr(), p.To.Addr()) {
			return pf.faults
		}
	}
	return Faults{}
}

// launchLocked lets a packet arrive after a delay.
func (n *Network) launchLocked(f flight, delay time.Duration) {
	if delay <= 0 {
		n.arriveLocked(f)
		return
	}
	if len(n.flights) >= maxFlights {
		n.noteLocked(PacketOverflowed, f.packet, f.order)
		return
	}
	f.due = f.packet.At.Add(delay)
	if n.cfg.Latency > 0 {
		f.rank = f.order
	}
	f.serial = n.counts[PacketSent] + n.counts[PacketInjected]
	heap.Push(&n.flights, f)
	n.armLocked()
}

// armLocked sets the timer to the next arrival.
func (n *Network) armLocked() {
	if len(n.flights) == 0 {
		return
	}
	left := time.Until(n.flights[0].due)
	if n.timer == nil {
		n.timer = time.AfterFunc(left, n.land)
		return
	}
	n.timer.Reset(left)
}

// land lets everything arrive that is due. A timer that fires late or twice
// finds nothing to do.
func (n *Network) land() {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	for len(n.flights) > 0 && !n.flights[0].due.After(now) {
		f := heap.Pop(&n.flights).(flight) //nolint:forcetypeassert,errcheck // the heap holds flights
		n.arriveLocked(f)
	}
	n.armLocked()
}

// arriveLocked hands a packet to the sockets that are there for it.
func (n *Network) arriveLocked(f flight) {
	p := f.packet
	p.At = time.Now()
	receivers := n.receiversLocked(p)
	for _, s := range receivers {
		if s.push(p) {
			n.noteLocked(PacketDelivered, p, f.order)
		} else {
			n.noteLocked(PacketOverflowed, p, f.order)
		}
	}
	if len(receivers) > 0 || p.To.Addr().IsMulticast() {
		return
	}
	n.noteLocked(PacketRefused, p, f.order)
	back := Packet{From: p.To, To: p.From}
	if f.sender != nil && f.sender.remote == p.To && !n.faultsLocked(back).Blackhole {
		f.sender.refuse()
	}
}

// receiversLocked returns the sockets that get a packet, as a kernel looks them
// up: the connected one, the one of this address, the one of all addresses.
func (n *Network) receiversLocked(p Packet) []*socket {
	at := n.sockets[p.To]
	if p.To.Addr().IsMulticast() {
		any4 := netip.AddrPortFrom(netip.IPv4Unspecified(), p.To.Port())
		return append(slices.Clone(at), n.sockets[any4]...)
	}
	for _, s := range at {
		if s.remote == p.From {
			return []*socket{s}
		}
	}
	for _, s := range at {
		if !s.remote.IsValid() {
			return []*socket{s}
		}
	}
	if len(at) > 0 {
		return nil // connected to somebody else
	}
	for _, s := range n.sockets[netip.AddrPortFrom(netip.IPv4Unspecified(), p.To.Port())] {
		if !s.remote.IsValid() || s.remote == p.From {
			return []*socket{s}
		}
	}
	return nil
}

// noteLocked counts and captures what happened to a packet.
func (n *Network) noteLocked(k Kind, p Packet, order hash) {
	n.counts[k]++
	p.Kind = k
	n.capture.add(captured{Packet: p, order: order})
}
