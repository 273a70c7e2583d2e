package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/datagram"
	"doublenat/internal/frontend"
	"doublenat/internal/gateway/pool"
	"doublenat/internal/hook"
	"doublenat/internal/lock"
	"doublenat/internal/nat"
	"doublenat/internal/ops"
	"doublenat/internal/readonly"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/internal/static"
	"doublenat/natpmp"
)

// Options is what a [Daemon] is made from.
type Options struct {
	// Config says what to do. It has to come from [config.Parse].
	Config config.Config
	// Logger gets state changes; nil discards them.
	Logger *slog.Logger
	// Version is the program's version, for the log.
	Version string
	// OnReady is called once clients are answered. Nil is nobody.
	OnReady func()
	// Supervise runs beside the daemon until its context ends, and may ask at any time
	// whether the daemon lives, see [Daemon.Alive]. Nil is nobody.
	Supervise func(ctx context.Context, alive func() error)
	// Refresh asks for a look at the router now, with each value. Nil never does.
	Refresh <-chan struct{}
	// OnEvent is told of what happens to mappings, see [nat.Config]. Nil is nobody.
	OnEvent func(nat.Event)
	// Host is the name of the host, which is what the daemon is called where LOCK_NAME is not
	// set. Empty is the instance's.
	Host string
	// Environ are the variables of the process, by which a pod finds the API server that keeps its
	// lock. Nil is none.
	Environ map[string]string
	// LockStore makes the store of the lock for one term, given the daemon's name. Nil makes
	// the one that LOCK names. It is not called unless LOCK is set.
	LockStore func(name string) (lock.Store, error)
	// terms is how often this process was the active one before.
	terms int
	// Network is how the world is reached; its zero value is the host's network.
	Network Network
	// Random returns numbers from 0 up to 1 for jitter, see [nat.Config]. Nil means
	// a good source.
	Random func() float64
}

// Daemon is the whole program below its command line.
type Daemon struct {
	cfg     config.Config
	log     *slog.Logger
	version string
	onReady func()
	net     Network

	supervise func(ctx context.Context, alive func() error)
	refreshed <-chan struct{}
	probe     probe

	epoch     *natpmp.Epoch
	router    *router.Router
	gateway   wayOut
	pool      *pool.Gateway // the gateway, nil if it is of another kind
	service   *nat.Service
	static    *static.Keeper
	hooks     *hook.Notifier
	frontend  *frontend.Frontend
	server    *datagram.Server
	upnp      *upnpServer // nil unless UPnP is spoken
	updater   *frontend.Updater
	announcer *announcer
	holders   *holders
	notebook  *readonly.Notebook // nil unless nothing is to be changed
	term      *term              // nil unless others may be the active one
	monitor   *ops.Monitor
	pages     *ops.Server
	observe   func(nat.Event)
	// reflection asks for the pool's public address, nil unless a STUN server is set.
	reflection *reflection
	// stopping is set once everything is taken down.
	stopping atomic.Bool
	// internal has the addresses at which clients may ask.
	internal []netip.Prefix
	// address is the last public address that was known, nil for none so far.
	address atomic.Pointer[netip.Addr]
	// since is when it became what it is, known or not. It is never nil, and keeps the monotonic
	// clock: somebody may set the other one.
	since atomic.Pointer[time.Time]
}

