package daemon_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/internal/lock"
	"doublenat/internal/lock/kube"
	"doublenat/internal/lock/kube/kubetest"
	"doublenat/internal/lock/locktest"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

const pairLease = 15 * time.Second

var errLineCut = errors.New("the line is cut")

// line is what connects one doublenat of a pair with the router, the gateway and a lock in memory.
type line struct {
	router *routerostest.Router
	host   netip.Addr
	// clustered is set if the line leads to the router and the gateway alone: the API server of the
	// cluster is reached by another one.
	clustered bool

	mu     sync.Mutex
	cut    bool                   // guarded by mu
	healed chan struct{}          // guarded by mu; closed while the line is whole
	conns  map[*lineConn]struct{} // guarded by mu
	stores []*locktest.Store      // guarded by mu
}

func newLine(router *routerostest.Router, host netip.Addr) *line {
	l := &line{router: router, host: host, healed: make(chan struct{}), conns: make(map[*lineConn]struct{})}
	close(l.healed)
	return l
}

// whole returns what is closed while the line is whole.
func (l *line) whole() (chan struct{}, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.healed, !l.cut
}

func (l *line) dial(ctx context.Context) (net.Conn, error) {
	if _, whole := l.whole(); !whole {
		return nil, errLineCut
	}
	conn, err := l.router.DialFrom(l.host)(ctx)
	if err != nil {
		return nil, err
	}
	c := &lineConn{Conn: conn, line: l}
	l.mu.Lock()
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	return c, nil
}

// store returns a way to a lock in memory that is cut with the line.
func (l *line) store(server *locktest.Server, name string) *locktest.Store {
	s := server.Store(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		s.Away(errLineCut)
	}
	l.stores = append(l.stores, s)
	return s
}

// lease returns a way to a Lease of Kubernetes that is cut with the line.
func (l *line) lease(server *kubetest.Server, name string) *kube.Store {
	return kube.New(kube.Config{
		Server: "https://kubernetes.invalid", Namespace: "doublenat", Name: "doublenat-default", Holder: name,
		Token: func() (string, error) { return kubetest.Token, nil }, Transport: lineTransport{server, l},
	})
}

// lineTransport leads to an API server.
type lineTransport struct {
	server *kubetest.Server
	line   *line
}

func (t lineTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, whole := t.line.whole(); !whole && !t.line.clustered {
		return nil, errLineCut
	}
	return t.server.RoundTrip(r)
}

// part cuts the line. What is written to a connection waits in the kernel.
func (l *line) part() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.healed = true, make(chan struct{})
	for _, s := range l.stores {
		s.Away(errLineCut)
	}
}

// heal mends the line. What waited in the kernel is delivered.
func (l *line) heal() (delivered int) {
	l.mu.Lock()
	l.cut = false
	close(l.healed)
	for _, s := range l.stores {
		s.Away(nil)
	}
	conns := l.conns
	l.conns = make(map[*lineConn]struct{})
	l.mu.Unlock()
	for c := range conns {
		delivered += c.deliver()
	}
	return delivered
}

// die throws away what waits in the kernel, as the end of the host does.
func (l *line) die() {
	l.part()
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.mu.Lock()
		c.waiting = nil
		c.mu.Unlock()
		_ = c.Conn.Close()
	}
}

// lineConn is a TCP connection to the router with the kernel's buffer.
type lineConn struct {
	net.Conn

	line *line

	mu      sync.Mutex
	waiting []byte // guarded by mu; what was written while the line was cut
	reset   bool   // guarded by mu; closing throws it away
	closed  bool   // guarded by mu
}

func (c *lineConn) Write(b []byte) (int, error) {
	if _, whole := c.line.whole(); whole {
		return c.Conn.Write(b)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, b...)
	return len(b), nil
}

func (c *lineConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if healed, _ := c.line.whole(); err == nil {
		<-healed
	}
	return n, err
}

func (c *lineConn) SetLinger(sec int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset = sec == 0
	return nil
}

// Close closes the connection. Like the kernel it goes on delivering what was written, unless
// SO_LINGER says to reset it.
func (c *lineConn) Close() error {
	_, whole := c.line.whole()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.reset {
		c.waiting = nil
	}
	if whole || len(c.waiting) == 0 {
		return c.Conn.Close()
	}
	return c.SetReadDeadline(time.Now())
}

// deliver sends what waits.
func (c *lineConn) deliver() int {
	c.mu.Lock()
	waiting, closed := c.waiting, c.closed
	c.waiting = nil
	c.mu.Unlock()
	if len(waiting) > 0 {
		_, _ = c.Conn.Write(waiting)
	}
	if closed {
		_ = c.Conn.Close()
	}
	return len(waiting)
}

// lineUDP is a UDP socket towards the gateway.
type lineUDP struct {
	net.Conn

	line *line
}

