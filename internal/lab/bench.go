package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/daemon"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// Bench is the lab without sockets: the real daemon between the two test servers
// on a network in memory, for tests and simulations in virtual time. Make it inside
// the synctest bubble that uses it and Close it there.
type Bench struct {
	// Net carries NAT-PMP in both directions. Its faults are the test's to set.
	Net *natpmptest.Network
	// Gateway and Router are the two layers.
	Gateway *natpmptest.Gateway
	Router  *routerostest.Router

	cfg     BenchConfig
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

// Addresses of the bench beside those of routerostest.
var (
	benchGateway = netip.MustParseAddrPort("10.2.0.1:5351")
	benchTunnel  = netip.MustParseAddr("10.2.0.2")
	benchListen  = netip.MustParseAddrPort("192.168.88.1:5351")
)

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
func NewBench(cfg BenchConfig) (*Bench, error) {
	if cfg.Profile.Name == "" {
		cfg.Profile = natpmptest.Proton()
	}
	gateway, err := natpmptest.New(natpmptest.Config{Profile: cfg.Profile, Seed: cfg.Seed})
	if err != nil {
		return nil, err
	}
	cfg.Router.Seed = cfg.Seed
	router, err := routerostest.New(cfg.Router)
	if err != nil {
		return nil, err
	}
	if cfg.Prepare != nil {
		cfg.Prepare(router)
	}
	b := &Bench{
		Net: natpmptest.NewNetwork(natpmptest.NetworkConfig{
			Seed: cfg.Seed, Latency: cfg.Latency, Queue: 4096, Capture: cfg.Capture,
		}),
		Gateway: gateway, Router: router, cfg: cfg,
	}
	b.others = b.OtherRules()
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	listens := make(chan struct{})
	begun := sync.OnceFunc(func() { close(listens) })
	b.serving.Go(func() {
		// Its end is the bench's; a failure shows in every test.
		_ = gateway.ListenAndServe(ctx, func(context.Context) (net.PacketConn, error) {
			defer begun()
			return b.Net.Listen(benchGateway)
		})
	})
	<-listens // else a daemon that starts at once may find it refusing
	return b, nil
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
		"VPN_GATEWAY": benchGateway.Addr().String(), "LISTEN_ADDR": benchListen.String(),
		"MIKROTIK_API_ADDRESS": routerostest.LANAddress, "MIKROTIK_API_USER": routerostest.LeastUser,
		"MIKROTIK_API_PASSWORD": routerostest.LeastPassword,
	}
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
		DialGateway: func(context.Context) (net.Conn, error) {
			conn, err := b.Net.Dial(netip.AddrPortFrom(benchTunnel, 0), benchGateway)
			return track(p, conn, err)
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

// Ask sends a packet from a client's address, from a port of its own, and returns
// the reply, or nil if none came in time.
func (b *Bench) Ask(client netip.Addr, packet []byte, wait time.Duration) []byte {
	conn, err := b.Net.Dial(netip.AddrPortFrom(client, 0), benchListen)
	if err != nil {
		return nil
	}
	defer conn.Close()
	if _, err := conn.Write(packet); err != nil {
		return nil
	}
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil
	}
	reply := make([]byte, natpmp.MaxPacket)
	n, err := conn.Read(reply)
	if err != nil {
		return nil
	}
	return reply[:n]
}

// Request asks for a client as RFC 6886 §3.1 wants it, with repetitions for 12 s,
// and returns the reply.
func (b *Bench) Request(client netip.Addr, req natpmp.Request) (natpmp.Response, error) {
	conn, err := b.Net.Dial(netip.AddrPortFrom(client, 0), benchListen)
	if err != nil {
		return natpmp.Response{}, err
	}
	defer conn.Close()
	packet, reply := req.Append(nil), make([]byte, natpmp.MaxPacket)
	end := time.Now().Add(12 * time.Second)
	for gap := 250 * time.Millisecond; time.Now().Before(end); gap *= 2 {
		if _, err := conn.Write(packet); err != nil {
			return natpmp.Response{}, err
		}
		if err := conn.SetReadDeadline(earlier(time.Now().Add(gap), end)); err != nil {
			return natpmp.Response{}, err
		}
		n, err := conn.Read(reply)
		if err == nil {
			return natpmp.ParseResponse(reply[:n])
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return natpmp.Response{}, err
		}
	}
	return natpmp.Response{}, os.ErrDeadlineExceeded
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// OurRules returns the router's rules that carry the mark of the given instance.
func (b *Bench) OurRules(instance string) []routerostest.Row {
	return slices.DeleteFunc(b.Router.Rows("/ip/firewall/nat"), func(r routerostest.Row) bool { return !ours(r, instance) })
}

// ours says whether a row carries our mark. It knows the mark's form by itself, so
// that a mistake of the daemon's in it shows.
func ours(r routerostest.Row, instance string) bool {
	rest, ok := strings.CutPrefix(r["comment"], "doublenat:"+instance+" ")
	return ok && ownMark.MatchString(rest) && r["in-interface"] == routerostest.TunnelInterface
}

var ownMark = regexp.MustCompile(`^(tcp|udp) [0-9.]+:[0-9]+ inner=[0-9]+ ext=[0-9]+ life=[0-9]+$`)

// OtherRules returns all lasting rules that are not the daemon's, in bytes that can
// be compared.
func (b *Bench) OtherRules() []byte {
	return b.Router.Fingerprint("/ip/firewall/nat", func(r routerostest.Row) bool {
		return ours(r, "default") || r["dynamic"] == "true"
	})
}

// AcceptOthers takes other people's rules as they are now for what they should be,
// after the test itself has changed them.
func (b *Bench) AcceptOthers() { b.others = b.OtherRules() }

// OthersUntouched says whether other people's rules are what they were.
func (b *Bench) OthersUntouched() bool { return bytes.Equal(b.OtherRules(), b.others) }

// Disagreements compares the daemon's table with the rules on the router and the
// leases on the gateway, and other people's rules with what they were. It returns
// what does not fit, nothing if all does. Mappings that are being closed do not count.
func (b *Bench) Disagreements() []string {
	var wrong []string
	rules, leases := make(map[string]bool), make(map[string]bool)
	for _, r := range b.OurRules("default") {
		rule := fmt.Sprintf("%s %s:%s inner %s", r["protocol"], r["to-addresses"], r["to-ports"], r["dst-port"])
		if rules[rule] {
			wrong = append(wrong, "two rules "+rule)
		}
		rules[rule] = true
	}
	for _, m := range b.Gateway.Mappings() {
		leases[fmt.Sprintf("%s inner %d external %d", nat.Protocol(m.Protocol), m.InternalPort, m.ExternalPort)] = true
	}
	if d := b.Daemon(); d != nil {
		for _, m := range d.Mappings() {
			to := netip.AddrPortFrom(m.Key.Client, nat.Rule{Key: m.Key, ExternalPort: m.ExternalPort}.Target())
			rule := fmt.Sprintf("%s %s inner %d", m.Key.Protocol, to, m.InnerPort)
			lease := fmt.Sprintf("%s inner %d external %d", m.Key.Protocol, m.InnerPort, m.ExternalPort)
			if !rules[rule] {
				wrong = append(wrong, "no rule "+rule)
			}
			if !leases[lease] {
				wrong = append(wrong, "no lease "+lease)
			}
			delete(rules, rule)
			delete(leases, lease)
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(rules)) {
		wrong = append(wrong, "rule without mapping: "+rule)
	}
	for _, lease := range slices.Sorted(maps.Keys(leases)) {
		wrong = append(wrong, "lease without mapping: "+lease)
	}
	if !b.OthersUntouched() {
		wrong = append(wrong, "other people's rules were changed")
	}
	return wrong
}
