package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/daemon"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// stopTimeout bounds the daemon's shutdown. It has at most a few mappings to
// take down, on this machine.
const stopTimeout = 20 * time.Second

// world is everything that runs while the lab does.
type world struct {
	places   Places
	gateway  *natpmptest.Gateway
	router   *routerostest.Router
	internet internet
	client   *host
	trail    *trail
	daemon   func(context.Context, daemon.Options) error
	log      *slog.Logger

	// public and tunnel are the two NATs' relays.
	public, tunnel *relay
	// troubles are ports that could not be opened.
	troubles chan error
	// cut ends all connections through the relays.
	cut context.CancelFunc

	packets net.PacketConn // the gateway's socket
	api     net.Listener   // the router's socket
}

// newWorld makes everybody and opens their sockets.
func newWorld(ctx context.Context, o Options, profile natpmptest.Profile) (*world, error) {
	w := &world{
		places:   o.Places,
		internet: internet{addr: o.Places.Internet},
		trail:    newTrail(),
		daemon:   o.Daemon,
		log:      o.Logger,
		troubles: make(chan error, 1),
	}
	w.public = newRelay("VPN gateway", w.places.Public, w.places.separate(), w.lease, w.trail.add)
	w.tunnel = newRelay("router", w.places.Tunnel, w.places.separate(), w.rule, w.trail.add)
	// Connections end when the lab says so, which is after a signal.
	relays, cut := context.WithCancel(context.WithoutCancel(ctx))
	w.cut = cut
	var err error
	if w.gateway, err = natpmptest.New(natpmptest.Config{
		Profile:  profile,
		Address:  publicAddress(),
		Seed:     uint64(time.Now().UnixNano()),
		Journal:  4096,
		OnChange: func() { w.follow(relays) },
	}); err != nil {
		return nil, err
	}
	if w.router, err = newRouter(w.places); err != nil {
		return nil, err
	}
	return w, w.open(ctx)
}

// newRouter makes a router with the lab's tunnel.
func newRouter(p Places) (*routerostest.Router, error) {
	r, err := routerostest.New(routerostest.Config{})
	if err != nil {
		return nil, err
	}
	route, hasRoute := r.Find("/ip/route", "dst-address", routerostest.GatewayAddress+"/32")
	address, hasAddress := r.Find("/ip/address", "interface", routerostest.TunnelInterface)
	if !hasRoute || !hasAddress {
		return nil, errors.New("lab: the test router has no tunnel")
	}
	tunnel := p.Tunnel.String()
	if !p.separate() {
		tunnel = routerostest.TunnelAddress // an address of the router's own is no client's
	}
	return r, errors.Join(
		r.Set("/ip/route", route[".id"], routerostest.Row{"dst-address": p.known().Addr().String() + "/32"}),
		r.Set("/ip/address", address[".id"], routerostest.Row{"address": tunnel + "/32", "network": tunnel}),
	)
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
	packets, err := listenUDP(ctx, w.places.Gateway)
	if err != nil {
		return taken("the VPN gateway", "gateway", err)
	}
	opened = append(opened, packets.Close)
	w.packets = newMasquerade(packets, w.places.Tunnel)
	var listen net.ListenConfig
	if w.api, err = listen.Listen(ctx, "tcp4", w.places.Router.String()); err != nil {
		return taken("the router's API", "router", err)
	}
	opened = append(opened, w.api.Close)
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
	if err := packets.Close(); err != nil || !w.places.Page.IsValid() {
		return err
	}
	var listen net.ListenConfig
	page, err := listen.Listen(ctx, "tcp4", w.places.Page.String())
	if err != nil {
		return taken("the status page", "page", err)
	}
	return page.Close()
}

// environ returns the environment of the daemon, which is all that it knows.
func (w *world) environ() map[string]string {
	environ := map[string]string{
		"VPN_GATEWAY":           w.places.known().String(),
		"MIKROTIK_API_ADDRESS":  w.places.Router.String(),
		"MIKROTIK_API_USER":     routerostest.LeastUser,
		"MIKROTIK_API_PASSWORD": routerostest.LeastPassword,
		"LISTEN_ADDR":           w.places.Listen.String(),
		"INSTANCE":              "lab",
		"ANNOUNCE":              "off", // multicast would leave the loopback interface
	}
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
	part("gateway", func(ctx context.Context) error { return w.gateway.Serve(ctx, w.packets) })
	part("router", func(ctx context.Context) error { return w.router.Serve(ctx, w.api) })
	part("client", w.client.run)
	doublenat := w.start(around, cfg, fail)

	err = act(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	err = errors.Join(err, doublenat.stop(), after(around))
	stopAround()
	w.cut()
	w.public.close()
	w.tunnel.close()
	others.Wait()
	return errors.Join(err, w.router.Close(), w.packets.Close())
}

// dialGateway connects to where the gateway really is.
func (w *world) dialGateway(ctx context.Context) (net.Conn, error) {
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

// stop asks the daemon to stop and waits until it has.
func (p *process) stop() error {
	p.cancel()
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case err := <-p.ended:
		return err
	case <-timer.C:
		return fmt.Errorf("doublenat did not stop within %v", stopTimeout)
	}
}

// follow opens the ports of the leases that stand and closes the others: at the
// public address for the Internet, at the tunnel address for the gateway.
func (w *world) follow(ctx context.Context) {
	var public, tunnel []port
	for _, m := range w.gateway.Mappings() {
		protocol := nat.Protocol(m.Protocol)
		public = append(public, port{protocol, m.ExternalPort})
		tunnel = append(tunnel, port{protocol, m.Target.Port()})
	}
	if err := errors.Join(w.tunnel.sync(ctx, tunnel), w.public.sync(ctx, public)); err != nil {
		select {
		case w.troubles <- err:
		default: // one is enough to say
		}
	}
}

// lease is the gateway's NAT: where a connection to the public address goes.
func (w *world) lease(p port) (hop, bool) {
	m, ok := w.gateway.Lookup(natpmp.Opcode(p.protocol), p.number)
	return hop{to: m.Target, by: "lease"}, ok
}

// rule is the router's NAT: where its rules send a connection from the tunnel.
func (w *world) rule(p port) (hop, bool) {
	to, id, ok := w.router.Match(p.protocol.String(), routerostest.TunnelInterface, p.number)
	return hop{to: to, by: "rule " + id}, ok
}

// reach returns where a public port is on this machine.
func (w *world) reach(number uint16) netip.AddrPort {
	return netip.AddrPortFrom(w.places.Public, number)
}