func (c lineUDP) Write(b []byte) (int, error) {
	if _, whole := c.line.whole(); !whole {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// pair is two doublenats at one router and one gateway.
type pair struct {
	t      *testing.T
	bench  *lab.Bench
	server locktest.Server
	leases kubetest.Server
	a, b   *partner
	kind   lockKind
}

// lockKind is where a pair has its lock.
type lockKind string

const (
	inMemory  lockKind = "memory"
	onRouter  lockKind = "router"
	inCluster lockKind = "kubernetes"
)

// partner is one of them.
type partner struct {
	*lab.Bench

	host netip.Addr
	line *line
	log  *logBuffer
}

// lockKinds are the stores that a pair is tested with.
func lockKinds(t *testing.T, test func(p *pair)) {
	t.Helper()
	for _, kind := range []lockKind{inMemory, onRouter, inCluster} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			withLock(t, kind, test)
		})
	}
}

// withLock has a pair with a lock of that kind.
func withLock(t *testing.T, kind lockKind, test func(p *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		bench, err := lab.NewBench(lab.BenchConfig{Profile: natpmptest.RFC()})
		if err != nil {
			t.Fatal(err)
		}
		p := &pair{t: t, bench: bench, kind: kind}
		p.a, p.b = p.partner("192.168.88.2"), p.partner("192.168.88.3")
		defer func() {
			for _, one := range []*partner{p.a, p.b} {
				if _, whole := one.line.whole(); !whole {
					one.line.heal()
				}
				_ = one.Leave() // it may have been killed
			}
			if err := bench.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
		}()
		synctest.Wait()
		test(p)
		p.judge()
	})
}

func (p *pair) partner(host string) *partner {
	at := netip.MustParseAddr(host)
	return &partner{
		Bench: p.bench.Beside(netip.AddrPortFrom(at, 5351)), host: at, line: newLine(p.bench.Router, at), log: new(logBuffer),
	}
}

// serve starts one of the two.
func (p *pair) serve(one *partner, more map[string]string) {
	p.t.Helper()
	environ := map[string]string{"LOCK": "router", "LOCK_NAME": one.host.String(), "LOCK_REDIRECT": "off"}
	if p.kind == inCluster {
		environ["LOCK"] = "kubernetes"
	}
	maps.Copy(environ, more)
	err := one.Serve(environ, func(o *daemon.Options) {
		o.Logger = slog.New(slog.NewTextHandler(one.log, nil))
		o.Network.DialRouter = one.line.dial
		gateway := o.Network.DialGateway
		o.Network.DialGateway = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			conn, err := gateway(ctx, to)
			return lineUDP{conn, one.line}, err
		}
		switch p.kind {
		case inMemory:
			o.LockStore = func(name string) (lock.Store, error) { return one.line.store(&p.server, name), nil }
		case inCluster:
			o.LockStore = func(name string) (lock.Store, error) { return one.line.lease(&p.leases, name), nil }
		case onRouter:
		}
	})
	if err != nil {
		p.t.Fatal(err)
	}
	time.Sleep(6 * time.Second) // the router is tried whether it can keep a lock
}

// both starts both: a is active, b stands by. It returns the port of a client's mapping.
func (p *pair) both() natpmp.Response {
	p.t.Helper()
	p.serve(p.a, nil)
	p.serve(p.b, nil)
	resp, err := p.a.Request(alice, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 6881, SuggestedExternalPort: 6881, Lifetime: 3600})
	if err != nil || resp.Result != natpmp.ResultSuccess {
		p.t.Fatalf("a answers %+v, %v\n%s", resp, err, p.a.log)
	}
	if reply := p.b.Ask(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress}.Append(nil), time.Second); reply != nil {
		p.t.Errorf("b answers %x while it stands by", reply)
	}
	return resp
}

// gap asks one of the two until it answers, and returns how long that took.
func (p *pair) gap(one *partner, limit time.Duration) time.Duration {
	p.t.Helper()
	begun := time.Now()
	for time.Since(begun) < limit+time.Minute {
		if one.Ask(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress}.Append(nil), 50*time.Millisecond) != nil {
			if took := time.Since(begun); took > limit {
				p.t.Errorf("nobody answered for %s, want %s at most\n%s", took, limit, one.log)
			}
			return time.Since(begun)
		}
	}
	p.t.Fatalf("%s never answered\n%s", one.host, one.log)
	return 0
}

// renews asks one of the two for the mapping again, which has to have the port that it had.
func (p *pair) renews(one *partner, had natpmp.Response) {
	p.t.Helper()
	resp, err := one.Request(alice, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 6881, SuggestedExternalPort: had.ExternalPort, Lifetime: 3600})
	if err != nil || resp.Result != natpmp.ResultSuccess || resp.ExternalPort != had.ExternalPort {
		p.t.Errorf("%s answers %+v, %v, want port %d\n%s\n%s", one.host, resp, err, had.ExternalPort, p.a.log, p.b.log)
	}
	if n := len(p.bench.OurRules("default")); n != 1 {
		p.t.Errorf("%d rules on the router, want the one", n)
	}
	if n := len(p.bench.Gateway.Mappings()); n != 1 {
		p.t.Errorf("%d leases at the gateway, want the one", n)
	}
}

