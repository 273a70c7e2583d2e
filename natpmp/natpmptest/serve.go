package natpmptest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"doublenat/natpmp"
)

// Serve answers the requests that arrive on conn until ctx ends, then returns
// nil when all that it started has ended. The socket stays the caller's: it is
// not closed, and its read deadline has passed when Serve returns. An error
// means that the socket cannot be read any more.
//
// A gateway serves one socket at a time.
func (g *Gateway) Serve(ctx context.Context, conn net.PacketConn) error {
	return g.run(ctx, func(ctx context.Context) error { return g.serveConn(ctx, conn) })
}

// ListenAndServe is Serve on a socket that it opens with listen, closes while the
// gateway refuses, and opens again afterwards. An error of listen ends it.
func (g *Gateway) ListenAndServe(ctx context.Context, listen func(context.Context) (net.PacketConn, error)) error {
	return g.run(ctx, func(ctx context.Context) error {
		for ctx.Err() == nil {
			refusing, turned := g.refusal()
			if refusing {
				select {
				case <-turned:
				case <-ctx.Done():
				}
				continue
			}
			if err := g.serveUntil(ctx, turned, listen); err != nil {
				return err
			}
		}
		return nil
	})
}

// refusal returns whether the gateway refuses, and a channel that is closed when
// that changes.
func (g *Gateway) refusal() (bool, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusing, g.turned
}

// serveUntil serves a socket of its own until ctx ends or turned is closed.
func (g *Gateway) serveUntil(ctx context.Context, turned <-chan struct{}, listen func(context.Context) (net.PacketConn, error)) error {
	conn, err := listen(ctx)
	if err != nil {
		return fmt.Errorf("opening the gateway's socket: %w", err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		select {
		case <-turned:
			cancel()
		case <-ctx.Done():
		}
	})
	defer watcher.Wait()
	defer cancel()
	return g.serveConn(ctx, conn)
}

// run serves while leases expire and what the profile repeats takes place.
func (g *Gateway) run(ctx context.Context, serve func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { g.expireLeases(ctx) })
	for _, r := range g.recurrences() {
		wg.Go(func() { g.recur(ctx, r) })
	}
	defer wg.Wait()
	defer cancel()
	return serve(ctx)
}

// serveConn reads requests from a socket until ctx ends.
func (g *Gateway) serveConn(ctx context.Context, conn net.PacketConn) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &session{gateway: g, conn: conn, local: localOf(conn)}
	defer s.waiting.Wait()
	defer cancel()
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("readying the gateway's socket: %w", err)
	}
	interrupt := context.AfterFunc(ctx, func() {
		// An error means that the socket is closed, which ends the read as well.
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	})
	defer interrupt()
	buf := make([]byte, natpmp.MaxPacket+1)
	for {
		n, addr, err := conn.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a request: %w", err)
		}
		from, ok := addr.(*net.UDPAddr)
		if !ok || n > natpmp.MaxPacket {
			g.mu.Lock()
			g.stats.Ignored++
			g.mu.Unlock()
			continue
		}
		s.receive(ctx, unmap(from.AddrPort()), bytes.Clone(buf[:n]))
	}
}

// localOf returns the address of a socket, or the zero value when it is not UDP.
func localOf(conn net.PacketConn) netip.AddrPort {
	a, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return unmap(a.AddrPort())
}

// session is the service on one socket.
type session struct {
	gateway *Gateway
	conn    net.PacketConn
	local   netip.AddrPort
	waiting sync.WaitGroup // packets whose delay has not passed
}

// receive takes a request through the faults of its way in.
func (s *session) receive(ctx context.Context, from netip.AddrPort, payload []byte) {
	g := s.gateway
	g.mu.Lock()
	if len(payload) > 1 {
		g.stats.Requests[natpmp.Opcode(payload[1])]++
	}
	arrivals := g.rollLocked(g.profile.Requests, from, payload)
	g.mu.Unlock()
	for _, delay := range arrivals {
		s.after(ctx, delay, func() { s.serve(ctx, from, payload) })
	}
}

// serve carries a request out and replies.
func (s *session) serve(ctx context.Context, from netip.AddrPort, payload []byte) {
	g := s.gateway
	if d := g.Profile().ServiceTime; d > 0 {
		select {
		case g.thread <- struct{}{}:
		case <-ctx.Done():
			return
		}
		defer func() { <-g.thread }()
		if !wait(ctx, d) {
			return
		}
	}
	if out := g.carryOut(from, s.local, payload); len(out) > 0 {
		s.reply(ctx, from, out)
	}
}

// reply takes what answers a request through its delay and the faults of its way
// out. It stays together, so that a lie comes before the truth.
func (s *session) reply(ctx context.Context, to netip.AddrPort, out []outgoing) {
	g := s.gateway
	g.mu.Lock()
	arrivals := g.rollLocked(g.profile.Replies, to, out[len(out)-1].payload)
	delay := g.profile.ReplyDelay
	g.mu.Unlock()
	for _, late := range arrivals {
		s.after(ctx, late+delay, func() {
			for _, o := range out {
				s.send(to, o)
			}
		})
	}
}

// send sends one packet.
func (s *session) send(to netip.AddrPort, o outgoing) {
	g := s.gateway
	conn, local := s.conn, s.local
	if o.elsewhere {
		conn, local = g.cfg.Elsewhere, localOf(g.cfg.Elsewhere)
	}
	g.mu.Lock()
	g.journal.add(Packet{At: time.Now(), Kind: PacketSent, From: local, To: to, Payload: o.payload})
	g.mu.Unlock()
	// UDP: a reply that cannot be sent is a reply that got lost.
	_, _ = conn.WriteTo(o.payload, net.UDPAddrFromAddrPort(to))
}

// after does something now or, in a goroutine, after a delay. It drops what
// would wait when too many do.
func (s *session) after(ctx context.Context, delay time.Duration, do func()) {
	if delay <= 0 {
		do()
		return
	}
	g := s.gateway
	select {
	case g.slots <- struct{}{}:
	default:
		g.mu.Lock()
		g.stats.Dropped++
		g.mu.Unlock()
		return
	}
	s.waiting.Go(func() {
		defer func() { <-g.slots }()
		if wait(ctx, delay) {
			do()
		}
	})
}

// rollLocked decides about a packet by the faults of the profile.
func (g *Gateway) rollLocked(f Faults, peer netip.AddrPort, payload []byte) []time.Duration {
	if f == (Faults{}) {
		return []time.Duration{0}
	}
	d := g.diceLocked(newHash(g.cfg.Seed).addr(peer.Addr()).bytes(payload))
	arrivals := f.roll(d).arrivals
	if len(arrivals) == 0 {
		g.stats.Dropped++
	}
	return arrivals
}

// wait waits for a time. It returns false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