// New makes all parts and connects them. It starts nothing.
func New(opts Options) (*Daemon, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Daemon{
		cfg: opts.Config, log: opts.Logger, version: opts.Version, onReady: opts.OnReady,
		net: opts.Network.withDefaults(), epoch: natpmp.NewEpoch(),
		announcer: newAnnouncer(), holders: newHolders(), observe: opts.OnEvent,
		supervise: opts.Supervise, refreshed: opts.Refresh,
	}
	d.sinceNow()
	for _, step := range []func(Options) error{d.makeNotebook, d.makeFence, d.makeRouter, d.makeKeeper, d.makeGateway, d.makeService, d.makeStatic, d.makeHooks, d.makeFrontend, d.makeUPnP, d.makeOps} {
		if err := step(opts); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *Daemon) makeRouter(opts Options) (err error) {
	api := RouterAPI(d.cfg)
	api.Dial, api.Random = d.net.DialRouter, opts.Random
	d.router, err = router.New(router.Config{
		API:      api,
		Instance: d.cfg.Instance, InInterface: d.cfg.InInterface, Gateway: d.cfg.Gateway.Addr(), Place: Place(d.cfg),
		// The first look at the router is the reconciler's own.
		OnReady:   func() { d.whenActive(d.service.RouterBack)(); d.monitor.Changed() },
		OnLost:    func() { d.monitor.Changed() },
		OnDoubt:   func() { d.whenActive(d.service.Reconcile)() },
		OnRemoved: func() { d.whenActive(d.service.RulesGone)() },
		OnMove:    func(from, to string) { d.monitor.RouteMoved(from, to) },
		OnGateway: func() { d.gatewayMoved() },
		ReadOnly:  d.notebook != nil,
		Fence:     d.guard(),
		Observe:   d.took(ops.HopRouter),
		Logger:    d.log,
	})
	return err
}

func (d *Daemon) makeService(opts Options) (err error) {
	onRouter, onGateway := d.layers()
	d.service, err = nat.New(nat.Config{
		Router: onRouter, Gateway: onGateway, Instance: d.cfg.Instance,
		Logger: d.log.With("component", "nat"), OnEvent: d.mappingChanged,
		Pool: d.cfg.Pool, Delivery: d.cfg.Delivery, Symmetric: d.cfg.Symmetric, Policy: d.cfg.LeasePolicy, Companion: d.cfg.Companion,
		ZeroPort: d.cfg.ZeroPort, TargetPorts: d.allows,
		MaxLifetime: d.cfg.MaxLifetime, MaxMappings: d.cfg.MaxMappings, MaxMappingsPerClient: d.cfg.MaxMappingsPerClient,
		KeepOnShutdown: d.cfg.Shutdown == config.ShutdownKeep, Contested: remedy.Contested(d.cfg.Instance),
		Random: opts.Random,
	})
	return err
}

// addressChanged is told by the gateway. The first address is news, one that differs
// from the last ends everything that clients know (design decision 6), also when
// there was none for a while in between.
func (d *Daemon) addressChanged(before, now netip.Addr) {
	if now.IsValid() {
		if last := d.address.Swap(&now); last != nil && *last != now {
			d.monitor.AddressChanged(*last, now)
			d.stateLost()
		}
	}
	d.sinceNow()
	d.hooks.Address(before, now)
	d.announcer.Announce()
}

// sinceNow notes that the public address became what it is, known or not.
func (d *Daemon) sinceNow() {
	now := time.Now()
	d.since.Store(&now)
}

// mappingChanged is told by the core. A port that changed behind its client's back,
// or a mapping that was lost, is announced, so that clients come and ask (RFC 6886
// §3.6: state that is lost for any reason is a new epoch).
func (d *Daemon) mappingChanged(ev nat.Event) {
	d.holders.observe(ev)
	d.static.Observe(ev)
	d.frontend.Observe(ev)
	d.updater.Observe(ev)
	d.hooks.Mapping(ev)
	d.monitor.Event(ev)
	if ev.Kind == nat.EventLost || ev.Kind == nat.EventPortChanged && ev.Untold {
		d.stateLost()
		d.announcer.Announce()
	}
	if d.observe != nil {
		d.observe(ev)
	}
}

// Run answers clients until ctx ends, then takes everything down and returns when
// nothing of the daemon is left running. An error is a socket that cannot be
// opened or died, or what could not be taken down; a router or a gateway out of
// reach is none. Of several that share a lock it stands by before; the error wraps
// [ErrTermOver] if it lost the lock.
func (d *Daemon) Run(ctx context.Context) error {
	s, err := d.open(ctx)
	if err != nil {
		return err
	}
	// It is closed last: to many programs a closed port is a failure for hours.
	defer s.clients.Close()
	d.log.InfoContext(ctx, "starting", "version", d.version, "listen", d.cfg.Listen.String(),
		"gateway", upstream(d.cfg, d.cfg.Pool), "router", d.cfg.Router.String())
	if d.term != nil {
		s.device.close() // It is opened again by the active one: who searches is not to find a standby.
		s.device = deviceSockets{}
	}
	l := d.begin(ctx, s)
	if d.onReady != nil {
		d.onReady() // also to stand by is to be ready
	}
	if d.stand(l.aboveCtx) { //nolint:contextcheck // It inherits ctx, and ends too if a part fails.
		l.activate(s)
	}
	err = l.wait()
	d.log.InfoContext(context.WithoutCancel(ctx), "stopped", "clean", err == nil)
	return err // the process says it as its last word
}

func wrap(what string, err error) error {
	if err == nil || what == "" {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// announce tells the clients of the start and of changes until ctx ends.
func (d *Daemon) announce(ctx context.Context, conn net.PacketConn) error {
	to := d.newLinks(conn)
	if d.cfg.Announce.Mode == config.AnnounceOff {
		to.look() // It says so.
		return nil
	}
	look := func() []natpmp.AnnouncementLink {
		if d.role() != roleActive {
			return nil // Another one speaks now.
		}
		return to.look()
	}
	return d.announcer.run(ctx, natpmp.AnnouncerConfig{
		Links: d.inAllWords(look), Epoch: d.epoch, Address: d.gateway.External, Logger: d.log.With("component", "announcer"),
	})
}

// Mappings returns all mappings, ordered by client and port.
func (d *Daemon) Mappings() []nat.Mapping { return d.service.Mappings() }
