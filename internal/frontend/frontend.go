package frontend

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"doublenat/internal/datagram"
	"doublenat/internal/nat"
)

// Core makes and ends mappings. Its methods may be called at the same time from
// several goroutines. Errors that a client has to hear of are or wrap [*nat.Error].
type Core interface {
	// Map creates a mapping or renews it.
	Map(ctx context.Context, req nat.MapRequest) (nat.Grant, error)
	// Unmap deletes a mapping. One that does not exist is success.
	Unmap(ctx context.Context, key nat.Key) error
	// UnmapAll deletes all mappings of one client and one protocol. None is success.
	UnmapAll(ctx context.Context, client netip.Addr, p nat.Protocol) error
}

// Config has what a [Frontend] needs.
type Config struct {
	// Core does the work. Required.
	Core Core
	// External returns the public address from memory, or false while it is not
	// known. Required.
	External func() (netip.Addr, bool)
	// Settled is closed once the gateway has said, since the start, whether it has a public
	// address. Until then, for ten minutes at most, requests for the address wait, and what
	// fails because the gateway does not answer gets no answer. Nil means that it has.
	Settled <-chan struct{}
	// Allow has the prefixes from which clients may ask. Nil means
	// [DefaultAllow]; empty and not nil means nobody.
	Allow []netip.Prefix
	// Deny has prefixes from which clients may not ask, although Allow has them.
	Deny []netip.Prefix
	// Exclude says whether an address is not a client's: the router's and the
	// tunnel's own addresses, to which nothing must be forwarded. It must not
	// block. Nil excludes none.
	Exclude func(netip.Addr) bool
	// Relay says whether an address is one behind which a host hides its clients: a
	// bridge's, or a container network's gateway. They are served, and when nobody else
	// asks that is told. It must not block. Nil knows of none.
	Relay func(netip.Addr) bool
	// Holds says whether a client has a mapping; such a client is never new. It must
	// not block. Nil knows of none.
	Holds func(netip.Addr) bool
	// ClientRate is how many requests of one client are let in a second, and four
	// times as many at once. 0 means no bound.
	ClientRate int
	// NewClientRate is how many clients are let in a second that have no mapping and
	// were not seen lately, and four times as many at once. 0 means no bound.
	NewClientRate int
	// CreateBurst is how many new mappings one client may make at once, and again every
	// four minutes: each costs the router writes to its flash. What comes beyond is
	// answered with "out of resources". 0 means no bound.
	CreateBurst int
	// CreateRate is how many new mappings all clients together may make in a second, and
	// CreateRateBurst how many at once: one host with forged addresses is as many clients
	// as it likes. Each mapping costs the router two writes, one when it is made and one
	// when it ends, however it ends; so the router is written to at most twice as often.
	// A quarter of the burst is kept for clients with a mapping. What comes beyond gets no
	// answer, so that clients repeat it. [Frontend.Observe] has to be told of what is made.
	// A CreateRate of 0 means no bound; else the burst is at least 1.
	CreateRate, CreateRateBurst int
	// Mapped says whether there is a mapping for the key, so that a request for it is a
	// renewal. It must not block. Nil knows of none.
	Mapped func(nat.Key) bool
	// Ports says whether clients may map this internal port. Nil means all.
	Ports func(port uint16) bool
	// ZeroPort passes requests for internal port 0 on, as ProtonVPN's gateways grant
	// them: the core has to know such mappings, and which ports they may lead to. Else
	// they are refused.
	ZeroPort bool
	// StrictNonce has a mapping renewed and ended with the nonce only with which it was made,
	// as RFC 6887 §11.3 has it. Else only its end is guarded: programs draw another nonce
	// whenever they start.
	StrictNonce bool
	// Mappings returns all mappings, ordered by client and port, and Since since when the
	// public address has been what it is. Both are for UPnP, whose clients ask what they
	// have; they must not block. Nil is none, and not known.
	Mappings func() []nat.Mapping
	Since    func() time.Time
	// Logger gets a debug line for each request. Nil discards.
	Logger *slog.Logger
}

// DefaultAllow returns the prefixes of private networks (RFC 1918), of the space
// between a provider's NAT and its customers (RFC 6598), and of loopback.
func DefaultAllow() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"),
		netip.MustParsePrefix("127.0.0.0/8"),
	}
}

