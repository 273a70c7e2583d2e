package lab

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"doublenat/igd/igdtest"
	"doublenat/internal/config"
	"doublenat/internal/daemon"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp/pcptest"
	"doublenat/routeros/routerostest"
)

// Bench is the lab without sockets: the real daemon between the two test servers
// on a network in memory, for tests and simulations in virtual time. Make it inside
// the synctest bubble that uses it and Close it there.
type Bench struct {
	// Net carries NAT-PMP in both directions. Its faults are the test's to set.
	Net *natpmptest.Network
	// Gateway and Router are the two layers. Gateway is nil where another bench's daemon is
	// the gateway ([NewCascade]). What is beyond the router is PCP or Box instead, where they
	// are not nil: the first is about Gateway's leases, and Place is where the second is
	// reached.
	Gateway *natpmptest.Gateway
	PCP     *pcptest.Gateway
	Box     *igdtest.Gateway
	Place   *igdtest.Place
	Router  *routerostest.Router

	mu       sync.Mutex        // guards what follows
	forwards []nat.PoolPort    // what a provider forwards
	control  *igdtest.Listener // where the daemon is controlled by UPnP, nil if it is not

	cfg     BenchConfig
	spot    spot
	others  []byte // the router's rules of other people, as they were at first
	serving sync.WaitGroup
	stop    context.CancelFunc
	graves  sync.WaitGroup // daemons that were killed and do not know it yet
	daemon  *incarnation
}

// BenchConfig says how a Bench is. The zero value is a fast, perfect world with a
// gateway like ProtonVPN's and RouterOS 7.22.
type BenchConfig struct {
	// Environ has variables for the daemon, beside those that it cannot do without.
	Environ map[string]string
	// Profile is how the gateway behaves; the zero value means [natpmptest.Proton].
	Profile natpmptest.Profile
	// Beyond is what is beyond the router, if it is not a gateway that speaks NAT-PMP.
	Beyond Beyond
	// OnPass is called after the ports that lead to the router changed, before the answer to
	// the request that changed them. It may call the bench and should not block. Nil is
	// nobody.
	OnPass func()
	// MakeGateway makes the gateway, for one that speaks something else. Nil means what
	// Beyond says.
	MakeGateway func(natpmptest.Config) (*natpmptest.Gateway, error)
	// Router is the router.
	Router routerostest.Config
	// Latency is what each NAT-PMP packet takes on its way. Replays need some.
	Latency time.Duration
	// Seed decides about everything that is left to chance.
	Seed uint64
	// Capture is how many packets the network keeps for reading, 0 for none.
	Capture int
	// Logger gets the daemon's log; nil discards it.
	Logger *slog.Logger
	// Options may change what each daemon is made from. Nil is allowed.
	Options func(*daemon.Options)
	// Prepare may change the router before its rules count as other people's. Nil is allowed.
	Prepare func(*routerostest.Router)
}

// spot is where a bench's daemon stands, between those who ask it and whom it asks.
type spot struct {
	// listen is where clients ask, gateway is who is asked.
	listen, gateway netip.AddrPort
	// self and in are the router's address and interface towards the gateway.
	self netip.Addr
	in   string
	// upstream is the bench whose daemon is the gateway; nil for a gateway of the bench's own.
	upstream *Bench
	// prepare changes the router so that it stands there. Nil is a router as it comes.
	prepare func(*routerostest.Router) error
}

// inTunnel is the spot of a bench that stands alone.
func inTunnel() spot {
	return spot{
		listen: netip.MustParseAddrPort("192.168.88.1:5351"), gateway: netip.MustParseAddrPort("10.2.0.1:5351"),
		self: netip.MustParseAddr("10.2.0.2"), in: routerostest.TunnelInterface,
	}
}

// incarnation is one run of the daemon.
type incarnation struct {
	*daemon.Daemon

	quit context.CancelFunc
	done chan error

	mu    sync.Mutex
	dead  bool
	conns []io.Closer
}

var errKilled = errors.New("the process was killed")

// NewBench builds the world and starts gateway and router, but no daemon.
func NewBench(cfg BenchConfig) (*Bench, error) { return newBench(cfg, inTunnel()) }

func newBench(cfg BenchConfig, at spot) (*Bench, error) {
	cfg.Router.Seed = cfg.Seed
	router, err := routerostest.New(cfg.Router)
	if err != nil {
		return nil, err
	}
	if at.prepare != nil {
		if err := at.prepare(router); err != nil {
			return nil, err
		}
	}
	if cfg.Prepare != nil {
		cfg.Prepare(router)
	}
	b := &Bench{
		Net: natpmptest.NewNetwork(natpmptest.NetworkConfig{
			Seed: cfg.Seed, Latency: cfg.Latency, Queue: 4096, Capture: cfg.Capture,
		}),
		Router: router, cfg: cfg, spot: at, stop: func() {},
	}
	b.others = b.OtherRules()
	if at.upstream != nil {
		return b, nil
	}
	if err := b.serveGateway(); err != nil {
		return nil, err
	}
	return b, nil
}

