package daemon

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"doublenat/internal/nat"
)

// guard is [lock.Keeper.Guard]: it is asked immediately before each write.
type guard func(ctx context.Context) (context.Context, context.CancelFunc, error)

// refused is the core's error for a write that is not ours. It is a denial, so that nobody tries
// again: a term that is over does not come back.
func refused(hop nat.Hop, err error) error {
	return &nat.Error{Hop: hop, Reason: nat.ReasonDenied, Err: err}
}

// fencedRouter lets changes of the router pass while we are the active one.
type fencedRouter struct {
	nat.Router

	guard guard
}

var _ nat.Router = fencedRouter{}

// AddRule implements [nat.Router].
func (f fencedRouter) AddRule(ctx context.Context, r nat.Rule) (nat.Rule, error) {
	ctx, done, err := f.guard(ctx)
	if err != nil {
		return nat.Rule{}, refused(nat.HopRouter, err)
	}
	defer done()
	return f.Router.AddRule(ctx, r)
}

// UpdateRule implements [nat.Router].
func (f fencedRouter) UpdateRule(ctx context.Context, found, want nat.Rule) error {
	ctx, done, err := f.guard(ctx)
	if err != nil {
		return refused(nat.HopRouter, err)
	}
	defer done()
	return f.Router.UpdateRule(ctx, found, want)
}

// RemoveRule implements [nat.Router].
func (f fencedRouter) RemoveRule(ctx context.Context, r nat.Rule) error {
	ctx, done, err := f.guard(ctx)
	if err != nil {
		return refused(nat.HopRouter, err)
	}
	defer done()
	return f.Router.RemoveRule(ctx, r)
}

// fencedGateway lets the gateway be asked while we are the active one.
type fencedGateway struct {
	nat.Gateway

	guard guard
}

var _ nat.Gateway = fencedGateway{}

// Lease implements [nat.Gateway].
func (f fencedGateway) Lease(ctx context.Context, req nat.LeaseRequest) (nat.Lease, error) {
	ctx, done, err := f.guard(ctx)
	if err != nil {
		return nat.Lease{}, refused(nat.HopGateway, err)
	}
	defer done()
	return f.Gateway.Lease(ctx, req)
}

// Release implements [nat.Gateway].
func (f fencedGateway) Release(ctx context.Context, p nat.Protocol, innerPort uint16) error {
	ctx, done, err := f.guard(ctx)
	if err != nil {
		return refused(nat.HopGateway, err)
	}
	defer done()
	return f.Gateway.Release(ctx, p, innerPort)
}

// fencedConns are the connections over which the router and the gateway are changed. The core's two
// fences look before an operation; one consists of several packets with waits between them, and a
// process may be stopped in each of those. So each packet is looked at too, in the moment in which
// it goes to the kernel, and what the kernel has not delivered yet is thrown away at the end of a
// term: without that, what was written during a partition would reach the router minutes later.
type fencedConns struct {
	sends func() error // [lock.Keeper.Sends]

	mu   sync.Mutex
	open map[*fencedConn]struct{} // guarded by mu; nil once all were aborted
}

func newFencedConns(sends func() error) *fencedConns {
	return &fencedConns{sends: sends, open: make(map[*fencedConn]struct{})}
}

// take puts the fence around a connection.
func (f *fencedConns) take(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	c := &fencedConn{Conn: conn, fence: f}
	f.mu.Lock()
	over := f.open == nil
	if !over {
		f.open[c] = struct{}{}
	}
	f.mu.Unlock()
	if over {
		abort(conn)
		return nil, f.sends()
	}
	return c, nil
}

// takeSocket puts the fence around a UDP socket, on which the exchange sends without waiting for room.
func (f *fencedConns) takeSocket(conn net.Conn, err error) (net.Conn, error) {
	taken, err := f.take(conn, err)
	socket, isSocket := conn.(syscall.Conn)
	c, isFenced := taken.(*fencedConn)
	if err != nil || !isSocket || !isFenced {
		return taken, err
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return c, nil //nolint:nilerr // without it package net sends
	}
	return fencedSocket{c, raw}, nil
}

// fencedSocket is a socket with a fence around its bare writes too.
type fencedSocket struct {
	*fencedConn

	raw syscall.RawConn
}

// SyscallConn implements [syscall.Conn].
func (s fencedSocket) SyscallConn() (syscall.RawConn, error) {
	return fencedRaw{s.raw, s.fencedConn}, nil
}

// fencedRaw is the socket of the system.
type fencedRaw struct {
	syscall.RawConn

	conn *fencedConn
}

// Write has f send unless our term is over, which ends the connection.
func (r fencedRaw) Write(f func(fd uintptr) (done bool)) error {
	if err := r.conn.fence.sends(); err != nil {
		abort(r.conn.Conn)
		return err
	}
	return r.RawConn.Write(f)
}

// abort ends all connections, and those to come, so that nothing of what was written to them is
// delivered any more.
func (f *fencedConns) abort() {
	f.mu.Lock()
	all := f.open
	f.open = nil
	f.mu.Unlock()
	for c := range all {
		abort(c.Conn)
	}
}

// abort closes a connection without sending what is waiting in its buffer: TCP sends a reset.
func abort(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok { // [net.TCPConn]
		_ = tcp.SetLinger(0) // if it fails the connection is dead already
	}
	_ = conn.Close() // there is nobody to tell
}

// fencedConn is one of [fencedConns].
type fencedConn struct {
	net.Conn

	fence *fencedConns
}

// Write sends bytes unless our term is over, which ends the connection.
func (c *fencedConn) Write(b []byte) (int, error) {
	if err := c.fence.sends(); err != nil {
		abort(c.Conn)
		return 0, err
	}
	return c.Conn.Write(b)
}

// Close aborts the connection. A router that does not answer is the usual reason for closing it, and
// then the kernel has bytes that it would go on sending for minutes.
func (c *fencedConn) Close() error {
	c.fence.mu.Lock()
	delete(c.fence.open, c)
	c.fence.mu.Unlock()
	abort(c.Conn)
	return nil
}

// fence puts a fence around what is used to change the router and the gateway. The router's
// connection also gives up by itself what it cannot deliver in time.
func (n Network) fence(f *fencedConns, patience tcpPatience) Network {
	dialRouter, dialGateway, dialDevice := n.DialRouter, n.DialGateway, n.DialDevice
	n.DialRouter = func(ctx context.Context) (net.Conn, error) {
		if f.sends() != nil {
			<-ctx.Done() // The daemon ends at this moment: that is no trouble of the router's to be logged.
			return nil, context.Cause(ctx)
		}
		conn, err := dialRouter(ctx)
		if err == nil {
			patience.limit(conn)
		}
		return f.take(conn, err)
	}
	n.DialGateway = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		return f.takeSocket(dialGateway(ctx, to))
	}
	n.DialDevice = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		conn, err := dialDevice(ctx, to)
		if err == nil {
			patience.limit(conn)
		}
		return f.take(conn, err)
	}
	return n
}