// writes returns what changed the router's NAT table, in order.
func (p *pair) writes() []routerostest.Entry {
	return slices.DeleteFunc(p.bench.Router.Journal(), func(e routerostest.Entry) bool {
		return !e.Wrote || !strings.HasPrefix(e.Command, "/ip/firewall/nat/")
	})
}

// judge fails the test if somebody wrote outside of a term of its own.
func (p *pair) judge() {
	p.t.Helper()
	writes := p.writes()
	if len(writes) == 0 {
		p.t.Error("nobody wrote anything: the test proves nothing")
	}
	if p.kind != inMemory {
		return
	}
	for _, e := range writes {
		if !slices.ContainsFunc(p.server.Grants(), func(g locktest.Grant) bool {
			return g.Name == e.Peer.String() && !e.Time.Before(g.From) && e.Time.Before(g.Until)
		}) {
			p.t.Errorf("%s wrote %s at %s, outside of its terms %+v", e.Peer, e.Command, e.Time, p.server.Grants())
		}
	}
}

// one fails the test unless all writes since then are of one partner.
func (p *pair) only(since routerostest.Mark, one *partner) {
	p.t.Helper()
	for _, e := range p.bench.Router.Since(since) {
		if e.Wrote && strings.HasPrefix(e.Command, "/ip/firewall/nat/") && e.Peer != one.host {
			p.t.Errorf("%s wrote %s, and %s is the active one", e.Peer, e.Command, one.host)
		}
	}
}

func TestPairHandOver(t *testing.T) {
	t.Parallel()
	lockKinds(t, func(p *pair) {
		had := p.both()
		since := p.bench.Router.Mark()
		stopped := make(chan error, 1)
		go func() { stopped <- p.a.Stop() }()
		p.gap(p.b, time.Second)
		if err := <-stopped; err != nil {
			p.t.Errorf("a ended with %v", err)
		}
		p.renews(p.b, had)
		p.only(since, p.b)
	})
}

func TestPairSurvivesACrash(t *testing.T) {
	t.Parallel()
	lockKinds(t, func(p *pair) {
		had := p.both()
		since := p.bench.Router.Mark()
		p.a.line.die()
		p.a.Kill()
		p.gap(p.b, pairLease+2*time.Second)
		p.renews(p.b, had)
		p.only(since, p.b)
	})
}

// The active one is cut off in the middle of a change, which the kernel would deliver when the line is
// whole again: long after another one is active.
func TestPairPartition(t *testing.T) {
	t.Parallel()
	lockKinds(t, func(p *pair) {
		had := p.both()
		since := p.bench.Router.Mark()
		p.a.line.part()
		p.a.Ask(bob, natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: 7000, Lifetime: 3600}.Append(nil), time.Second)
		p.gap(p.b, pairLease+2*time.Second)
		p.renews(p.b, had)
		if n := p.a.line.heal(); n > 0 {
			p.t.Errorf("%d bytes reach the router although their term is over", n)
		}
		time.Sleep(time.Minute)
		p.only(since, p.b)
		if p.a.Ask(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress}.Append(nil), time.Second) != nil {
			p.t.Error("a answers while b is active")
		}
		if err := p.b.Stop(); err != nil { // a stands by again and takes over.
			p.t.Errorf("b ended with %v", err)
		}
		p.gap(p.a, time.Second)
		p.renews(p.a, had)
	})
}

// Who stands by changes nothing, asks the gateway nothing, and answers nobody.
func TestPairStandbyIsSilent(t *testing.T) {
	t.Parallel()
	lockKinds(t, func(p *pair) {
		p.both()
		if err := p.a.Stop(); err != nil { // b becomes active, and a new one stands by.
			p.t.Fatal(err)
		}
		p.gap(p.b, time.Second)
		requests := func() (n uint64) {
			for _, of := range p.bench.Gateway.Stats().Requests {
				n += of
			}
			return n
		}
		p.serve(p.a, map[string]string{"PCP": "on"})
		p.b.line.part() // nobody but a can reach the gateway, and for a while b's lease lasts
		before, since := requests(), p.bench.Router.Mark()
		for _, packet := range [][]byte{
			natpmp.Request{Opcode: natpmp.OpExternalAddress}.Append(nil),
			natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 80, Lifetime: 60}.Append(nil),
			{7, 0},
			make([]byte, 60),
		} {
			if reply := p.a.Ask(bob, packet, time.Second); reply != nil {
				p.t.Errorf("a answers %x to %x", reply, packet)
			}
		}
		if n := requests() - before; n > 0 {
			p.t.Errorf("%d packets to the gateway from a standby", n)
		}
		for _, e := range p.bench.Router.Since(since) {
			if e.Wrote {
				p.t.Errorf("a standby wrote %s", e.Command)
			}
		}
		p.gap(p.a, pairLease+2*time.Second)
	})
}

