package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"doublenat/internal/nat"
	"doublenat/routeros"
)

// The pauses between two attempts to find out what a connection needs to know.
// Each costs the router some ten reads.
const (
	surveyPause    = time.Second
	surveyPauseMax = 30 * time.Second
)

// maxFormer is how many earlier tunnel interfaces are remembered.
const maxFormer = 8

var _ nat.Router = (*Router)(nil)

// Place says where a gateway may be.
type Place uint8

const (
	// PlaceTunnel is the far end of a tunnel: a line to the Internet is refused, because
	// ports that open there are open to everybody, unless it is named and nothing else
	// leads to the gateway.
	PlaceTunnel Place = iota
	// PlaceAnywhere is also the box of an Internet provider.
	PlaceAnywhere
	// PlaceDefaultRoute is wherever the router's default route leads: its gateway is the
	// one, whichever that is, and no address is configured.
	PlaceDefaultRoute
)

// Config is what a [Router] needs to know.
type Config struct {
	// API says how to reach the router. OnState and Logger are set by New.
	API routeros.Config
	// Instance is the owner name in the comments: 1 to 32 letters, digits, hyphens
	// and underscores.
	Instance string
	// InInterface is the tunnel interface. Empty means that it is found from the
	// router's route to Gateway.
	InInterface string
	// Gateway is the gateway's IPv4 address. The zero value is none: packets arrive at
	// InInterface by themselves, which then has to be named. With PlaceDefaultRoute it is
	// found, see [Router.Gateway].
	Gateway netip.Addr
	// Place says where Gateway may be.
	Place Place
	// ReadOnly keeps the router from removing rules that have no place any more, which it
	// does of its own accord otherwise.
	ReadOnly bool
	// Fence is asked immediately before each command that changes something, those that the
	// router sends of its own accord included: an error refuses it, and it gets no longer than
	// the context that is returned. Nil lets all pass.
	Fence func(ctx context.Context) (context.Context, context.CancelFunc, error)
	// OnReady is called each time when rules can be made: after the start, and after
	// a connection that was lost. It must not block. Nil is nobody.
	OnReady func()
	// OnLost is called each time when the connection was lost. It must not block. Nil is nobody.
	OnLost func()
	// OnDoubt is called when the rules should be read again: something that does not last,
	// mostly, was not as it should be, or what is around them changed. It must not block.
	// Nil is nobody.
	OnDoubt func()
	// OnMove is called when the tunnel interface is another one than before, while rules
	// stand. It must not block. Nil is nobody.
	OnMove func(from, to string)
	// OnGateway is called when [Router.Gateway] returns another address than before. It must
	// not block. Nil is nobody.
	OnGateway func()
	// OnRemoved is called when it is certain that there is no place for rules any more, and
	// those that stood were removed. It must not block. Nil is nobody.
	OnRemoved func()
	// Observe is told how long each command took that the router answered, with a
	// refusal or without. It must not block. Nil is nobody.
	Observe func(time.Duration)
	// Logger gets state changes and, at debug level, each command. Nil means no log.
	Logger *slog.Logger
}

// Router implements nat.Router. Its methods may be called from any number of
// goroutines, also before Run; they wait for the connection as long as their
// context lasts.
type Router struct {
	cfg    Config
	log    *slog.Logger
	api    *routeros.Client
	client Commander     // api, behind what the methods use of it
	lost   chan struct{} // tells settle that what it knew does not hold any more
	doubt  chan struct{} // asks for another look in a while
	// looking is full while somebody reads the surroundings.
	looking chan struct{}
	deeds   *deeds

	reads, writes, errs atomic.Uint64
	addresses           atomic.Pointer[addresses]  // the router's own; nil before they were read
	gateway             atomic.Pointer[netip.Addr] // the default route's; nil before a look
	local               bool                       // the API is on loopback, and so may clients be
	exposed             atomic.Bool                // it was warned that the password can be read on its way

	mu         sync.Mutex
	changed    chan struct{}       // closed and replaced when site, problem or closed changes
	site       *site               // nil until the connection is surveyed
	problem    error               // why it cannot be used although it stands; nil if it can
	down       error               // why there is none; nil if there is one
	connected  bool                // the connection stands
	closed     bool                // Run has ended
	generation uint64              // counts what settle has to find out anew
	lastIface  string              // the tunnel interface of the last survey
	former     []string            // those before
	layout     layout              // what the last read of the NAT table told
	trouble    string              // the kind of trouble that was logged last, "" for none
	denied     map[string]struct{} // policies that are missed and commands that are refused, and that was logged
	rights     rights              // what was told of the user's rights last
	since      time.Time           // when the connection was made or lost
	success    time.Time           // when the router last did what it was told
	lastErr    error               // the last failure
	changeErr  error               // why the last change failed; nil if it did not
	changeAt   time.Time           // when it failed
	ailing     map[string]ailment  // rows of ours that the router calls invalid, by id
	strayed    time.Time           // since when the gateway is not reached through the tunnel interface; zero if it is
	login      login               // what is known of the rights of the present login
	told       string              // the mismatch of setting and route that was logged last
	hop        hop                 // what the default route has besides gateway
}

