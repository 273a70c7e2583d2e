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
	"doublenat/internal/remedy"
	"doublenat/natpmp"
)

// Config has what a [Gateway] needs.
type Config struct {
	// Dial connects a UDP socket to the gateway's NAT-PMP port, see
	// [natpmp.ClientConfig]. Required.
	Dial func(ctx context.Context) (net.Conn, error)
	// Window is how many requests may be in flight at first, see [natpmp.ClientConfig];
	// 0 means [natpmp.DefaultWindow], 1 the strict order of RFC 6886 §3.1.
	Window int
	// Symmetric asks for the one mapping of each tunnel and protocol that has the same
	// port on both sides, whatever inner port the core names, until the gateway says
	// that it has no such mapping.
	Symmetric bool
	// Refresh is the time between two looks at the public address; 0 means 20 seconds.
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
	// Link returns the router's way to the gateway, for what an operator is told. Nil: it is
	// never known.
	Link func() remedy.Link
	// OnClockStood is called when more time has passed for the gateway than for us
	// (RFC 6887 §8.5), as OnStateLost is: leases may be over that we think stand. Nil is
	// nobody.
	OnClockStood func()
	// OnBack is called when the gateway does what it is asked again, after it had
	// refused, been silent, or failed to map: what was asked in vain is worth asking
	// again now. It must not block. Nil is nobody.
	OnBack func()
	// OnAddressChange is called when the public address becomes known, changes, is
	// taken away by the gateway, or was not confirmed for MaxAge; the zero Addr stands
	// for none. It must not block. Nil is nobody.
	OnAddressChange func(before, now netip.Addr)
	// Observe is told how long each request took that the gateway answered, with a
	// failure or without, repetitions included. It must not block. Nil is nobody.
	Observe func(time.Duration)
	// Logger gets one line for each change of the gateway's state. Nil discards.
	Logger *slog.Logger
}

// client asks the gateway, by NAT-PMP or in its terms: those are what the core thinks in,
// and what operators are told about.
type client interface {
	// Run connects and reads until the context ends.
	Run(ctx context.Context) error
	// ExternalAddress asks for the public address; the zero Addr if the gateway is well
	// and does not tell.
	ExternalAddress(ctx context.Context) (netip.Addr, error)
	// Map asks for a mapping or for the renewal of one.
	Map(ctx context.Context, r natpmp.MapRequest) (natpmp.Mapping, error)
	// Unmap ends a mapping.
	Unmap(ctx context.Context, op natpmp.Opcode, internalPort uint16) error
	// Stats counts packets.
	Stats() natpmp.ClientStats
}

var _ client = (*natpmp.Client)(nil)

// Gateway is one VPN gateway. Its methods may be called at the same time from
// several goroutines; leases wait until Run has connected.
type Gateway struct {
	cfg    Config
	client client
	log    *slog.Logger
	epoch  natpmp.EpochWatch
	// heardOther takes in announcements of another version than NAT-PMP's; nil drops them.
	heardOther func(packet []byte, at time.Time)
	// byPCP is set if the gateway is asked by PCP, for what an operator is told.
	byPCP bool
	// poke asks for a look at the public address before its time.
	poke chan struct{}
	// settled is closed by settle, once.
	settled chan struct{}
	settle  sync.Once
	// named is set once ports are asked for by name: from the start without
	// Config.Symmetric, else when the gateway refuses internal port 0.
	named atomic.Bool
	// any knows how to ask for any port.
	any anyPort

	mu sync.Mutex
	// record is what requests told about the gateway. Guarded by mu.
	record record
	// address, addressAt are what the gateway said last and when; the zero Addr
	// is none. Guarded by mu.
	address   netip.Addr
	addressAt time.Time
	// told is what OnAddressChange was told last. Guarded by mu.
	told netip.Addr
	// odd has what the log was told of odd replies. Guarded by mu.
	odd map[natpmp.Oddity]oddLine
	// nonsense is what it said last as its address, whatever that is. Guarded by mu.
	nonsense netip.Addr
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

// New checks the configuration and returns a gateway that is asked by NAT-PMP. It starts
// nothing.
func New(cfg Config) (*Gateway, error) {
	g, err := newGateway(cfg)
	if err != nil {
		return nil, err
	}
	g.client, err = natpmp.NewClient(natpmp.ClientConfig{
		Dial: cfg.Dial, Window: cfg.Window, OnPacket: g.receive, OnStray: g.unasked, OnOdd: g.replied, Logger: g.log,
	})
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return g, nil
}

// newGateway returns a gateway that has nobody yet who asks it.
func newGateway(cfg Config) (*Gateway, error) {
	if cfg.ListenAnnouncements != nil && !cfg.Address.Is4() {
		return nil, errors.New("gateway: announcements need the gateway's IPv4 address to be checked against")
	}
	if cfg.Refresh < 0 || cfg.MaxAge < 0 {
		return nil, errors.New("gateway: times are negative")
	}
	if cfg.Refresh == 0 {
		cfg.Refresh = 20 * time.Second
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = 10 * time.Minute
	}
	if cfg.OnStateLost == nil {
		cfg.OnStateLost = func() {}
	}
	if cfg.OnClockStood == nil {
		cfg.OnClockStood = func() {}
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
	g := &Gateway{cfg: cfg, log: cfg.Logger, poke: make(chan struct{}, 1), settled: make(chan struct{}), odd: make(map[natpmp.Oddity]oddLine)}
	g.named.Store(!cfg.Symmetric)
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
