package frontend

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"doublenat/internal/nat"
	"doublenat/natpmp"
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
	// Allow has the prefixes from which clients may ask. Nil means
	// [DefaultAllow]; empty and not nil means nobody.
	Allow []netip.Prefix
	// Deny has prefixes from which clients may not ask, although Allow has them.
	Deny []netip.Prefix
	// Exclude says whether an address is not a client's: the router's and the
	// tunnel's own addresses, to which nothing must be forwarded. It must not
	// block. Nil excludes none.
	Exclude func(netip.Addr) bool
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
	// Mapped says whether there is a mapping for the key, so that a request for it is a
	// renewal. It must not block. Nil knows of none.
	Mapped func(nat.Key) bool
	// Ports says whether clients may map this internal port. Nil means all.
	Ports func(port uint16) bool
	// ZeroPort passes requests for internal port 0 on, as ProtonVPN's gateways grant
	// them: the core has to know such mappings, and which ports they may lead to. Else
	// they are refused.
	ZeroPort bool
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

// Frontend is the handler of a [natpmp.Server].
type Frontend struct {
	core     Core
	external func() (netip.Addr, bool)
	fence    fence
	gate     *gate
	mapped   func(nat.Key) bool
	alarms   alarms
	ports    func(uint16) bool
	zeroPort bool
	log      *slog.Logger
	count    counters

	mu sync.Mutex
	// works has the requests in work, by who asked for what. An entry goes when
	// its work ends. Guarded by mu.
	works map[task]*work
}

var _ natpmp.Handler = (*Frontend)(nil)

// New checks the configuration and returns a frontend. It starts nothing.
func New(cfg Config) (*Frontend, error) {
	switch {
	case cfg.Core == nil:
		return nil, errors.New("frontend: a core is required")
	case cfg.External == nil:
		return nil, errors.New("frontend: a source of the public address is required")
	case cfg.ClientRate < 0 || cfg.NewClientRate < 0 || cfg.CreateBurst < 0:
		return nil, errors.New("frontend: a rate is negative")
	}
	if cfg.Allow == nil {
		cfg.Allow = DefaultAllow()
	}
	for _, p := range slices.Concat(cfg.Allow, cfg.Deny) {
		if !p.IsValid() {
			return nil, errors.New("frontend: a prefix is not valid")
		}
	}
	nobody := func(netip.Addr) bool { return false }
	if cfg.Exclude == nil {
		cfg.Exclude = nobody
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
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Frontend{
		core:     cfg.Core,
		external: cfg.External,
		fence:    fence{allow: slices.Clone(cfg.Allow), deny: slices.Clone(cfg.Deny), exclude: cfg.Exclude},
		gate:     newGate(cfg.ClientRate, cfg.NewClientRate, cfg.CreateBurst, cfg.Holds),
		mapped:   cfg.Mapped,
		alarms:   alarms{log: cfg.Logger},
		ports:    cfg.Ports,
		zeroPort: cfg.ZeroPort,
		log:      cfg.Logger,
		works:    make(map[task]*work),
	}, nil
}

// ServeNATPMP decides about one request.
func (f *Frontend) ServeNATPMP(ctx context.Context, client netip.AddrPort, req natpmp.Request) natpmp.Reply {
	start := time.Now()
	if !f.isClient(client.Addr()) {
		// Second fence: a server that was not given Admit still serves clients only.
		return natpmp.Silence()
	}
	out, ok := f.decide(ctx, client, req)
	if !ok {
		f.count.duplicates.Add(1)
		f.log.DebugContext(ctx, "copy of a request in work", "client", client, "opcode", req.Opcode,
			"internal_port", req.InternalPort)
		return natpmp.Silence()
	}
	f.count.answered(req.Opcode, out.result)
	f.log.DebugContext(ctx, "request answered", "client", client, "opcode", req.Opcode,
		"internal_port", req.InternalPort, "suggested_port", req.SuggestedExternalPort, "requested", req.Lifetime,
		"result", out.result, "external_port", out.port, "lifetime", out.lifetime, "took", time.Since(start))
	return out.reply(req)
}

// decide returns the outcome, or false for a copy of a request that somebody is
// at work on. What needs no work is decided at once.
func (f *Frontend) decide(ctx context.Context, client netip.AddrPort, req natpmp.Request) (outcome, bool) {
	switch {
	case req.Opcode == natpmp.OpExternalAddress:
		if addr, ok := f.external(); ok {
			return outcome{address: addr}, true
		}
		return outcome{result: natpmp.ResultNetworkFailure}, true
	case req.Lifetime != 0 && !f.mappable(req.InternalPort):
		// What a former policy allowed may still be deleted.
		return outcome{result: natpmp.ResultNotAuthorized}, true
	default:
		return f.share(ctx, client, req)
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

// zeroWish is what scripts for ProtonVPN suggest with internal port 0. It means
// "the same port on both sides" and not port 1.
const zeroWish = 1

// suggestion returns the external port that the client would like, 0 for any.
func suggestion(req natpmp.Request) uint16 {
	if req.InternalPort == 0 && req.SuggestedExternalPort == zeroWish {
		return 0
	}
	return req.SuggestedExternalPort
}

// perform hands the request to the core.
func (f *Frontend) perform(ctx context.Context, client netip.Addr, req natpmp.Request) outcome {
	key := nat.Key{Client: client, Protocol: nat.Protocol(req.Opcode), InternalPort: req.InternalPort}
	switch {
	case req.Lifetime != 0:
		return f.establish(ctx, key, req)
	case req.InternalPort == 0:
		return outcome{result: resultOf(f.core.UnmapAll(ctx, client, key.Protocol))}
	default:
		return outcome{result: resultOf(f.core.Unmap(ctx, key))}
	}
}
