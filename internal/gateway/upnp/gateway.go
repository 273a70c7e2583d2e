package upnp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"doublenat/igd"
	"doublenat/internal/gateway"
	"doublenat/internal/nat"
)

// Config has what a [Gateway] needs.
type Config struct {
	// Device says where the box is and how it is reached.
	Device igd.Config
	// Self returns the router's own address on the interface to the box, the only one to
	// which boxes map; the zero Addr while it is not known. It may change. It must not
	// block. Required.
	Self func() netip.Addr
	// Instance is the name of this doublenat, which the box's own list of mappings shows.
	Instance string
	// Look is the time between two looks at the public address and at the mappings; 0
	// means a minute.
	Look time.Duration
	// MaxAge is how long the public address is good for when the box does not confirm it
	// any more; 0 means ten minutes.
	MaxAge time.Duration

	// OnStateLost is called when the box has forgotten a mapping. It must not block. Nil is
	// nobody.
	OnStateLost func()
	// OnBack is called when the box answers again after it had not. It must not block. Nil
	// is nobody.
	OnBack func()
	// OnAddressChange is called when the public address becomes known, changes, or is not
	// known any more; the zero Addr stands for none. It must not block. Nil is nobody.
	OnAddressChange func(before, now netip.Addr)
	// Observe is told how long each call took that the box answered. It must not block. Nil
	// is nobody.
	Observe func(time.Duration)
	// Logger gets one line for each change of the box's state. Nil discards.
	Logger *slog.Logger
}

const (
	// maxLease is the longest lease that is asked for, what RFC 6886 §3.3 recommends. A
	// permanent mapping is told as one of this time, too.
	maxLease = 2 * time.Hour
	// retryAfter is the wait after a look without an answer.
	retryAfter = 5 * time.Second
	// bootRetryAfter is the wait until the box has been found once: programs that started
	// before it wait for its first answer.
	bootRetryAfter = time.Second
	// lookPause is the least time between two looks, whatever they are for.
	lookPause = time.Second
)

// Gateway is one box. Its methods may be called at the same time from several
// goroutines; leases wait until Run has found the box.
type Gateway struct {
	cfg    Config
	client *igd.Client
	log    *slog.Logger
	// poke asks for a look before its time, or that the times of mappings are looked at.
	poke chan struct{}
	// begun is closed when the box was found and its mappings are known.
	begun chan struct{}
	table table
	// settled is closed by settle, once.
	settled chan struct{}
	settle  sync.Once

	mu       sync.Mutex // guards what follows
	health   health
	address  address
	count    counters
	habits   habits
	patience time.Duration // with each call
	found    igd.Device    // what was told in the log
	looks    looks
	last     outcomes
}

var _ nat.Gateway = (*Gateway)(nil)

// New checks the configuration and returns a gateway. It starts nothing.
func New(cfg Config) (*Gateway, error) {
	if cfg.Self == nil {
		return nil, errors.New("upnp: nobody tells the router's own address")
	}
	if cfg.Look < 0 || cfg.MaxAge < 0 {
		return nil, errors.New("upnp: times are negative")
	}
	if cfg.Look == 0 {
		cfg.Look = time.Minute
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
	if cfg.Observe == nil {
		cfg.Observe = func(time.Duration) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	client, err := igd.NewClient(cfg.Device)
	if err != nil {
		return nil, fmt.Errorf("upnp: %w", err)
	}
	return &Gateway{
		cfg: cfg, client: client, log: cfg.Logger, poke: make(chan struct{}, 1), begun: make(chan struct{}), settled: make(chan struct{}),
		table: newTable(), patience: minPatience,
	}, nil
}

// Run finds the box, keeps the public address, and watches the mappings until the
// context ends; it then returns nil. It is called once.
func (g *Gateway) Run(ctx context.Context) error {
	defer g.client.Close()
	for !g.begin(ctx) {
		if !wait(ctx, bootRetryAfter, nil) {
			return nil
		}
	}
	for ctx.Err() == nil {
		began, next := time.Now(), g.look(ctx)
		for ctx.Err() == nil && time.Now().Before(next) {
			g.endMappings(ctx)
			if g.wait(ctx, next) {
				wait(ctx, time.Until(began.Add(lookPause)), nil)
				break
			}
		}
	}
	// What was to end by now is not left to nobody.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	g.endMappings(last)
	return nil
}

// begin finds the box, and the mappings that it has from before.
func (g *Gateway) begin(ctx context.Context) bool {
	start := time.Now()
	limit, cancel := context.WithTimeout(ctx, maxPatience)
	defer cancel()
	_, err := g.client.Discover(limit)
	g.judge(ctx, err, start)
	g.note(kindLook, err)
	if err != nil || !g.cfg.Self().IsValid() {
		return false
	}
	g.takeInventory(ctx)
	close(g.begun)
	return true
}

// ready waits until the box was found.
func (g *Gateway) ready(ctx context.Context) error {
	select {
	case <-g.begun:
		return nil
	default:
	}
	select {
	case <-g.begun:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.last[kindLook].err; err != nil {
		return err
	}
	return errNotReady
}

// errNotReady is a box that was not asked yet.
var errNotReady = errors.New("the box, or the router's address towards it, is not known yet")

// lookNow asks for a look before its time.
func (g *Gateway) lookNow() {
	g.mu.Lock()
	g.looks.due = true
	g.mu.Unlock()
	g.stir()
}

// stir makes Run see to what is due.
func (g *Gateway) stir() {
	select {
	case g.poke <- struct{}{}:
	default: // somebody asked already
	}
}

// wait waits for the next look, or until a mapping has to be ended or something else
// happened. It returns true if a look is asked for.
func (g *Gateway) wait(ctx context.Context, next time.Time) bool {
	if end := g.table.nextEnd(); !end.IsZero() && end.Before(next) {
		next = end
	}
	wait(ctx, time.Until(next), g.poke)
	g.mu.Lock()
	defer g.mu.Unlock()
	due := g.looks.due
	g.looks.due = false
	return due
}

// wait waits for the duration, or until it is woken. It returns false when the context ended.
func wait(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// State is as package gateway has it, so that others need not tell the kinds apart.
type State = gateway.State
