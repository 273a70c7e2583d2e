package nat_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/nat"
)

// router is a router in memory: it keeps rules, takes its time and fails on demand.
type router struct {
	mu       sync.Mutex
	rules    []nat.Rule
	used     map[nat.Protocol]*nat.PortSet
	wide     map[nat.Protocol]*nat.PortSet
	forwards []nat.Forward
	lastID   int
	latency  time.Duration
	journal  []string

	// before and after may return what a command fails with, before or after it was executed.
	before, after func(op string, r nat.Rule) error
}

var errDown = errors.New("connection refused")

func routerError(reason nat.Reason, ambiguous bool) error {
	return &nat.Error{Hop: nat.HopRouter, Reason: reason, Ambiguous: ambiguous, Err: errDown}
}

// failOn makes some commands fail.
func failOn(reason nat.Reason, ambiguous bool, commands ...string) func(string, nat.Rule) error {
	return func(op string, _ nat.Rule) error {
		if slices.Contains(commands, op) {
			return routerError(reason, ambiguous)
		}
		return nil
	}
}

// lostReply is a command whose outcome is not heard of.
func lostReply(command string) func(string, nat.Rule) error {
	return failOn(nat.ReasonUnreachable, true, command)
}

// do runs one command: it waits, then executes it unless it is to fail.
func (r *router) do(ctx context.Context, op string, rule nat.Rule, execute func()) error {
	r.mu.Lock()
	latency := r.latency
	r.mu.Unlock()
	if err := wait(ctx, latency); err != nil {
		return routerError(nat.ReasonUnreachable, op != "rules")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.journal = append(r.journal, op)
	if r.before != nil {
		if err := r.before(op, rule); err != nil {
			return err
		}
	}
	execute()
	if r.after != nil {
		return r.after(op, rule)
	}
	return nil
}

func (r *router) Rules(ctx context.Context) (snap nat.Snapshot, err error) {
	err = r.do(ctx, "rules", nat.Rule{}, func() {
		snap = nat.Snapshot{Rules: slices.Clone(r.rules), Used: r.used, Wide: r.wide, Forwards: r.forwards}
	})
	return snap, err
}

func (r *router) AddRule(ctx context.Context, rule nat.Rule) (nat.Rule, error) {
	err := r.do(ctx, "add", rule, func() { rule = r.put(rule) })
	return rule, err
}

func (r *router) put(rule nat.Rule) nat.Rule {
	r.lastID++
	rule.ID = fmt.Sprintf("*%X", r.lastID)
	r.rules = append(r.rules, rule)
	return rule
}

func (r *router) UpdateRule(ctx context.Context, found, want nat.Rule) error {
	return r.do(ctx, "update", want, func() {
		for i := range r.rules {
			if r.rules[i].ID == found.ID {
				want.ID = found.ID
				r.rules[i] = want
			}
		}
	})
}

func (r *router) RemoveRule(ctx context.Context, rule nat.Rule) error {
	return r.do(ctx, "remove", rule, func() {
		r.rules = slices.DeleteFunc(r.rules, func(have nat.Rule) bool {
			return sameComment(have, rule) && (have.ID == rule.ID || rule.ID == "")
		})
	})
}

// sameComment says whether the router finds one rule when it is asked for the other:
// ids may change, so a rule is looked for by its comment.
func sameComment(a, b nat.Rule) bool {
	return a.Key == b.Key && a.InnerPort == b.InnerPort && a.ExternalPort == b.ExternalPort && a.Lifetime == b.Lifetime
}

// edit lets the administrator change the table.
func (r *router) edit(change func(*router)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

// commands returns what the router was asked since the last call.
func (r *router) commands() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	did := r.journal
	r.journal = nil
	return did
}

func (r *router) ids() map[nat.Key]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := make(map[nat.Key]string)
	for _, rule := range r.rules {
		ids[rule.Key] += rule.ID
	}
	return ids
}

// gateway is a VPN gateway in memory.
type gateway struct {
	mu      sync.Mutex
	leases  map[leaseKey]lease
	life    time.Duration // cap on lifetimes, 0 for none
	least   time.Duration // the shortest lease
	says    time.Duration // the lifetime that it speaks of, 0 for that of the lease
	latency time.Duration
	window  chan struct{} // nil for no bound
	random  *rand.Rand
	granted []uint16 // ports to be granted next, else the suggestion or a random one
	room    int      // how many leases it has at most, 0 for no bound
	packets int

	// before may return what a request fails with before it is executed, after
	// afterwards (a lost reply).
	before, after func(op string, p nat.Protocol, inner uint16) error
}

