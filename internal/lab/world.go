package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"doublenat/igd"
	"doublenat/internal/config"
	"doublenat/internal/daemon"
	"doublenat/routeros/routerostest"
)

// stopTimeout bounds the daemon's shutdown. It has at most a few mappings to
// take down, on this machine.
const stopTimeout = 20 * time.Second

// world is everything that runs while the lab does.
type world struct {
	places   Places
	kind     kind
	box      box
	router   *routerostest.Router
	internet internet
	client   *host
	trail    *trail
	daemon   func(context.Context, daemon.Options) error
	log      *slog.Logger
	// languages is what is spoken besides NAT-PMP; upnp is set if UPnP is.
	languages Languages
	upnp      bool

	// lenient is set if the daemon may fail to take down what it was never granted in time.
	lenient bool

	// public and tunnel are the two NATs' relays.
	public, tunnel *relay
	// troubles are ports that could not be opened.
	troubles chan error
	// cut ends all connections through the relays.
	cut context.CancelFunc

	// follow opens the ports of the leases that stand and closes the others. The gateway
	// calls it when they are others.
	follow func()
	// following has one slot, for who opens and closes the ports of both.
	following chan struct{}
	// onReply is called before each reply of the router to a command. Nil is allowed.
	onReply func()
	api     net.Listener // the router's socket
}

// newWorld makes everybody and opens their sockets.
func newWorld(ctx context.Context, o Options, k kind, profile string) (*world, error) {
	w := &world{
		places:   o.Places,
		kind:     k,
		internet: internet{addr: o.Places.Internet},
		trail:    newTrail(),
		daemon:   o.Daemon,
		log:      o.Logger,

		languages: o.Languages,
		upnp:      o.Languages == AllLanguages && o.Places.separate(),
		troubles:  make(chan error, 1),

		following: make(chan struct{}, 1),
	}
	leaseFor := func(p port, _ netip.AddrPort) (hop, bool) { return w.lease(p) } // which are for everybody
	w.public = newRelay("gateway", w.places.Public, w.places.separate(), leaseFor, w.trail.add)
	w.tunnel = newRelay("router", w.places.Tunnel, w.places.separate(), w.ruleFor, w.trail.add)
	// Connections end when the lab says so, which is after a signal.
	relays, cut := context.WithCancel(context.WithoutCancel(ctx))
	w.cut, w.follow = cut, func() { w.syncRelays(relays) }
	var err error
	if w.box, err = k.make(w, profile); err != nil {
		return nil, err
	}
	if w.router, err = newRouter(w.places, w.upnp); err != nil {
		return nil, err
	}
	return w, w.open(ctx)
}

// open opens the sockets of gateway, router and client, and looks whether
// doublenat's can be opened.
func (w *world) open(ctx context.Context) (err error) {
	var opened []func() error
	defer func() {
		if err != nil {
			for _, closeSocket := range opened {
				err = errors.Join(err, closeSocket())
			}
		}
	}()
	opened = append(opened, w.box.close)
	if err = w.box.open(ctx); err != nil {
		return err
	}
	var listen net.ListenConfig
	if w.api, err = listen.Listen(ctx, "tcp4", w.places.Router.String()); err != nil {
		return taken("the router's API", "router", err)
	}
	opened = append(opened, w.api.Close)
	if w.onReply != nil {
		w.api = &attentive{Listener: w.api, hear: w.onReply}
	}
	if err = w.probe(ctx); err != nil {
		return err
	}
	w.client, err = newHost(ctx, w.places)
	return err
}

// probe looks whether doublenat's own ports are free, which it opens itself: here it
// is known which flag moves them.
func (w *world) probe(ctx context.Context) error {
	packets, err := listenUDP(ctx, w.places.Listen)
	if err != nil {
		return taken("doublenat", "listen", err)
	}
	if err := packets.Close(); err != nil {
		return err
	}
	if err := w.probeUPnP(ctx); err != nil || !w.places.Page.IsValid() {
		return err
	}
	var listen net.ListenConfig
	page, err := listen.Listen(ctx, "tcp4", w.places.Page.String())
	if err != nil {
		return taken("the status page", "page", err)
	}
	return page.Close()
}

// probeUPnP looks whether the ports of UPnP are free.
func (w *world) probeUPnP(ctx context.Context) error {
	if !w.upnp {
		return nil
	}
	searches, err := listenUDP(ctx, netip.AddrPortFrom(w.places.Listen.Addr(), igd.SearchPort))
	if err != nil {
		return taken("UPnP's searches", "listen", err)
	}
	var listen net.ListenConfig
	control, err := listen.Listen(ctx, "tcp4", w.places.Listen.String())
	if err != nil {
		return errors.Join(taken("UPnP's control", "listen", err), searches.Close())
	}
	return errors.Join(searches.Close(), control.Close())
}

