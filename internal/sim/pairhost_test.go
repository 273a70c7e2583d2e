package sim_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/internal/lock"
	"doublenat/natpmp"
)

// partner is one of a pair: a host on which a doublenat runs.
type partner struct {
	c     *couple
	host  netip.Addr
	place *lab.Bench
	line  *line
	runs  bool
	lives atomic.Int32 // of processes, so that one that was killed connects no more
}

func newPartner(c *couple, host netip.Addr) *partner {
	return &partner{c: c, host: host, place: c.bench.Beside(netip.AddrPortFrom(host, 5351)), line: newLine(c, host)}
}

// start runs the doublenat unless it runs.
func (p *partner) start() {
	if p.runs {
		return
	}
	p.runs = true
	p.lives.Add(1)
	err := p.place.Serve(map[string]string{"LOCK_NAME": p.host.String()}, func(o *daemon.Options) {
		o.Random = p.c.dice
		o.Network.DialRouter = p.dial(p.lives.Load())
		gateway := o.Network.DialGateway
		o.Network.DialGateway = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			conn, err := gateway(ctx, to)
			return lineUDP{conn, p.line}, err
		}
	})
	if err != nil {
		p.c.fail("starting %s: %v", p.host, err)
	}
}

// kill ends the doublenat at once; its kernel delivers what it has.
func (p *partner) kill() {
	if p.runs {
		p.runs = false
		p.lives.Add(1)
		p.line.hangUp()
		p.place.Kill()
	}
}

// stop ends the doublenat in order, which may not take longer than it may.
func (p *partner) stop() {
	if !p.runs {
		return
	}
	p.runs = false
	began := time.Now()
	err := p.place.Stop()
	p.c.note("%s stopped after %v: %v", p.host, time.Since(began), err)
	if took := time.Since(began); took > shutdownLimit {
		p.c.fail("(f) %s took %v to stop", p.host, took)
	}
}

// answers says whether the doublenat answers clients.
func (p *partner) answers() bool {
	return p.runs && p.place.Ask(netip.MustParseAddr("192.168.88.9"), natpmp.Request{Opcode: natpmp.OpExternalAddress}.Append(nil), time.Second) != nil
}

// relay is the address at which clients ask: the router's redirect to whoever is active.
type relay struct {
	c    *couple
	conn net.PacketConn
	done chan struct{}

	mu   sync.Mutex
	to   netip.Addr                  // guarded by mu
	ways map[netip.AddrPort]net.Conn // guarded by mu; of each client, from its own address
	back sync.WaitGroup
}

func newRelay(c *couple) *relay {
	conn, err := c.bench.Net.Listen(listenAddr)
	if err != nil {
		c.t.Fatal(err)
	}
	r := &relay{c: c, conn: conn, done: make(chan struct{}), ways: make(map[netip.AddrPort]net.Conn)}
	go r.forward()
	return r
}

// lead points the redirect to another host.
func (r *relay) lead(to netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.to == to {
		return
	}
	r.to = to
	for client, way := range r.ways {
		_ = way.Close()
		delete(r.ways, client)
	}
}

// forward carries requests to the active one, and its replies back.
func (r *relay) forward() {
	defer close(r.done)
	b := make([]byte, 2048)
	for {
		n, from, err := r.conn.ReadFrom(b)
		if err != nil {
			return
		}
		if udp, ok := from.(*net.UDPAddr); ok {
			if way := r.way(udp.AddrPort()); way != nil {
				_, _ = way.Write(b[:n])
			}
		}
	}
}

// way returns the connection of a client to the active one, nil if there is none.
func (r *relay) way(client netip.AddrPort) net.Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if way := r.ways[client]; way != nil || !r.to.IsValid() {
		return way
	}
	way, err := r.c.bench.Net.Dial(netip.AddrPortFrom(client.Addr(), 0), netip.AddrPortFrom(r.to, 5351))
	if err != nil {
		return nil
	}
	r.ways[client] = way
	r.back.Go(func() {
		b := make([]byte, 2048)
		for {
			n, err := way.Read(b)
			switch {
			case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
				return
			case err == nil:
				_, _ = r.conn.WriteTo(b[:n], net.UDPAddrFromAddrPort(client))
			}
		}
	})
	return way
}

