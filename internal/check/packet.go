package check

import (
	"context"

	"doublenat/internal/walk"
	"doublenat/routeros"
)

// fate says whether a rule takes a packet; the fates are those of package walk.
type fate = walk.Fate

const (
	never   = walk.Never
	perhaps = walk.Perhaps
	partly  = walk.Partly
	always  = walk.Always
)

// span is an inclusive range of addresses.
type span = walk.Span

// packet is a kind of packets that a single rule is held against. A field that is
// empty is not known, or differs from packet to packet.
type packet struct {
	// in and out are interfaces.
	in, out string
	// protocol is "tcp" or "udp"; empty stands for both of them.
	protocol string
	// port is the destination port; src and dst are the addresses, the zero span if
	// nothing is known of them.
	port     uint16
	src, dst span
	// state and natState are those of the connection, "new" and "dstnat" for example.
	state, natState string
	// mark is the connection's mark, "no-mark" for none.
	mark string
	// local says that the packet is for the router itself, before any NAT, and remote
	// that it is for a host somewhere else.
	local, remote bool
}

// meets says whether a rule of the firewall takes the packet.
func (v *visit) meets(ctx context.Context, row routeros.Row, p packet) (fate, error) {
	t, err := v.router(ctx)
	if err != nil {
		return never, err
	}
	return t.Match(row, walk.Packet{
		In: p.in, Out: p.out, Protocol: p.protocol, DstPort: p.port, Src: p.src, Dst: p.dst, State: p.state, NATState: p.natState,
		Mark: p.mark, Local: p.local, Remote: p.remote,
	}), nil
}

// matchList looks an interface up in an interface list.
func (v *visit) matchList(ctx context.Context, list, name string) (fate, error) {
	t, err := v.router(ctx)
	if err != nil {
		return never, err
	}
	return t.Match(routeros.Row{{Name: "in-interface-list", Value: list}}, walk.Packet{In: name}), nil
}
