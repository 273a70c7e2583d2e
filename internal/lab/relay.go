package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"doublenat/internal/nat"
)

const (
	// maxFlows bounds the TCP connections of a relay, and the UDP flows of each of its ports.
	maxFlows = 64
	// dialTimeout bounds the way to the next hop, which is on this machine.
	dialTimeout = 5 * time.Second
	// flowIdle ends a UDP flow over which nothing went.
	flowIdle = 30 * time.Second
)

// port is a port of one protocol.
type port struct {
	protocol nat.Protocol
	number   uint16
}

// String returns the port as "tcp 8080".
func (p port) String() string { return fmt.Sprintf("%s %d", p.protocol, p.number) }

// hop is where a NAT sends a new connection, and by what.
type hop struct {
	// to is the next address.
	to netip.AddrPort
	// by names the lease or rule.
	by string
}

// crossing is a TCP connection or UDP flow that went through a relay.
type crossing struct {
	// at is the relay's name.
	at string
	// from is who connected.
	from netip.AddrPort
	// on is the port to which it connected.
	on port
	// hop is where it was sent.
	hop hop
	// up and down count the bytes towards the client and back.
	up, down int64
}

// relay is what a NAT does to packets: it listens on ports of one address and
// passes on what comes, to wherever route says at that moment. As behind a real
// dst-nat, the next hop sees the sender's address where the system lets it.
type relay struct {
	// name is for messages.
	name string
	// addr is where ports are opened.
	addr netip.Addr
	// keepSource is set where senders have addresses that can be bound here.
	keepSource bool
	// route decides about a new connection from somebody; false means that nothing is there.
	route func(port, netip.AddrPort) (hop, bool)
	// report is told of each crossing when it has ended (TCP) or when the first
	// reply has passed (UDP). It must not block.
	report func(crossing)

	// turn has one slot, for who opens and closes ports.
	turn chan struct{}
	// flows has a slot for each TCP connection under way.
	flows chan struct{}
	// working counts the goroutines of all ports and connections.
	working sync.WaitGroup

	mu     sync.Mutex // guards what follows
	open   map[port]func()
	closed bool
}

// newRelay returns a relay without open ports.
func newRelay(name string, addr netip.Addr, keepSource bool, route func(port, netip.AddrPort) (hop, bool), report func(crossing)) *relay {
	return &relay{
		name:       name,
		addr:       addr,
		keepSource: keepSource,
		route:      route,
		report:     report,
		turn:       make(chan struct{}, 1),
		flows:      make(chan struct{}, maxFlows),
		open:       make(map[port]func()),
	}
}

// sync opens the ports that are wanted and closes all others. Connections that
// stand go on, as they do through a real NAT. Ports that cannot be opened are in
// the error; the others are open nevertheless.
func (r *relay) sync(ctx context.Context, wanted []port) error {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	keep := make(map[port]bool, len(wanted))
	var errs []error
	for _, p := range wanted {
		keep[p] = true
		if err := r.openPort(ctx, p); err != nil {
			errs = append(errs, err)
		}
	}
	for _, closePort := range r.takePorts(func(p port) bool { return !keep[p] }) {
		closePort()
	}
	return errors.Join(errs...)
}

// takePorts takes the ports that the function picks off the list of open ones
// and returns what closes them.
func (r *relay) takePorts(pick func(port) bool) []func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var taken []func()
	for p, closePort := range r.open {
		if pick(p) {
			taken = append(taken, closePort)
			delete(r.open, p)
		}
	}
	return taken
}

// close closes all ports and connections, and returns when no goroutine is left.
// The relay cannot be used any more.
func (r *relay) close() {
	r.turn <- struct{}{}
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	for _, closePort := range r.takePorts(func(port) bool { return true }) {
		closePort()
	}
	<-r.turn
	r.working.Wait()
}

// isOpen says whether the port is open, or can be no more.
func (r *relay) isOpen(p port) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed || r.open[p] != nil
}

// openPort listens on the port, if it does not already. The caller has the turn.
func (r *relay) openPort(ctx context.Context, p port) error {
	if r.isOpen(p) {
		return nil
	}
	listen := r.listenTCP
	if p.protocol == nat.UDP {
		listen = r.listenUDP
	}
	closePort, err := listen(ctx, p)
	if err != nil {
		return fmt.Errorf("opening %s at the %s: %w", p, r.name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[p] = closePort
	return nil
}

// dial connects to the next hop, in the sender's name where that is possible.
func (r *relay) dial(ctx context.Context, p port, from, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	source := netip.Addr{}
	if r.keepSource {
		source = from.Addr()
	}
	return dialFrom(ctx, source, to, p.protocol)
}

// dialFrom connects from an address, or from any if it is the zero value.
func dialFrom(ctx context.Context, source netip.Addr, to netip.AddrPort, protocol nat.Protocol) (net.Conn, error) {
	var dialer net.Dialer
	switch {
	case !source.IsValid():
	case protocol == nat.UDP:
		dialer.LocalAddr = &net.UDPAddr{IP: source.AsSlice()}
	default:
		dialer.LocalAddr = &net.TCPAddr{IP: source.AsSlice()}
	}
	return dialer.DialContext(ctx, protocol.String()+"4", to.String())
}

// addrPortOf returns the address of one end of a socket, without the IPv6 form
// that some systems give to an IPv4 address.
func addrPortOf(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