// environ returns the environment of the daemon, which is all that it knows.
func (w *world) environ() map[string]string {
	environ := map[string]string{
		"MIKROTIK_API_ADDRESS":  w.places.Router.String(),
		"MIKROTIK_API_USER":     routerostest.LeastUser,
		"MIKROTIK_API_PASSWORD": routerostest.LeastPassword,
		"LISTEN_ADDR":           w.places.Listen.String(),
		"INSTANCE":              "lab",
		"ANNOUNCE":              "off", // multicast would leave the loopback interface
	}
	if w.languages == AllLanguages {
		environ["PCP"] = "on"
	}
	if w.upnp {
		environ["UPNP"], environ["UPNP_ADDR"] = "on", w.places.Listen.String()
	}
	maps.Copy(environ, w.box.environ())
	if w.places.Page.IsValid() {
		environ["HTTP_ADDR"] = w.places.Page.String()
	}
	return environ
}

// run starts everybody, calls act, stops the daemon, calls after, and stops the
// rest. Act's context ends early when somebody fails.
func (w *world) run(ctx context.Context, act, after func(context.Context) error) error {
	cfg, err := config.Parse(w.environ(), nil)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	// The others have to be there until the daemon has taken everything down.
	ctx, fail := context.WithCancelCause(ctx)
	around, stopAround := context.WithCancel(context.WithoutCancel(ctx))
	var others sync.WaitGroup
	part := func(name string, run func(context.Context) error) {
		others.Go(func() {
			if err := run(around); err != nil {
				fail(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	part("gateway", w.box.serve)
	part("router", func(ctx context.Context) error { return w.router.Serve(ctx, w.api) })
	part("client", w.client.run)
	doublenat := w.start(around, cfg, fail)

	err = act(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	stopped := doublenat.stop()
	if w.lenient && !errors.Is(stopped, errNoStop) {
		stopped = nil
	}
	err = errors.Join(err, stopped, after(around))
	stopAround()
	w.cut()
	w.public.close()
	w.tunnel.close()
	others.Wait()
	return errors.Join(err, w.router.Close(), w.box.close())
}

// dialGateway connects to where the gateway really is.
func (w *world) dialGateway(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "udp4", w.places.Gateway.String())
}

// process is the daemon as it runs.
type process struct {
	cancel context.CancelFunc
	ended  chan error
}

// start runs the daemon. That it ends by itself is a failure.
func (w *world) start(ctx context.Context, cfg config.Config, fail context.CancelCauseFunc) *process {
	ctx, cancel := context.WithCancel(ctx)
	p := &process{cancel: cancel, ended: make(chan error, 1)}
	go func() {
		err := w.daemon(ctx, daemon.Options{
			Config:  cfg,
			Logger:  w.log,
			Version: "lab",
			Network: daemon.Network{DialGateway: w.dialGateway},
		})
		if ctx.Err() == nil {
			fail(fmt.Errorf("doublenat ended by itself: %w", err))
		}
		p.ended <- err
	}()
	return p
}

// errNoStop is the error of a daemon that goes on.
var errNoStop = errors.New("doublenat did not stop")

// stop asks the daemon to stop and waits until it has.
func (p *process) stop() error {
	p.cancel()
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case err := <-p.ended:
		return err
	case <-timer.C:
		return fmt.Errorf("%w within %v", errNoStop, stopTimeout)
	}
}

// syncRelays opens the ports of the leases that stand and closes the others: at the
// public address for the Internet, at the tunnel address for the gateway. It is called
// by several at once; the last one sees it all.
func (w *world) syncRelays(ctx context.Context) {
	w.following <- struct{}{}
	defer func() { <-w.following }()
	var public, tunnel []port
	for _, l := range w.passed() {
		public = append(public, l.external)
		tunnel = append(tunnel, l.inner())
	}
	if err := errors.Join(w.tunnel.sync(ctx, tunnel), w.public.sync(ctx, public)); err != nil {
		select {
		case w.troubles <- err:
		default: // one is enough to say
		}
	}
}

// passed returns the leases through which something passes. What a provider forwards for
// good is refused by the router as long as that has no rule for it, so that it looks from
// outside as if there were no port.
func (w *world) passed() []lease {
	return slices.DeleteFunc(w.box.leases(), func(l lease) bool {
		_, ok := w.rule(l.inner())
		return l.fixed && !ok
	})
}

// lease is the gateway's NAT: where a connection to the public address goes.
func (w *world) lease(p port) (hop, bool) {
	l, ok := w.box.lookup(p)
	return hop{to: l.to, by: w.kind.lends}, ok
}

// rule is the router's NAT: where its rules send a connection from the tunnel, whoever sends.
func (w *world) rule(p port) (hop, bool) { return w.ruleFor(p, netip.AddrPort{}) }

// ruleFor is rule for a connection from somebody: a rule may be for others.
func (w *world) ruleFor(p port, from netip.AddrPort) (hop, bool) {
	to, id, ok := w.router.MatchFrom(from, p.protocol.String(), routerostest.TunnelInterface, p.number)
	return hop{to: to, by: "rule " + id}, ok
}

// reach returns where a public port is on this machine.
func (w *world) reach(number uint16) netip.AddrPort {
	return netip.AddrPortFrom(w.places.Public, number)
}