// layout is what has to be remembered of the NAT table.
type layout struct {
	known    bool   // the table was read on this connection
	catchAll string // the row before which a new rule has to stand, "" for none
	strays   int    // rows with a comment of ours on some other interface
	orphans  int    // rows of others that name a deleted interface list
	skipped  int    // rows that were not looked into
}

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Router, error) {
	if !validInstance(cfg.Instance) {
		return nil, fmt.Errorf("router: instance name %q: want 1 to %d letters, digits, - or _", cfg.Instance, maxInstance)
	}
	if cfg.Place == PlaceDefaultRoute {
		if cfg.Gateway.IsValid() {
			return nil, fmt.Errorf("router: gateway %v is configured, and that of the default route is to be found", cfg.Gateway)
		}
	} else if !cfg.Gateway.Is4() && (cfg.Gateway.IsValid() || cfg.InInterface == "") {
		return nil, fmt.Errorf("router: gateway %v is not an IPv4 address, and no interface is named", cfg.Gateway)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Router{
		cfg:     cfg,
		log:     cfg.Logger.With("component", "router"),
		lost:    make(chan struct{}, 1),
		doubt:   make(chan struct{}, 1),
		looking: make(chan struct{}, 1),
		deeds:   newDeeds(),
		ailing:  make(map[string]ailment),
		changed: make(chan struct{}),
		denied:  make(map[string]struct{}),
		local:   onLoopback(cfg.API.Address),
	}
	cfg.API.Logger = r.log
	cfg.API.OnState = r.onState
	if cfg.API.TLS == nil && (cfg.API.Dial != nil || cfg.API.Address != "") {
		cfg.API.Dial = r.dialer(cfg.API.Dial)
	}
	api, err := routeros.New(cfg.API)
	if err != nil {
		return nil, err
	}
	r.api, r.client = api, api
	return r, nil
}

// Run keeps the connection until ctx ends: it connects, finds the tunnel
// interface, and does so again after every loss. It returns nil when everything
// that it started has ended.
func (r *Router) Run(ctx context.Context) error {
	var settling sync.WaitGroup
	settling.Go(func() { r.settle(ctx) })
	settling.Go(func() { r.lookAgain(ctx) })
	settling.Go(func() { r.watch(ctx) })
	err := r.api.Run(ctx)
	settling.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.login.end(false)
	r.closed = true
	r.changedLocked()
	return err
}

// settle surveys each connection as soon as it stands, but not more often than
// the pauses allow: a router may end every connection that it gets.
func (r *Router) settle(ctx context.Context) {
	pause := surveyPause
	for ctx.Err() == nil {
		select {
		case <-r.lost: // known by now
		default:
		}
		r.mu.Lock()
		generation := r.generation
		r.mu.Unlock()
		start := time.Now()
		s, err := r.survey(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := pause
		switch {
		case err != nil:
			r.fail(err, generation)
			if missing, ok := errors.AsType[*InterfaceError](err); ok {
				r.vacate(ctx, s, missing)
			}
			pause = min(2*pause, surveyPauseMax)
		case r.publish(ctx, s, generation):
			select {
			case <-r.lost:
			case <-ctx.Done():
			}
			pause = surveyPause
			wait = pause - time.Since(start)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// publish makes s what the methods work with. It returns false if the connection
// that s was read from is gone.
func (r *Router) publish(ctx context.Context, s *site, generation uint64) bool {
	r.mu.Lock()
	if r.generation != generation {
		r.mu.Unlock()
		return false
	}
	moved := r.settleOnLocked(s)
	r.layout, r.strayed = layout{}, time.Time{}
	r.problem, r.trouble = nil, ""
	say := r.log.Info
	if r.login.renewed {
		say, r.login.renewed = r.log.Debug, false // whoever reads the log saw no loss
	}
	r.changedLocked()
	r.mu.Unlock()
	r.takeGateway(s)
	r.tellMove(moved, s)
	if moved != "" {
		r.carry(ctx, s)
	}
	say("router connected", "identity", s.identity, "version", s.version, "board", s.board, "in_interface", s.iface)
	if r.cfg.OnReady != nil {
		r.cfg.OnReady()
	}
	return true
}

// rememberLocked adds an interface to those on which this process made rules.
func (r *Router) rememberLocked(iface string) {
	if slices.Contains(r.former, iface) {
		return
	}
	former := append([]string{iface}, r.former...) // a copy: sites share the old one
	r.former = former[:min(len(former), maxFormer)]
}

// fail notes why the connection cannot be used. A connection that was lost
// meanwhile is none of the survey's findings: onState tells of it.
func (r *Router) fail(err error, generation uint64) {
	if _, ok := errors.AsType[*routeros.TransportError](err); ok {
		return
	}
	r.mu.Lock()
	if r.generation != generation {
		r.mu.Unlock()
		return
	}
	r.site, r.problem, r.lastErr = nil, err, err
	r.changedLocked()
	r.mu.Unlock()
	if _, ok := errors.AsType[*PermissionError](err); !ok { // deny has logged that
		r.complain(err)
	}
}

// onState is told by the client of its connection.
func (r *Router) onState(s routeros.State) {
	r.mu.Lock()
	stood := r.connected
	r.connected, r.down = s.Connected, s.Err
	if s.Err != nil && !errors.Is(s.Err, routeros.ErrRenewed) {
		r.lastErr = s.Err
	}
	if stood != s.Connected || r.since.IsZero() {
		r.since = time.Now()
	}
	lost := stood && !s.Connected
	if lost {
		r.forgetLocked()
		r.login.end(errors.Is(s.Err, routeros.ErrRenewed))
	}
	r.mu.Unlock()
	if lost && r.cfg.OnLost != nil {
		r.cfg.OnLost()
	}
	if s.Err != nil && !errors.Is(s.Err, routeros.ErrClosed) && !errors.Is(s.Err, routeros.ErrRenewed) {
		r.complain(s.Err)
	}
}

// forgetLocked makes settle find out everything anew.
func (r *Router) forgetLocked() {
	r.generation++
	r.site, r.problem = nil, nil
	select {
	case r.lost <- struct{}{}:
	default:
	}
}

// complain logs the trouble, once until it is over or becomes another.
func (r *Router) complain(err error) {
	advice, trouble := advise(err)
	r.mu.Lock()
	known := r.trouble == trouble
	r.trouble = trouble
	r.mu.Unlock()
	switch {
	case known:
		r.log.Debug("router unavailable", "error", err)
	case advice.Passes():
		r.log.Warn("router unavailable", "error", err, "remedy", advice)
	default: // it does not pass by itself
		r.log.Error("router unavailable", "error", err, "remedy", advice)
	}
}

// ready waits until the router can be used.
func (r *Router) ready(ctx context.Context) (*site, error) {
	for {
		r.mu.Lock()
		s, problem, down, closed, changed := r.site, r.problem, r.down, r.closed, r.changed
		r.mu.Unlock()
		switch {
		case s != nil:
			return s, nil
		case closed:
			return nil, routeros.ErrClosed
		case problem != nil:
			return nil, problem
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if down != nil {
				return nil, fmt.Errorf("waiting for the router: %w: %w", context.Cause(ctx), down)
			}
			return nil, fmt.Errorf("waiting for the router: %w", context.Cause(ctx))
		}
	}
}

// changedLocked wakes everybody in ready.
func (r *Router) changedLocked() {
	close(r.changed)
	r.changed = make(chan struct{})
}
