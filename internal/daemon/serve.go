package daemon

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"doublenat/internal/config"
)

// Serve makes a Daemon and runs it until ctx ends. Of several that share a lock it makes another one
// to stand by each time that one lost the lock.
func Serve(ctx context.Context, opts Options) error {
	if shared(opts.Config) {
		network := opts.Network.withDefaults()
		kept, page := &keptSocket{listen: network.Listen}, &keptListener{listen: network.ListenHTTP}
		defer kept.forget()
		defer page.forget()
		opts.Network.Listen, opts.Network.ListenHTTP = kept.open, page.open
	}
	for {
		d, err := New(opts)
		if err != nil {
			return err
		}
		err = d.Run(ctx)
		switch {
		case !errors.Is(err, ErrTermOver):
			return err
		case ctx.Err() != nil:
			return nil // Whoever wanted the stop has what he wanted: nothing is written any more.
		}
		opts.terms++
	}
}

// keptSocket opens a socket that is open as well between two daemons of a process: to many programs a
// closed port is a failure for hours. Packets wait in it meanwhile.
type keptSocket struct {
	listen func(ctx context.Context, at netip.AddrPort) (net.PacketConn, error)
	socket *os.File // nil where it cannot be kept
}

// open opens the socket, or returns the one that was kept.
func (k *keptSocket) open(ctx context.Context, at netip.AddrPort) (net.PacketConn, error) {
	if k.socket != nil {
		if conn, err := net.FilePacketConn(k.socket); err == nil {
			return conn, nil
		}
		k.forget()
	}
	conn, err := k.listen(ctx, at)
	if err != nil {
		return nil, err
	}
	if udp, ok := conn.(*net.UDPConn); ok {
		k.socket, _ = udp.File() // Without it there is a moment in which the port is closed.
	}
	return conn, nil
}

// forget closes the socket that was kept.
func (k *keptSocket) forget() {
	if k.socket != nil {
		_ = k.socket.Close() // nothing was written to it
		k.socket = nil
	}
}

// deadlined is a listener of the system: one of TCP or a unix socket.
type deadlined interface {
	net.Listener
	SetDeadline(t time.Time) error
}

// keptListener opens the page's socket, which is open as well between two daemons of a process. A cable
// that was pulled costs the lock, and on some hosts the address too: what cannot be opened again then
// must not end the process.
type keptListener struct {
	listen func(ctx context.Context, at config.ListenAddress) (net.Listener, error)
	socket deadlined // nil where it cannot be kept
}

// open opens the socket, or returns the one that was kept.
func (k *keptListener) open(ctx context.Context, at config.ListenAddress) (net.Listener, error) {
	if k.socket != nil {
		if k.socket.SetDeadline(time.Time{}) == nil {
			return lentListener{k.socket}, nil
		}
		k.forget()
	}
	l, err := k.listen(ctx, at)
	socket, ok := l.(deadlined)
	if err != nil || !ok {
		return l, err
	}
	k.socket = socket
	return lentListener{socket}, nil
}

// forget closes the socket that was kept.
func (k *keptListener) forget() {
	if k.socket != nil {
		_ = k.socket.Close() // nobody listens any more
		k.socket = nil
	}
}

// lentListener is the kept socket for one daemon. Whoever connects after its end waits for the next.
type lentListener struct{ deadlined }

// Close ends Accept, and leaves the socket open.
func (l lentListener) Close() error { return l.SetDeadline(time.Unix(1, 0)) }
