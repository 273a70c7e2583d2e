package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"doublenat/internal/nat"
	"doublenat/natpmp"
)

// Config has what a [Gateway] needs.
type Config struct {
	// Dial connects a UDP socket to the gateway's NAT-PMP port, see
	// [natpmp.ClientConfig]. Required.
	Dial func(ctx context.Context) (net.Conn, error)
	// Window is how many requests may be in flight; 0 means [natpmp.DefaultWindow],
	// 1 the strict order of RFC 6886 §3.1.
	Window int
	// Symmetric asks for the one mapping of each tunnel and protocol that has the same
	// port on both sides, whatever inner port the core names, until the gateway says
	// that it has no such mapping.
	Symmetric bool
	// Refresh is the time between two looks at the public address; 0 means a minute.
	Refresh time.Duration
	// MaxAge is how long the public address is good for when the gateway does not
	// confirm it any more; 0 means ten minutes.
	MaxAge time.Duration

	// Address is the gateway's address, from which announcements have to come.
	// Required with ListenAnnouncements.
	Address netip.Addr
	// ListenAnnouncements opens a socket for announcements, for example
	// [natpmp.ListenAnnouncements]. Nil is to hear none: state losses are then
	// noticed by the next reply, at the latest after Refresh.
	ListenAnnouncements func() (net.PacketConn, error)

	// OnStateLost is called once each time when the gateway lost its mappings
	// (RFC 6886 §3.6), by whichever goroutine saw the packet. It must not block.
	// Nil is nobody.
	OnStateLost func()
	// OnBack is called when the gateway does what it is asked again, after it had
	// refused, been silent, or failed to map: what was asked in vain is worth asking
	// again now. It must not block. Nil is nobody.
	OnBack func()
	// OnAddressChange is called when the public address becomes known, changes, or
	// is taken away by the gateway; the zero Addr stands for none. It must not
	// block. Nil is nobody.
	OnAddressChange func(before, now netip.Addr)
	// Observe is told how long each request took that the gateway answered, with a
	// failure or without, repetitions included. It must not block. Nil is nobody.
	Observe func(time.Duration)
	// Logger gets one line for each change of the gateway's state. Nil discards.
	Logger *slog.Logger
}

// Gateway is one VPN gateway. Its methods may be called at the same time from
// several goroutines; leases wait until Run has connected.
type Gateway struct {
	cfg    Config
	client *natpmp.Client
	log    *slog.Logger
	epoch  natpmp.EpochWatch
	// poke asks for a look at the public address before its time.
	poke chan struct{}
	// named is set once ports are asked for by name: from the start without
	// Config.Symmetric, else when the gateway refuses internal port 0.
	named atomic.Bool

	mu sync.Mutex
	// record is what requests told about the gateway. Guarded by mu.
	record record
	// address, addressAt are what the gateway said last and when; the zero Addr
	// is none. Guarded by mu.
	address   netip.Addr
	addressAt time.Time
	// announcedAt is when an announcement last made us look; zero for never. Guarded by mu.
	announcedAt time.Time
	// deaf is set while announcements cannot be heard. Guarded by mu.
	deaf bool
	// heard is when the latest packet of the gateway came. Guarded by mu.
	heard time.Time
	// count is guarded by mu.
	count counters
	// lastCreate, lastRenewal and lastLook are how the last requests of these kinds
	// went. Guarded by mu.
	lastCreate, lastRenewal, lastLook outcome
}

var _ nat.Gateway = (*Gateway)(nil)

// New checks the configuration and returns a gateway. It starts nothing.
func New(cfg Config) (*Gateway, error) {
	if cfg.ListenAnnouncements != nil && !cfg.Address.Is4() {
		return nil, errors.New("gateway: announcements need the gateway's IPv4 address to be checked against")
	}
	if cfg.Refresh < 0 || cfg.MaxAge < 0 {
		return nil, errors.New("gateway: times are negative")
	}
	if cfg.Refresh == 0 {
		cfg.Refresh = time.Minute
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = 10 * time.Minute
	}
	if cfg.OnStateLost == nil {
		cfg.OnStateLost = func() {}
	}
	if cfg.OnBack == nil {
		cfg.OnBack = func() {}
	}
	if cfg.OnAddressChange == nil {
		cfg.OnAddressChange = func(netip.Addr, netip.Addr) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{cfg: cfg, log: cfg.Logger, poke: make(chan struct{}, 1)}
	g.named.Store(!cfg.Symmetric)
	client, err := natpmp.NewClient(natpmp.ClientConfig{
		Dial: cfg.Dial, Window: cfg.Window, OnPacket: g.receive, OnStray: g.unasked, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g.client = client
	return g, nil
}

// Run connects to the gateway, keeps the public address, and hears announcements,
// until the context ends; it then returns nil. It is called once.
func (g *Gateway) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { g.keepAddress(ctx) })
	if g.cfg.ListenAnnouncements != nil {
		wg.Go(func() { g.hearAnnouncements(ctx) })
	}
	return g.client.Run(ctx)
}

// receive sees every reply of the gateway to a request in flight.
func (g *Gateway) receive(resp natpmp.Response, at time.Time) {
	g.hear(at)
	g.checkEpoch(resp.Epoch, at)
	if resp.Opcode != natpmp.OpExternalAddress {
		return
	}
	switch resp.Result {
	case natpmp.ResultSuccess:
		g.setAddress(resp.Address, at)
	case natpmp.ResultNetworkFailure:
		// The gateway itself has no address now (RFC 6886 §3.5).
		g.setAddress(netip.Addr{}, at)
	default:
		// A refusal says nothing about the address.
	}
}

// hear notes that the gateway, or somebody with its address, said something.
func (g *Gateway) hear(at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heard = at
}

// unasked sees every other reply. Most are late ones, which show that the gateway
// lives. A look because of one would give whoever forges it the next reply to forge.
func (g *Gateway) unasked(_ natpmp.Response, at time.Time) { g.hear(at) }

// checkEpoch notices when the gateway lost its state.
func (g *Gateway) checkEpoch(epoch uint32, at time.Time) {
	if !g.epoch.Observe(epoch, at) {
		return
	}
	g.mu.Lock()
	g.count.stateLosses++
	g.mu.Unlock()
	g.log.Warn("gateway lost its mappings", "epoch", epoch)
	g.lookNow()
	g.cfg.OnStateLost()
}