// The active one points the clients' redirect to itself, and nobody else does.
func TestPairMovesTheRedirect(t *testing.T) {
	t.Parallel()
	lockKinds(t, func(p *pair) {
		id, err := p.bench.Router.Add("/ip/firewall/nat", routerostest.Row{
			"chain": "dstnat", "action": "dst-nat", "protocol": "udp", "dst-port": "5351", "dst-address-type": "local",
			"to-addresses": "192.168.88.9", "comment": "NAT-PMP to doublenat",
		})
		if err != nil {
			p.t.Fatal(err)
		}
		leads := func(want netip.Addr) {
			p.t.Helper()
			time.Sleep(time.Second)
			row, _ := p.bench.Router.Find("/ip/firewall/nat", ".id", id)
			if row["to-addresses"] != want.String() {
				p.t.Errorf("the redirect leads to %s, want %s\n%s", row["to-addresses"], want, p.a.log)
			}
		}
		redirect := map[string]string{"LOCK_REDIRECT": "on"}
		p.serve(p.a, redirect)
		p.serve(p.b, redirect)
		leads(p.a.host)
		p.a.line.die()
		p.a.Kill()
		p.gap(p.b, pairLease+2*time.Second)
		leads(p.b.host)
	})
}

// takeAway gives the lock to somebody else for a minute, and returns what takes it from him.
func (p *pair) takeAway() (back func()) {
	p.t.Helper()
	switch p.kind {
	case inMemory:
		p.server.Take("somebody", time.Now().Add(time.Minute))
		return func() {}
	case inCluster:
		held := func(by string, d time.Duration) {
			p.leases.Change("doublenat", "doublenat-default", func(lease map[string]any) {
				lease["spec"] = map[string]any{"holderIdentity": by, "leaseDurationSeconds": d.Seconds(), "leaseTransitions": 7.0}
			})
		}
		held("somebody", 5*time.Minute)
		return func() { held("", time.Second) }
	case onRouter:
	}
	const list = "/ip/firewall/address-list"
	row, ok := p.bench.Router.Find(list, "list", "doublenat-lock-default")
	if !ok {
		p.t.Fatal("there is no lock on the router")
	}
	if err := p.bench.Router.Remove(list, row[".id"]); err != nil {
		p.t.Fatal(err)
	}
	id, err := p.bench.Router.Add(list, routerostest.Row{"list": row["list"], "address": row["address"], "timeout": "5m", "comment": "somebody"})
	if err != nil {
		p.t.Fatal(err)
	}
	return func() {
		if err := p.bench.Router.Remove(list, id); err != nil {
			p.t.Fatal(err)
		}
	}
}

// A lock that others take away ends a term at the next renewal. The next term begins when it is free.
func TestPairLockTakenAway(t *testing.T) {
	t.Parallel()
	lockKinds(t, func(p *pair) {
		had := p.both()
		back := p.takeAway()
		time.Sleep(pairLease / 2)
		for _, one := range []*partner{p.a, p.b} {
			if one.Ask(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress}.Append(nil), time.Second) != nil {
				p.t.Errorf("%s answers although somebody else has the lock", one.host)
			}
		}
		if log := p.a.log.String(); !strings.Contains(log, "lost the lock, writing nothing more") {
			p.t.Errorf("the log does not say so:\n%s", log)
		}
		time.Sleep(time.Minute)
		back()
		time.Sleep(2 * time.Second)
		active := p.a
		if p.a.Ask(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress}.Append(nil), time.Second) == nil {
			active = p.b
		}
		p.renews(active, had)
	})
}

// The active one has its Lease, but does not reach the router any more: the other one does, and has to
// get the Lease. When neither does, both wait for the router, and not for each other.
func TestPairNeedsTheRouter(t *testing.T) {
	t.Parallel()
	withLock(t, inCluster, func(p *pair) {
		p.a.line.clustered, p.b.line.clustered = true, true
		had := p.both()
		p.a.line.part()
		p.gap(p.b, 2*pairLease+2*routerSilence)
		p.renews(p.b, had)
		p.b.line.part()
		time.Sleep(5 * time.Minute)
		p.a.line.heal()
		p.gap(p.a, 2*pairLease+2*routerSilence)
		p.b.line.heal()
		p.renews(p.a, had)
	})
}

// routerSilence is how long a connection to a router that says nothing counts as one.
const routerSilence = time.Minute