type leaseKey struct {
	protocol nat.Protocol
	inner    uint16
}

type lease struct {
	external uint16
	until    time.Time
}

func gatewayError(reason nat.Reason, ambiguous bool) error {
	return &nat.Error{Hop: nat.HopGateway, Reason: reason, Ambiguous: ambiguous}
}

func (g *gateway) do(ctx context.Context, op string, p nat.Protocol, inner uint16, execute func()) error {
	if g.window != nil {
		g.window <- struct{}{}
		defer func() { <-g.window }()
	}
	g.mu.Lock()
	latency := g.latency
	g.mu.Unlock()
	if err := wait(ctx, latency); err != nil {
		return gatewayError(nat.ReasonUnreachable, true)
	}
	g.mu.Lock()
	g.packets++
	err := error(nil)
	if g.before != nil {
		err = g.before(op, p, inner)
	}
	if err == nil {
		execute()
		if g.after != nil {
			err = g.after(op, p, inner)
		}
	}
	g.mu.Unlock()
	if errors.Is(err, errSilence) { // Nothing comes back: the caller asks until its time is over.
		<-ctx.Done()
		return gatewayError(nat.ReasonUnreachable, true)
	}
	return err
}

var errSilence = errors.New("silence")

func (g *gateway) Lease(ctx context.Context, req nat.LeaseRequest) (granted nat.Lease, err error) {
	full := false
	err = g.do(ctx, "lease", req.Protocol, req.InnerPort, func() {
		key := leaseKey{req.Protocol, req.InnerPort}
		if full = g.full(key); full {
			return
		}
		external := req.ExternalPort
		if have, ok := g.leases[key]; ok && have.until.After(time.Now()) {
			external = have.external
		}
		if len(g.granted) > 0 {
			external, g.granted = g.granted[0], g.granted[1:]
		}
		if external == 0 {
			external = uint16(34000 + g.random.IntN(30000))
		}
		life := req.Lifetime
		if g.life != 0 {
			life = min(life, g.life)
		}
		life = max(life, g.least)
		g.leases[key] = lease{external, time.Now().Add(life)}
		granted = nat.Lease{ExternalPort: external, Lifetime: cmp.Or(g.says, life)}
	})
	if full {
		err = gatewayError(nat.ReasonResources, false)
	}
	return granted, err
}

// full says whether there is no room for one more lease.
func (g *gateway) full(key leaseKey) bool {
	n := 0
	for have, l := range g.leases {
		if have != key && l.until.After(time.Now()) {
			n++
		}
	}
	return g.room > 0 && n >= g.room
}

func (g *gateway) Release(ctx context.Context, p nat.Protocol, inner uint16) error {
	return g.do(ctx, "release", p, inner, func() { delete(g.leases, leaseKey{p, inner}) })
}

// live returns the leases that stand: inner port → external port.
func (g *gateway) live() map[leaseKey]uint16 {
	g.mu.Lock()
	defer g.mu.Unlock()
	live := make(map[leaseKey]uint16)
	for key, l := range g.leases {
		if l.until.After(time.Now()) {
			live[key] = l.external
		}
	}
	return live
}

func (g *gateway) edit(change func(*gateway)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(g)
}

func (g *gateway) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.packets
	g.packets = 0
	return n
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// world is a service between two layers in memory, in virtual time.
type world struct {
	t       *testing.T
	router  *router
	gateway *gateway
	service *nat.Service

	mu     sync.Mutex
	events []nat.Event

	stop func() error
}

