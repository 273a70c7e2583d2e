// Package pool is the way out of those to whom ports are forwarded already, whoever asks: by
// a provider's web page, by a range on an Internet provider's box, or by a server of their
// own. Nothing is sent to anybody.
package pool

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
)

const (
	// refresh is the time between two looks at the public address and at the pool.
	refresh = 15 * time.Second
	// bootRefresh is that time until the sources have told: clients wait for it.
	bootRefresh = time.Second
	// maxAge is how long an address counts that no source confirms.
	maxAge = 10 * time.Minute
)

var errNotInPool = errors.New("the port is not in the pool any more")

// Source is one that may know the public address.
type Source struct {
	// Name says which one, for people.
	Name string
	// Look returns the address, the zero Addr if it knows none. The error is a failure
	// to look, which tells nothing.
	Look func(ctx context.Context) (netip.Addr, error)
}

// Config is what a [Gateway] needs to know.
type Config struct {
	// Pool has the ports at the start. Required, and may be empty.
	Pool *nat.Pool
	// Read returns the pool as it is now, and false if it is as it was read last. Nil is
	// one that never changes.
	Read func() (p *nat.Pool, changed bool, err error)
	// OnPool is told of another pool. It must not block. Nil is nobody.
	OnPool func(*nat.Pool)
	// Sources may know the public address: the first one that does is believed.
	Sources []Source
	// OnAddressChange is told of each change of the public address; the zero Addr stands
	// for none. It must not block. Nil is nobody.
	OnAddressChange func(before, now netip.Addr)
	// Logger gets one line for each change. Nil discards.
	Logger *slog.Logger
}

// Gateway grants what arrives anyway. Its methods may be called at the same time from
// several goroutines.
type Gateway struct {
	cfg     Config
	log     *slog.Logger
	pool    atomic.Pointer[nat.Pool]
	poke    chan struct{}
	settled chan struct{}
	settle  sync.Once

	mu sync.Mutex // guards what follows
	// address is the public address, from is who said so, and at when.
	address netip.Addr
	from    string
	at      time.Time
	changes uint64
	// trouble is why the pool could not be read last, "" if it could.
	trouble string
}

var _ nat.Gateway = (*Gateway)(nil)

// New returns a gateway. It starts nothing.
func New(cfg Config) *Gateway {
	if cfg.Read == nil {
		cfg.Read = func() (*nat.Pool, bool, error) { return nil, false, nil }
	}
	if cfg.OnPool == nil {
		cfg.OnPool = func(*nat.Pool) {}
	}
	if cfg.OnAddressChange == nil {
		cfg.OnAddressChange = func(netip.Addr, netip.Addr) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{cfg: cfg, log: cfg.Logger, poke: make(chan struct{}, 1), settled: make(chan struct{})}
	g.pool.Store(cfg.Pool)
	return g
}

// Run looks at the public address and at the pool now and then until the context ends. It
// returns nil.
func (g *Gateway) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-g.poke:
		case <-ctx.Done():
			return nil
		}
		g.readPool()
		g.look(ctx)
		timer.Reset(g.pause())
	}
}

// pause returns when to look again.
func (g *Gateway) pause() time.Duration {
	select {
	case <-g.settled:
		return refresh
	default:
		return bootRefresh
	}
}

// Reload looks at the pool and at the public address now.
func (g *Gateway) Reload() {
	select {
	case g.poke <- struct{}{}:
	default: // Somebody asked already.
	}
}

// readPool takes over another pool. One that cannot be read changes nothing.
func (g *Gateway) readPool() {
	p, changed, err := g.cfg.Read()
	trouble := ""
	if err != nil {
		trouble = err.Error()
	}
	g.mu.Lock()
	news := trouble != g.trouble
	g.trouble = trouble
	g.mu.Unlock()
	if news && err != nil {
		g.log.Warn("pool cannot be read, keeping the previous one", "error", err, "remedy", "mend the file that GATEWAY_POOL_FILE names")
	}
	if err != nil || !changed {
		return
	}
	g.log.Info("pool has changed", "ports", p.Len(), "before", g.Pool().Len())
	g.pool.Store(p)
	g.cfg.OnPool(p)
}

// look asks the sources for the public address, in turn.
func (g *Gateway) look(ctx context.Context) {
	certain := true
	for _, source := range g.cfg.Sources {
		addr, err := source.Look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			certain = false
		case addr.IsValid():
			g.set(addr, source.Name)
			return
		}
	}
	g.mu.Lock()
	old := !g.at.IsZero() && time.Since(g.at) > maxAge
	g.mu.Unlock()
	if certain || old {
		g.set(netip.Addr{}, "")
	}
}

// set notes the public address.
func (g *Gateway) set(addr netip.Addr, from string) {
	g.mu.Lock()
	before := g.address
	g.address, g.from, g.at = addr, from, time.Now()
	if before != addr {
		g.changes++
	}
	g.mu.Unlock()
	g.settle.Do(func() { close(g.settled) })
	if before == addr {
		return
	}
	g.log.Info("external address changed", "external_address", addr, "before", before, "source", from)
	g.cfg.OnAddressChange(before, addr)
}

// Pool returns the ports that there are now.
func (g *Gateway) Pool() *nat.Pool { return g.pool.Load() }

// External returns the public address from memory, false while it is not known.
func (g *Gateway) External() (netip.Addr, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.address, g.address.IsValid()
}

// Settled returns a channel that is closed once all sources were asked.
func (g *Gateway) Settled() <-chan struct{} { return g.settled }

// Stats returns how the pool is doing: always well. It may be called at any time.
func (g *Gateway) Stats() gateway.Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return gateway.Stats{
		State: gateway.StateOK, LastSuccess: time.Now(), Kind: gateway.KindPool, Ports: g.Pool().Len(),
		Address: g.address, AddressFrom: g.from, AddressAt: g.at, AddressChanges: g.changes,
	}
}

// Lease returns the external port that arrives at the inner port, for as long as was asked:
// nothing ends it. The error says that there is none any more.
func (g *Gateway) Lease(_ context.Context, req nat.LeaseRequest) (nat.Lease, error) {
	external, ok := g.Pool().External(req.Protocol, req.InnerPort)
	if !ok {
		return nat.Lease{}, &nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonResources, Err: errNotInPool}
	}
	return nat.Lease{ExternalPort: external, Lifetime: req.Lifetime}, nil
}

// Release does nothing: the port goes on arriving, and the core gives it to others.
func (g *Gateway) Release(context.Context, nat.Protocol, uint16) error { return nil }
