package lab

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// udpPort is an open UDP port of a relay.
type udpPort struct {
	relay *relay
	port  port
	conn  *net.UDPConn

	mu    sync.Mutex // guards what follows
	flows map[netip.AddrPort]net.Conn
}

// listenUDP opens a UDP port and returns what closes it and its flows.
func (r *relay) listenUDP(ctx context.Context, p port) (func(), error) {
	conn, err := listenUDP(ctx, netip.AddrPortFrom(r.addr, p.number))
	if err != nil {
		return nil, err
	}
	u := &udpPort{relay: r, port: p, conn: conn, flows: make(map[netip.AddrPort]net.Conn)}
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(ctx, u.close)
	r.working.Go(func() { u.read(ctx) })
	// The port has to refuse when this returns: a lease is gone before the
	// gateway's reply, and not soon after.
	return func() {
		cancel()
		u.close()
	}, nil
}

// close closes the port and all its flows. It may be called more than once.
func (u *udpPort) close() {
	_ = u.conn.Close() // nothing can be lost with a datagram socket
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, flow := range u.flows {
		_ = flow.Close()
	}
}

// read passes on what comes from outside, each sender in a flow of its own.
func (u *udpPort) read(ctx context.Context) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := u.conn.ReadFromUDPAddrPort(buf)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			continue // an ICMP error about a reply to somebody who has gone
		}
		flow := u.flow(ctx, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), int64(n))
		if flow != nil {
			// UDP: what cannot be sent is lost.
			_, _ = flow.Write(buf[:n])
		}
	}
}

// flow returns the sender's flow, a new one if there is none yet, or nil when
// the packet has nowhere to go.
func (u *udpPort) flow(ctx context.Context, from netip.AddrPort, size int64) net.Conn {
	u.mu.Lock()
	flow, count := u.flows[from], len(u.flows)
	u.mu.Unlock()
	if flow != nil || count >= maxFlows {
		return flow
	}
	to, ok := u.relay.route(u.port, from)
	if !ok {
		return nil
	}
	flow, err := u.relay.dial(ctx, u.port, from, to.to)
	if err != nil {
		return nil
	}
	u.mu.Lock()
	u.flows[from] = flow
	u.mu.Unlock()
	u.relay.working.Go(func() {
		u.back(flow, crossing{at: u.relay.name, from: from, on: u.port, hop: to, up: size})
		u.mu.Lock()
		delete(u.flows, from)
		u.mu.Unlock()
		_ = flow.Close()
	})
	if ctx.Err() != nil {
		_ = flow.Close() // close may have looked before this flow was there
	}
	return flow
}

// back returns the replies of one flow to the sender until nothing has come for
// a while.
func (u *udpPort) back(flow net.Conn, c crossing) {
	buf := make([]byte, 1<<16)
	for {
		if flow.SetReadDeadline(time.Now().Add(flowIdle)) != nil {
			return
		}
		n, err := flow.Read(buf)
		if err != nil {
			return // idle, refused by the next hop, or closed
		}
		if c.down == 0 {
			c.down = int64(n)
			u.relay.report(c)
		}
		// UDP: what cannot be sent is lost.
		_, _ = u.conn.WriteToUDPAddrPort(buf[:n], c.from)
	}
}
