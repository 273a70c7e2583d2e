package nat_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"doublenat/internal/nat"
)

// poolOf returns a pool of ports that arrive where they are.
func poolOf(t *testing.T, list ...nat.PoolPort) *nat.Pool {
	t.Helper()
	for i := range list {
		if list[i].Inner == 0 {
			list[i].Inner = list[i].External
		}
	}
	p, err := nat.NewPool(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// provider forwards ports, whoever asks.
type provider struct {
	mu   sync.Mutex
	pool *nat.Pool // guarded by mu
}

func (p *provider) set(to *nat.Pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pool = to
}

func (p *provider) Lease(_ context.Context, req nat.LeaseRequest) (nat.Lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	external, ok := p.pool.External(req.Protocol, req.InnerPort)
	if !ok {
		return nat.Lease{}, gatewayError(nat.ReasonResources, false)
	}
	return nat.Lease{ExternalPort: external, Lifetime: req.Lifetime}, nil
}

func (p *provider) Release(context.Context, nat.Protocol, uint16) error { return nil }

// inPool runs a test in a world without a gateway, to which the ports arrive by themselves.
func inPool(t *testing.T, list []nat.PoolPort, test func(w *world, out *provider)) {
	t.Helper()
	out := &provider{pool: poolOf(t, list...)}
	inWorld(t, withPool(out), func(w *world) {
		test(w, out)
		if w.gateway.packets > 0 {
			w.t.Errorf("%d packets for a gateway that is not there", w.gateway.packets)
		}
	})
}

func withPool(out *provider) func(*nat.Config, *world) {
	return func(cfg *nat.Config, _ *world) {
		cfg.Gateway, cfg.Pool, cfg.KeepOnShutdown = out, out.pool, true
	}
}

// Which port of a pool a mapping gets: that of the other protocol, the one that was asked for,
// the one that it had, and else the lowest that is free.
func TestPoolChoice(t *testing.T) {
	t.Parallel()
	list := []nat.PoolPort{{External: 51413}, {External: 6881, Inner: 40000}, {External: 20000}, {External: 27015, Protocol: nat.UDP}}
	inPool(t, list, func(w *world, _ *provider) {
		ask := func(key nat.Key, suggested uint16) uint16 {
			w.t.Helper()
			grant, err := w.service.Map(w.t.Context(), nat.MapRequest{Key: key, Lifetime: time.Hour, SuggestedPort: suggested})
			if err != nil {
				w.t.Fatalf("%v: %v", key, err)
			}
			if grant.Lifetime != time.Hour {
				w.t.Errorf("%v was granted for %v", key, grant.Lifetime)
			}
			return grant.ExternalPort
		}
		if got := ask(tcp(alice, 6881), 0); got != 6881 {
			w.t.Errorf("got %d, want the lowest", got)
		}
		if got := w.matches()[tcp(alice, 6881)]; got != (nat.MatchPorts{40000}) {
			w.t.Errorf("the rule matches %v, want the port at which 6881 arrives", got)
		}
		if got := ask(udp(alice, 6881), 51413); got != 6881 {
			w.t.Errorf("got %d, want the other protocol's", got)
		}
		if got := ask(tcp(bob, 80), 51413); got != 51413 {
			w.t.Errorf("got %d, want the port that was asked for", got)
		}
		if got := ask(udp(bob, 81), 27015); got != 27015 {
			w.t.Errorf("got %d, want the one for UDP", got)
		}
		if got := ask(tcp(bob, 82), 6881); got != 20000 {
			w.t.Errorf("got %d, want what is left", got)
		}
		if err := w.refused(tcp(bob, 83)); err.Reason != nat.ReasonResources {
			w.t.Errorf("refused with %v, want out of resources", err)
		}
		if err := w.service.Unmap(w.t.Context(), tcp(bob, 80)); err != nil {
			w.t.Fatal(err)
		}
		if err := w.service.Unmap(w.t.Context(), tcp(bob, 82)); err != nil {
			w.t.Fatal(err)
		}
		if got := ask(tcp(bob, 80), 0); got != 51413 {
			w.t.Errorf("got %d, want the one that it had", got)
		}
	})
}

// Ports that rules of others match are not given, and a restart keeps those that are.
func TestPoolAfterARestart(t *testing.T) {
	t.Parallel()
	inPool(t, []nat.PoolPort{{External: 6881}, {External: 51413}}, func(w *world, out *provider) {
		w.take(nat.TCP, 6881)
		w.service.Reconcile()
		time.Sleep(time.Second)
		if got := w.mapped(tcp(alice, 1)).ExternalPort; got != 51413 {
			w.t.Fatalf("got %d, want the one that nobody else takes", got)
		}
		_ = w.stop()
		w.take(nat.TCP, 1) // The other port is free now.
		w.start(withPool(out))
		if got := w.mapped(tcp(alice, 1)).ExternalPort; got != 51413 {
			w.t.Errorf("got %d after the restart", got)
		}
	})
}

// A port that is taken out of the pool moves its mapping in place, one that arrives elsewhere
// changes its rule, and one that has another number at the public address is told.
func TestPoolChanges(t *testing.T) {
	t.Parallel()
	inPool(t, []nat.PoolPort{{External: 6881}, {External: 51413}}, func(w *world, out *provider) {
		set := func(list ...nat.PoolPort) {
			p := poolOf(t, list...)
			out.set(p)
			w.service.SetPool(p)
			time.Sleep(time.Second)
		}
		if got := w.mapped(tcp(alice, 1)).ExternalPort; got != 6881 {
			w.t.Fatalf("got %d", got)
		}
		before, _ := w.service.Mapping(tcp(alice, 1))
		set(nat.PoolPort{External: 51413}, nat.PoolPort{External: 60000})
		if got := w.mapped(tcp(alice, 1)).ExternalPort; got != 51413 {
			w.t.Errorf("got %d, want another port of the pool", got)
		}
		set(nat.PoolPort{External: 7000, Inner: 51413})
		if got := w.mapped(tcp(alice, 1)).ExternalPort; got != 7000 {
			w.t.Errorf("got %d, want its new number", got)
		}
		if got := w.matches()[tcp(alice, 1)]; got != (nat.MatchPorts{51413}) {
			w.t.Errorf("the rule matches %v", got)
		}
		after, _ := w.service.Mapping(tcp(alice, 1))
		if before.RuleID != after.RuleID {
			w.t.Errorf("the rule was made anew: %s, then %s", before.RuleID, after.RuleID)
		}
		// With no port left, the mapping ends, and comes back when there is one.
		set()
		if err := w.refused(tcp(alice, 1)); err.Reason != nat.ReasonResources {
			w.t.Errorf("refused with %v", err)
		}
		time.Sleep(2 * time.Hour)
		w.empty()
		set(nat.PoolPort{External: 6881})
		if got := w.mapped(tcp(alice, 1)).ExternalPort; got != 6881 {
			w.t.Errorf("got %d", got)
		}
	})
}

// Both protocols of a client port move together: to a port that has both.
func TestPoolMovesBothProtocols(t *testing.T) {
	t.Parallel()
	inPool(t, []nat.PoolPort{{External: 6881}}, func(w *world, out *provider) {
		w.mapped(tcp(alice, 1))
		w.mapped(udp(alice, 1))
		p := poolOf(t, nat.PoolPort{External: 5000, Protocol: nat.UDP}, nat.PoolPort{External: 6000})
		out.set(p)
		w.service.SetPool(p)
		time.Sleep(time.Second)
		if a, b := w.mapped(tcp(alice, 1)).ExternalPort, w.mapped(udp(alice, 1)).ExternalPort; a != 6000 || b != 6000 {
			w.t.Errorf("moved to %d and %d, want 6000", a, b)
		}
		p = poolOf(t, nat.PoolPort{External: 5000, Protocol: nat.UDP})
		out.set(p)
		w.service.SetPool(p)
		time.Sleep(time.Second)
		wantReason(w.t, w.refused(tcp(alice, 1)), nat.ReasonResources)
	})
}

// A pool with a port in it twice is none.
func TestNewPool(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		list []nat.PoolPort
		want string
	}{
		{list: []nat.PoolPort{{External: 1, Inner: 1}, {External: 2, Inner: 2}}},
		{list: []nat.PoolPort{{External: 1, Inner: 1, Protocol: nat.UDP}, {External: 1, Inner: 1, Protocol: nat.TCP}}},
		{list: []nat.PoolPort{{External: 1, Inner: 1}, {External: 1, Inner: 2, Protocol: nat.TCP}}, want: "port 1 is in the pool twice for tcp"},
		{list: []nat.PoolPort{{External: 1, Inner: 3}, {External: 2, Inner: 3}}, want: "two ports of the pool arrive at port 3 for udp"},
	} {
		_, err := nat.NewPool(tt.list)
		if got := errText(err); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.list, got, tt.want)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What arrives at an inner port is what the pool says, and not what a rule's comment said before
// its mapping moved: nobody loses a mapping in a restart because of that.
func TestPoolAdoptionByInnerPort(t *testing.T) {
	t.Parallel()
	inPool(t, []nat.PoolPort{{External: 6881}, {External: 6882}, {External: 6883}}, func(w *world, out *provider) {
		w.mapped(tcp(alice, 80))
		w.mapped(tcp(bob, 80))
		ids := w.router.ids()
		var old nat.Rule
		w.router.edit(func(r *router) {
			for i := range r.rules {
				if r.rules[i].Key == tcp(alice, 80) {
					r.rules[i].ExternalPort, old = 6882, r.rules[i]
				}
			}
		})
		if err := w.stop(); err != nil {
			w.t.Fatal(err)
		}
		w.kinds()
		w.start(withPool(out))
		time.Sleep(time.Second)
		w.mu.Lock()
		told := slices.IndexFunc(w.events, func(ev nat.Event) bool {
			return ev.Kind == nat.EventPortChanged && ev.Untold && ev.OldPort == 6882 && ev.Mapping.Key == tcp(alice, 80)
		})
		w.mu.Unlock()
		if told < 0 {
			w.t.Errorf("nobody was told that the port is not that of the comment any more: %v", w.kinds())
		}
		for _, m := range w.service.Mappings() {
			if external, _ := out.pool.External(nat.TCP, m.InnerPort); m.RuleID != ids[m.Key] || m.ExternalPort != external {
				w.t.Errorf("adopted %+v, want rule %s and port %d", m, ids[m.Key], external)
			}
		}
		if n := len(w.service.Mappings()); n != 2 {
			w.t.Errorf("%d mappings, want both; the comment was that of %+v", n, old)
		}
	})
}
