package igdtest

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// Listener is a net.Listener in memory, for testing/synctest.
type Listener struct {
	at     netip.AddrPort
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

var _ net.Listener = (*Listener)(nil)

// Listen returns a listener that is said to be at an address.
func Listen(at netip.AddrPort) *Listener {
	return &Listener{at: at, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Dial connects from an address. A closed listener refuses.
func (l *Listener) Dial(ctx context.Context, from netip.AddrPort) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- &conn{Conn: far, local: l.at, remote: from}:
		return &conn{Conn: near, local: from, remote: l.at}, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(l.at), Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept returns the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends the listener. It returns nil, also when called again.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns where the listener is said to be.
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }

// conn is one end of a connection in memory, with addresses.
type conn struct {
	net.Conn
	local, remote netip.AddrPort
}

// LocalAddr returns the address of this end.
func (c *conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// RemoteAddr returns the address of the other end.
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }
