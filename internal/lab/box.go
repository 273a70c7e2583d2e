package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"doublenat/internal/nat"
)

// box is the gateway beyond the router, whatever it speaks.
type box interface {
	// open opens its sockets, and close closes those that are open.
	open(ctx context.Context) error
	close() error
	// serve answers until ctx ends, and then returns nil.
	serve(ctx context.Context) error
	// leases returns what it passes on now.
	leases() []lease
	// lookup returns to where it passes on what comes at a public port.
	lookup(p port) (lease, bool)
	// questions returns how many it was asked so far.
	questions() uint64
	// said returns what was said to it and by it since a moment.
	said(since time.Time) []event
	// environ are the variables by which doublenat knows it.
	environ() map[string]string
	// like says for people where it is and how it behaves.
	like() string
	// hint is what to try with it, with a name; "" if there is nothing of its own.
	hint() (name, text string)
}

// lease is a public port that a gateway passes on.
type lease struct {
	external port
	// to is where: at the router, in the tunnel.
	to netip.AddrPort
	// fixed is one that nobody asked for and nobody ends.
	fixed bool
}

// String returns the lease as "tcp 40123 → 10.2.0.2:24978".
func (l lease) String() string { return fmt.Sprintf("%s → %v", l.external, l.to) }

// inner is the router's port.
func (l lease) inner() port { return port{l.external.protocol, l.to.Port()} }

// tunneled returns an address of the router as the gateway knows it as one on this machine.
func (p Places) tunneled(protocol nat.Protocol, external uint16, to netip.AddrPort) lease {
	if to.Addr() == p.self() {
		to = netip.AddrPortFrom(p.Tunnel, to.Port())
	}
	return lease{external: port{protocol, external}, to: to}
}