// inWorld runs a test in virtual time with a service that is up: the router answers
// in 10 ms, the gateway in 30 ms with leases of 60 s at most.
func inWorld(t *testing.T, change func(*nat.Config, *world), test func(*world)) {
	t.Helper()
	defer inTime(t)()
	synctest.Test(t, func(t *testing.T) {
		watched(t)
		defer unblocked()
		w := &world{
			t: t, router: &router{latency: 10 * time.Millisecond},
			gateway: &gateway{
				leases: make(map[leaseKey]lease), life: time.Minute, latency: 30 * time.Millisecond,
				random: rand.New(rand.NewPCG(1, 2)),
			},
		}
		w.start(change)
		test(w)
		if err := w.stop(); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
}

// inTime ends everything when a test takes a minute, unless what it returns is called before:
// none does, but one in which something goes round and round in the same moment.
func inTime(t *testing.T) (over func() bool) {
	t.Helper()
	return time.AfterFunc(time.Minute, func() { panic(t.Name() + ": a minute has passed, something goes round in circles") }).Stop
}

// watched ends everything when somebody waits for ever: virtual time would go on and on.
func watched(t *testing.T) {
	t.Helper()
	tooLong := time.AfterFunc(48*time.Hour, func() { panic(t.Name() + ": two days have passed, somebody waits for what never comes") })
	t.Cleanup(func() { tooLong.Stop() })
}

// unblocked ends everything at a panic: one in the core leaves a lock taken, for which the
// stop of its service would wait for ever.
func unblocked() {
	if cause := recover(); cause != nil {
		text := fmt.Sprintf("%v\n%s", cause, debug.Stack())
		go func() { panic(text) }()
		select {}
	}
}

// start brings a service up, as a process that begins does.
func (w *world) start(change func(*nat.Config, *world)) {
	w.t.Helper()
	random := rand.New(rand.NewPCG(3, 4))
	var randomMu sync.Mutex
	cfg := nat.Config{
		Router: w.router, Gateway: w.gateway,
		OnEvent: func(ev nat.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, ev)
		},
		Random: func() float64 {
			randomMu.Lock()
			defer randomMu.Unlock()
			return random.Float64()
		},
	}
	if change != nil {
		change(&cfg, w)
	}
	service, err := nat.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.service = service
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	w.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	w.t.Cleanup(func() { _ = w.stop() })
	time.Sleep(time.Second)
	w.router.commands()
	w.gateway.count()
}

func (w *world) kinds() []nat.EventKind {
	w.mu.Lock()
	defer w.mu.Unlock()
	var kinds []nat.EventKind
	for _, ev := range w.events {
		kinds = append(kinds, ev.Kind)
	}
	w.events = nil
	return kinds
}

var (
	alice = netip.MustParseAddr("192.168.88.10")
	bob   = netip.MustParseAddr("192.168.88.11")
)

func tcp(client netip.Addr, port uint16) nat.Key {
	return nat.Key{Client: client, Protocol: nat.TCP, InternalPort: port}
}

func udp(client netip.Addr, port uint16) nat.Key {
	return nat.Key{Client: client, Protocol: nat.UDP, InternalPort: port}
}

// mapped asks for a mapping for an hour and fails the test if it is not granted.
func (w *world) mapped(key nat.Key) nat.Grant {
	w.t.Helper()
	grant, err := w.service.Map(w.t.Context(), nat.MapRequest{Key: key, Lifetime: time.Hour})
	if err != nil {
		w.t.Fatalf("mapping %v: %v", key, err)
	}
	return grant
}

// refused asks for a mapping and returns why it was not granted.
func (w *world) refused(key nat.Key) *nat.Error {
	w.t.Helper()
	grant, err := w.service.Map(w.t.Context(), nat.MapRequest{Key: key, Lifetime: time.Hour})
	var e *nat.Error
	if !errors.As(err, &e) {
		w.t.Fatalf("mapping %v: got %+v and error %v, want a nat.Error", key, grant, err)
	}
	return e
}

// agree fails the test unless table, router and gateway say the same.
func (w *world) agree() {
	w.t.Helper()
	time.Sleep(time.Second) // what is under way ends
	rules, leases := w.router.ids(), w.gateway.live()
	for _, m := range w.service.Mappings() {
		if rules[m.Key] == "" || rules[m.Key] != m.RuleID {
			w.t.Errorf("%v: table has rule %q, router %q", m.Key, m.RuleID, rules[m.Key])
		}
		at := leaseKey{m.Key.Protocol, m.InnerPort}
		if leases[at] != m.ExternalPort {
			w.t.Errorf("%v: table has external port %d, gateway %d", m.Key, m.ExternalPort, leases[at])
		}
		delete(rules, m.Key)
		delete(leases, at)
	}
	if len(rules) > 0 || len(leases) > 0 {
		w.t.Errorf("nobody stands behind rules %v, leases %v", rules, leases)
	}
}

// empty fails the test unless nothing at all is left.
func (w *world) empty() {
	w.t.Helper()
	w.agree()
	if left := w.service.Leftovers(); len(left) > 0 {
		w.t.Errorf("left over: %v", left)
	}
}

// wantRefused asks for a mapping that must not be granted because a hop is out of reach.
func (w *world) wantRefused(key nat.Key) {
	w.t.Helper()
	wantReason(w.t, w.refused(key), nat.ReasonUnreachable)
}
