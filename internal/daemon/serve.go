package daemon

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
)

// Serve makes a Daemon and runs it until ctx ends. Of several that share a lock it makes another one
// to stand by each time that one lost the lock.
func Serve(ctx context.Context, opts Options) error {
	if shared(opts.Config) {
		kept := &keptSocket{listen: opts.Network.withDefaults().Listen}
		defer kept.forget()
		opts.Network.Listen = kept.open
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
