package nat_test

import (
	"testing"
	"time"

	"doublenat/internal/nat"
)

// A look says nothing about a rule that was made while it was under way.
func TestLookBesideACreate(t *testing.T) {
	t.Parallel()
	e, now := full(t, 0)
	e.Step(now, nat.Look)
	if !renewed(e, now, keyOf(1)) {
		t.Fatal("not made")
	}
	for _, a := range e.Step(now, nat.ReadDone{}) {
		t.Errorf("a look that began before the rule was made led to %T %+v", a, a)
	}
}

// What a client is told in whole seconds it has, also where that is a little more than
// the rest of the lease.
func TestToldTimeIsKept(t *testing.T) {
	t.Parallel()
	inWorld(t, func(_ *nat.Config, w *world) { w.router.latency = 400 * time.Millisecond }, func(w *world) {
		told := w.mapped(tcp(alice, 80)).Lifetime
		time.Sleep(told - time.Millisecond)
		if m, ok := w.service.Mapping(tcp(alice, 80)); !ok || m.Closing {
			w.t.Errorf("the mapping ended before the %v that its client was told", told)
		}
		w.router.edit(func(r *router) { r.latency = 10 * time.Millisecond })
	})
}

// What is left of a mapping on an inner port that it cannot have any more counts, too: it
// keeps that port from everybody else.
func TestLeftoversCount(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, _ *world) { c.MaxMappingsPerClient = 1 }, func(w *world) {
		w.gateway.edit(func(g *gateway) { g.life, g.after = 0, silent })
		w.wantRefused(tcp(alice, 80))
		var stuck uint16
		for key := range w.gateway.live() {
			stuck = key.inner
		}
		w.take(nat.TCP, stuck)
		w.service.Reconcile()
		w.gateway.edit(func(g *gateway) {
			g.after = nil
			g.before = func(_ string, _ nat.Protocol, inner uint16) error {
				if inner == stuck {
					return errSilence
				}
				return nil
			}
		})
		time.Sleep(time.Minute)
		w.mapped(tcp(alice, 80))
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err != nil {
			w.t.Fatal(err)
		}
		wantReason(w.t, w.refused(tcp(alice, 81)), nat.ReasonResources)
		w.gateway.edit(func(g *gateway) { g.before = nil })
		time.Sleep(time.Minute)
		w.mapped(tcp(alice, 81))
		w.agree()
	})
}

// A look that began before all rules went does not say that they are there.
func TestLookBesideRulesGone(t *testing.T) {
	t.Parallel()
	e, now := full(t, 0)
	if !renewed(e, now, keyOf(1)) {
		t.Fatal("not made")
	}
	m, _ := e.Mapping(keyOf(1))
	e.Step(now, nat.Look)
	e.Step(now, nat.RulesGone)
	e.Step(now, nat.ReadDone{Snapshot: nat.Snapshot{Rules: []nat.Rule{{
		ID: m.RuleID, Key: m.Key, InnerPort: m.InnerPort, ExternalPort: m.ExternalPort, Lifetime: time.Hour, Match: nat.MatchPorts{m.InnerPort},
	}}}})
	if renewed(e, now.Add(time.Second), keyOf(1)) {
		t.Error("a renewal was a success without a rule")
	}
}

// A port that cannot be used tells all the same that the gateway moved both protocols.
func TestRefusedPortDoubtsTheOtherProtocol(t *testing.T) {
	t.Parallel()
	inWorld(t, func(_ *nat.Config, w *world) { w.gateway.life = 0 }, func(w *world) {
		taken := w.mapped(tcp(bob, 80)).ExternalPort
		w.mapped(tcp(alice, 6881))
		w.mapped(udp(alice, 6881))
		w.gateway.edit(func(g *gateway) { g.granted = []uint16{taken, 40404, taken, taken, taken} })
		_, _ = w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 6881), Lifetime: time.Hour})
		time.Sleep(time.Second)
		if m, _ := w.service.Mapping(udp(alice, 6881)); m.ExternalPort != 40404 {
			w.t.Errorf("UDP has port %d, want 40404", m.ExternalPort)
		}
	})
}

// So does a new mapping that was to have the other protocol's port and got another one:
// the gateway may still have had a lease for it, and moved both with it.
func TestNewPortDoubtsTheOtherProtocol(t *testing.T) {
	t.Parallel()
	inWorld(t, func(_ *nat.Config, w *world) { w.gateway.life = 0 }, func(w *world) {
		w.mapped(tcp(alice, 6881))
		w.gateway.edit(func(g *gateway) { g.granted = []uint16{40404, 40404} })
		w.mapped(udp(alice, 6881))
		time.Sleep(time.Second)
		if m, _ := w.service.Mapping(tcp(alice, 6881)); m.ExternalPort != 40404 {
			w.t.Errorf("TCP has port %d, want 40404", m.ExternalPort)
		}
	})
}

// While a mapping gives its lease back, because it has to move, the port of that lease is
// told to nobody: a renewal waits for the new one.
func TestMoveTellsNoPortThatWasGivenBack(t *testing.T) {
	t.Parallel()
	inWorld(t, func(cfg *nat.Config, w *world) {
		hold(cfg, w)
		w.gateway.latency = 400 * time.Millisecond
	}, func(w *world) {
		w.mapped(tcp(alice, 80))
		m, _ := w.service.Mapping(tcp(alice, 80))
		w.gateway.edit(func(g *gateway) { g.granted = []uint16{40404, 40404, 40404} })
		w.take(nat.TCP, m.InnerPort)
		w.service.Reconcile()
		time.Sleep(100 * time.Millisecond) // The old lease is being given back.
		if got := w.mapped(tcp(alice, 80)).ExternalPort; got != 40404 {
			w.t.Errorf("told port %d, of a lease that was given back; want 40404", got)
		}
	})
}

// Who is heard of after the end wakes nobody.
func TestSignalAfterTheStop(t *testing.T) {
	t.Parallel()
	e, err := nat.NewEngine(nat.Config{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	e.Step(now, nat.Start)
	e.Step(now, nat.ReadDone{})
	e.Step(now, nat.Stop{Deadline: now.Add(time.Second)})
	e.Step(now, nat.ReadDone{})
	for _, s := range []nat.Signal{nat.Look, nat.StateLost, nat.ClockStood, nat.GatewayBack, nat.RouterBack, nat.RulesGone} {
		if out := e.Step(now, s); len(out) > 0 || !e.Next().IsZero() {
			t.Errorf("signal %d: %v, and again at %v", s, out, e.Next())
		}
	}
}
