package lab

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// listenTCP opens a TCP port and returns what closes it. Connections that stand
// survive it until the relay is closed.
func (r *relay) listenTCP(ctx context.Context, p port) (func(), error) {
	var config net.ListenConfig
	ln, err := config.Listen(ctx, "tcp4", addrPort(r.addr, p.number))
	if err != nil {
		return nil, err
	}
	r.working.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return // the port was closed
			}
			select {
			case r.flows <- struct{}{}:
				r.working.Go(func() {
					defer func() { <-r.flows }()
					r.pass(ctx, p, conn)
				})
			default:
				_ = conn.Close() // more than a lab is for
			}
		}
	})
	return func() { _ = ln.Close() }, nil
}

// pass carries one TCP connection to the next hop and back until both sides have
// ended or ctx has.
func (r *relay) pass(ctx context.Context, p port, conn net.Conn) {
	defer conn.Close()
	c := crossing{at: r.name, from: addrPortOf(conn.RemoteAddr()), on: p}
	var ok bool
	if c.hop, ok = r.route(p, c.from); !ok {
		reset(conn)
		return
	}
	next, err := r.dial(ctx, p, c.from, c.hop.to)
	if err != nil {
		reset(conn)
		return
	}
	defer next.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = conn.Close() // an end is all that is wanted
		_ = next.Close()
	})
	defer stop()

	var up, down atomic.Int64
	var directions sync.WaitGroup
	directions.Go(func() { up.Store(stream(next, conn)) })
	directions.Go(func() { down.Store(stream(conn, next)) })
	directions.Wait()
	c.up, c.down = up.Load(), down.Load()
	r.report(c)
}

// stream copies until the source has ended, tells the destination so, and
// returns the number of bytes.
func stream(to, from net.Conn) int64 {
	n, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		_ = to.Close() // one side broke: the other has to hear of it
	}
	return n
}

// reset ends a connection as a port at which nothing listens would.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // else it looks like a server that has nothing to say
	}
	_ = conn.Close()
}