// setDefaults puts something that says no, or yes to all, in the place of what is nil.
func (cfg *Config) setDefaults() {
	nobody := func(netip.Addr) bool { return false }
	if cfg.Exclude == nil {
		cfg.Exclude = nobody
	}
	if cfg.Relay == nil {
		cfg.Relay = nobody
	}
	if cfg.Holds == nil {
		cfg.Holds = nobody
	}
	if cfg.Mapped == nil {
		cfg.Mapped = func(nat.Key) bool { return false }
	}
	if cfg.Ports == nil {
		cfg.Ports = func(uint16) bool { return true }
	}
	if cfg.Mappings == nil {
		cfg.Mappings = func() []nat.Mapping { return nil }
	}
	if cfg.Since == nil {
		cfg.Since = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
}

// Frontend decides about the requests of all protocols in which clients ask.
type Frontend struct {
	core     Core
	external func() (netip.Addr, bool)
	boot     boot
	fence    fence
	gate     *gate
	mapped   func(nat.Key) bool
	alarms   alarms
	keepers  keepers
	ports    func(uint16) bool
	zeroPort bool
	log      *slog.Logger
	count    counters
	mappings func() []nat.Mapping
	since    func() time.Time
	// otherPorts is set while the gateway grants other ports than are asked for.
	otherPorts atomic.Bool
	unheard    unheard

	mu sync.Mutex
	// works has the requests in work, by who asked for what. An entry goes when
	// its work ends. Guarded by mu.
	works map[task]*work
	// deletions is how many of the works end mappings. Guarded by mu.
	deletions int
}

// New checks the configuration and returns a frontend. It starts nothing.
func New(cfg Config) (*Frontend, error) {
	switch {
	case cfg.Core == nil:
		return nil, errors.New("frontend: a core is required")
	case cfg.External == nil:
		return nil, errors.New("frontend: a source of the public address is required")
	case cfg.ClientRate < 0 || cfg.NewClientRate < 0 || cfg.CreateBurst < 0 || cfg.CreateRate < 0:
		return nil, errors.New("frontend: a rate is negative")
	case cfg.CreateRate > 0 && cfg.CreateRateBurst < 1:
		return nil, errors.New("frontend: a rate for all clients needs a burst")
	}
	if cfg.Allow == nil {
		cfg.Allow = DefaultAllow()
	}
	for _, p := range slices.Concat(cfg.Allow, cfg.Deny) {
		if !p.IsValid() {
			return nil, errors.New("frontend: a prefix is not valid")
		}
	}
	cfg.setDefaults()
	return &Frontend{
		core:     cfg.Core,
		external: cfg.External,
		boot:     newBoot(cfg.Settled),
		fence:    fence{allow: slices.Clone(cfg.Allow), deny: slices.Clone(cfg.Deny), exclude: cfg.Exclude, relay: cfg.Relay},
		gate:     newGate(&cfg),
		mapped:   cfg.Mapped,
		alarms:   alarms{log: cfg.Logger},
		keepers:  keepers{strict: cfg.StrictNonce, mapped: cfg.Mapped, of: make(map[nat.Key]keeper)},
		ports:    cfg.Ports,
		zeroPort: cfg.ZeroPort,
		log:      cfg.Logger,
		mappings: cfg.Mappings,
		since:    cfg.Since,
		works:    make(map[task]*work),
	}, nil
}

// serve decides about one request. It returns false for one that gets no answer: a copy of
// a request that somebody is at work on, or one of nobody's.
func (f *Frontend) serve(ctx context.Context, from datagram.Arrival, req request) (outcome, bool) {
	if !f.isClient(from.Client.Addr()) {
		// Second fence: a server that was not given Admit still serves clients only.
		return outcome{}, false
	}
	out, ok := f.decide(ctx, from, req)
	if !ok {
		f.count.duplicates.Add(1)
		f.log.DebugContext(ctx, "copy of a request in work", "client", from.Client, "want", req.want.String(),
			"internal_port", req.internalPort)
	}
	return out, ok
}

// decide returns the outcome, or false for a copy of a request that somebody is
// at work on. What needs no work is decided at once.
func (f *Frontend) decide(ctx context.Context, from datagram.Arrival, req request) (outcome, bool) {
	switch {
	case req.want == wantAddress:
		if addr, ok := f.external(); ok {
			return outcome{address: addr}, true
		}
		if !f.boot.over() {
			return f.share(ctx, from, req)
		}
		return outcome{err: errNoAddress}, true
	case req.want == wantMapping && !f.mappable(req.internalPort):
		// What a former policy allowed may still be deleted.
		return outcome{err: errPort}, true
	default:
		return f.share(ctx, from, req)
	}
}

// mappable says whether clients may map an internal port. RFC 6886 has no mapping for
// port 0; for those who want it nevertheless, the core looks at the port that it becomes.
func (f *Frontend) mappable(port uint16) bool {
	if port == 0 {
		return f.zeroPort
	}
	return f.ports(port)
}

// withAddress makes a mapping for a client that has to be told its public address too: there
// is none while that is not known.
func (f *Frontend) withAddress(ctx context.Context, from datagram.Arrival, req request) outcome {
	before, ok := f.external()
	if !ok {
		out := f.awaitAddress(ctx)
		if out.err != nil {
			return out
		}
		before = out.address
	}
	out := f.hush(f.establish(ctx, from.Client.Addr(), from.At, req))
	if out.address, ok = f.external(); !ok {
		out.address = before
	}
	return out
}

// perform hands the request to the core. One for the public address waits for that.
func (f *Frontend) perform(ctx context.Context, from datagram.Arrival, req request) outcome {
	client := from.Client.Addr()
	switch {
	case req.want == wantAddress:
		return f.awaitAddress(ctx)
	case req.want == wantMapping && req.by == nat.PCP:
		return f.withAddress(ctx, from, req)
	case req.want == wantMapping:
		return f.hush(f.establish(ctx, client, from.At, req))
	case req.internalPort != 0:
		return outcome{err: f.core.Unmap(ctx, req.key(client))}
	}
	var errs []error
	for _, p := range req.protocols() {
		errs = append(errs, f.core.UnmapAll(ctx, client, p))
	}
	return outcome{err: errors.Join(errs...)}
}