// serveGateway makes the bench's own gateway and starts it.
func (b *Bench) serveGateway() error {
	if err := errors.Join(b.makeGateway(), b.makeBeyond()); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	listens := make(chan struct{})
	begun := sync.OnceFunc(func() { close(listens) })
	b.serving.Go(func() {
		// Its end is the bench's; a failure shows in every test.
		_ = b.Gateway.ListenAndServe(ctx, func(context.Context) (net.PacketConn, error) {
			defer begun()
			return b.Net.Listen(b.spot.gateway)
		})
	})
	<-listens // else a daemon that starts at once may find it refusing
	if b.Place != nil {
		b.serving.Go(func() { _ = b.Place.Run(ctx) })
	}
	return nil
}

// Start runs a daemon until [Bench.Stop] or [Bench.Kill], with more variables that
// go before those of the configuration.
func (b *Bench) Start(more map[string]string) error {
	cfg, err := b.config(more)
	if err != nil {
		return err
	}
	p := &incarnation{done: make(chan error, 1)}
	opts := daemon.Options{Config: cfg, Logger: b.cfg.Logger, Network: b.network(p)}
	if b.cfg.Options != nil {
		b.cfg.Options(&opts)
	}
	if p.Daemon, err = daemon.New(opts); err != nil {
		return err
	}
	ctx, quit := context.WithCancel(context.Background())
	p.quit = quit
	b.daemon = p
	go func() { p.done <- p.Run(ctx) }()
	return nil
}

func (b *Bench) config(more map[string]string) (config.Config, error) {
	environ := map[string]string{
		"LISTEN_ADDR":          b.spot.listen.String(),
		"MIKROTIK_API_ADDRESS": routerostest.LANAddress, "MIKROTIK_API_USER": routerostest.LeastUser,
		"MIKROTIK_API_PASSWORD": routerostest.LeastPassword,
	}
	maps.Copy(environ, b.cfg.Beyond.environ(b.spot))
	maps.Copy(environ, b.cfg.Environ)
	maps.Copy(environ, more)
	return config.Parse(environ, os.ReadFile)
}

// network returns the daemon's way into the world, which ends when it is killed.
func (b *Bench) network(p *incarnation) daemon.Network {
	return daemon.Network{
		Listen: func(_ context.Context, at netip.AddrPort) (net.PacketConn, error) {
			conn, err := b.Net.Listen(at)
			return track(p, conn, err)
		},
		DialGateway: func(_ context.Context, to netip.AddrPort) (net.Conn, error) {
			conn, err := b.towardsGateway().Dial(netip.AddrPortFrom(b.masqueraded(to.Addr()), 0), to)
			return track(p, conn, err)
		},
		DialDevice: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			conn, err := b.dialDevice(ctx, to)
			return track(p, conn, err)
		},
		ListenSearch: func(ctx context.Context) (net.PacketConn, error) {
			conn, err := b.listenSearch(ctx)
			return track(p, conn, err)
		},
		ListenSearches: func(ctx context.Context, at netip.Addr) (net.PacketConn, error) {
			conn, err := b.listenSearches(ctx, at)
			return track(p, conn, err)
		},
		ListenDevice: func(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
			l, err := b.listenDevice(ctx, at)
			return track(p, l, err)
		},
		DialRouter: func(ctx context.Context) (net.Conn, error) {
			conn, err := b.Router.Dial(ctx)
			return track(p, conn, err)
		},
		ListenAnnouncements: func() (net.PacketConn, error) {
			return nil, errors.New("no multicast on the bench")
		},
		Announcements: func(net.PacketConn, config.Config) (natpmp.AnnouncementSender, string) {
			return nil, "no multicast on the bench"
		},
	}
}

// towardsGateway is the network in which the gateway is.
func (b *Bench) towardsGateway() *natpmptest.Network {
	if b.spot.upstream != nil {
		return b.spot.upstream.Net
	}
	return b.Net
}

// masqueraded returns the address from which the router sends what goes to a host: its own
// in the network of that, else the one in the tunnel.
func (b *Bench) masqueraded(to netip.Addr) netip.Addr {
	for _, row := range b.Router.Rows("/ip/address") {
		if own, err := netip.ParsePrefix(row["address"]); err == nil && own.Contains(to) {
			return own.Addr()
		}
	}
	return b.spot.self
}

// track remembers a socket so that it can be cut.
func track[C io.Closer](p *incarnation, conn C, err error) (C, error) {
	var none C
	if err != nil {
		return none, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return none, errors.Join(errKilled, conn.Close())
	}
	p.conns = append(p.conns, conn)
	return conn, nil
}

// Daemon returns the daemon that runs, nil if there is none.
func (b *Bench) Daemon() *daemon.Daemon {
	if b.daemon == nil {
		return nil
	}
	return b.daemon.Daemon
}

// Stop ends the daemon as SIGTERM does, and returns what it returned.
func (b *Bench) Stop() error {
	p := b.daemon
	if p == nil {
		return nil
	}
	b.daemon = nil
	p.quit()
	return p.wait()
}

// wait returns what the run returned, when it has ended.
func (p *incarnation) wait() error { return <-p.done }

// Kill ends the daemon as SIGKILL does: not one byte more leaves it.
func (b *Bench) Kill() {
	p := b.daemon
	if p == nil {
		return
	}
	b.daemon = nil
	p.mu.Lock()
	p.dead = true
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // What was closed before stays closed.
	}
	p.quit()
	b.graves.Go(func() { _ = p.wait() }) // What a killed one returns, nobody hears.
}

// Close ends everything.
func (b *Bench) Close() error {
	err := b.Stop()
	b.graves.Wait()
	b.stop()
	b.serving.Wait()
	return errors.Join(err, b.Net.Close(), b.Router.Close())
}