func (r *relay) close() {
	r.lead(netip.Addr{})
	_ = r.conn.Close()
	<-r.done
	r.back.Wait()
}

var errCut = errors.New("the line is cut")

// line is what connects a host with router and gateway.
type line struct {
	c    *couple
	host netip.Addr

	mu     sync.Mutex
	healed chan struct{}          // guarded by mu; closed while the line is whole
	conns  map[*lineConn]struct{} // guarded by mu
}

func newLine(c *couple, host netip.Addr) *line {
	l := &line{c: c, host: host, healed: make(chan struct{}), conns: make(map[*lineConn]struct{})}
	close(l.healed)
	return l
}

// whole returns what is closed while the line is whole, and whether it is.
func (l *line) whole() (<-chan struct{}, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.healed:
		return l.healed, true
	default:
		return l.healed, false
	}
}

// part cuts the line: what is written to a connection waits in the kernel.
func (l *line) part() {
	if _, whole := l.whole(); whole {
		l.mu.Lock()
		l.healed = make(chan struct{})
		l.mu.Unlock()
	}
}

// heal mends the line: what waits is delivered, unless its kernel has given it up.
func (l *line) heal() {
	if _, whole := l.whole(); whole {
		return
	}
	l.mu.Lock()
	close(l.healed)
	var all []*lineConn
	for c := range l.conns {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		c.deliver()
	}
}

// hangUp closes all connections, as the end of a process does.
func (l *line) hangUp() {
	l.mu.Lock()
	var all []*lineConn
	for c := range l.conns {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// dial returns how one process on the host connects to the router.
func (p *partner) dial(life int32) func(context.Context) (net.Conn, error) {
	l := p.line
	return func(ctx context.Context) (net.Conn, error) {
		if _, whole := l.whole(); !whole || p.lives.Load() != life {
			return nil, errCut
		}
		conn, err := l.c.bench.Router.DialFrom(l.host)(ctx)
		if err != nil {
			return nil, err
		}
		c := &lineConn{Conn: conn, line: l}
		l.mu.Lock()
		l.conns[c] = struct{}{}
		l.mu.Unlock()
		return c, nil
	}
}

// lineConn is a TCP connection to the router with the kernel's buffer.
type lineConn struct {
	net.Conn

	line *line

	mu      sync.Mutex
	waiting []byte    // guarded by mu; what was written while the line was cut
	since   time.Time // guarded by mu; since when it waits
	closed  bool      // guarded by mu
}

// Write sends bytes, or lets them wait for the line.
func (c *lineConn) Write(b []byte) (int, error) {
	if _, whole := c.line.whole(); whole {
		return c.Conn.Write(b)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	if len(c.waiting) == 0 {
		c.since = time.Now()
	}
	c.waiting = append(c.waiting, b...)
	return len(b), nil
}

// Read returns what arrives when the line is whole.
func (c *lineConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if healed, whole := c.line.whole(); err == nil && !whole {
		<-healed
	}
	return n, err
}

// Close closes the connection. A close here is that of a daemon that aborts it or gives it up;
// what its kernel might still deliver is the second level's.
func (c *lineConn) Close() error {
	c.mu.Lock()
	c.closed, c.waiting = true, nil
	c.mu.Unlock()
	c.line.mu.Lock()
	delete(c.line.conns, c)
	c.line.mu.Unlock()
	return c.Conn.Close()
}

// deliver sends what waits, unless the kernel has given up (TCP_USER_TIMEOUT).
func (c *lineConn) deliver() {
	c.mu.Lock()
	waiting, late := c.waiting, time.Since(c.since) > lock.Patience(c.line.c.lease)
	c.waiting = nil
	c.mu.Unlock()
	switch {
	case len(waiting) == 0:
	case late:
		_ = c.Conn.Close()
	default:
		_, _ = c.Conn.Write(waiting)
	}
}

// lineUDP is a socket towards the gateway.
type lineUDP struct {
	net.Conn

	line *line
}

// Write sends a datagram, which a line that is cut loses.
func (c lineUDP) Write(b []byte) (int, error) {
	if _, whole := c.line.whole(); !whole {
		return len(b), nil
	}
	return c.Conn.Write(b)
}
