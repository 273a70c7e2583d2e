package nat_test

import (
	"testing"
	"time"

	"doublenat/internal/nat"
)

// What is left of a mapping is not taken over while a release of it is under way: its
// outcome would be lost, and whoever asks would wait for ever.
func TestLeftoverIsNotTakenOverWhileItGoes(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.gateway.edit(func(g *gateway) { g.life, g.after = 0, silent })
		w.wantRefused(tcp(alice, 80))
		var stuck uint16
		for key := range w.gateway.live() {
			stuck = key.inner
		}
		w.take(nat.TCP, stuck)
		w.service.Reconcile()
		releasing := false
		w.gateway.edit(func(g *gateway) {
			g.after = nil
			g.before = func(op string, _ nat.Protocol, inner uint16) error {
				if inner != stuck {
					return nil
				}
				releasing = releasing || op == "release"
				return errSilence
			}
		})
		time.Sleep(time.Minute)
		w.mapped(tcp(alice, 80)) // on another inner port
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err != nil {
			w.t.Fatal(err)
		}
		w.router.edit(func(r *router) { r.used = nil })
		w.service.Reconcile()
		time.Sleep(10 * time.Second) // The one that was under way has ended.
		w.gateway.edit(func(*gateway) { releasing = false })
		for under := false; !under; {
			time.Sleep(100 * time.Millisecond)
			w.gateway.edit(func(*gateway) { under = releasing })
		}
		w.wantRefused(tcp(alice, 80)) // The gateway is silent about that port.
		w.gateway.edit(func(g *gateway) { g.before = nil })
		time.Sleep(2 * time.Minute)
		w.mapped(tcp(alice, 80))
		w.agree()
	})
}

// A stop goes on with a rule that no mapping stands behind as with all others.
func TestStopTriesStraysAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		refusals := 3
		w.router.edit(func(r *router) {
			stray := r.rules[0]
			stray.Key = tcp(bob, 9)
			r.put(stray)
			r.before = func(op string, rule nat.Rule) error {
				if op != "remove" || rule.Key != stray.Key || refusals == 0 {
					return nil
				}
				refusals--
				return routerError(nat.ReasonUnreachable, false)
			}
		})
		if err := w.stop(); err != nil {
			w.t.Error(err)
		}
		if left := w.router.ids(); len(left) != 0 {
			w.t.Errorf("rules left: %v", left)
		}
	})
}

// And says so when it stays.
func TestStopTellsOfStraysThatStay(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.router.edit(func(r *router) {
			stray := r.rules[0]
			stray.Key = tcp(bob, 9)
			r.put(stray)
			r.before = func(op string, rule nat.Rule) error {
				if op == "remove" && rule.Key == stray.Key {
					return routerError(nat.ReasonDenied, false)
				}
				return nil
			}
		})
		if err := w.stop(); err == nil {
			w.t.Error("a rule of ours is left, and nobody says so")
		}
		w.stop = func() error { return nil }
	})
}

// A router with very many rules that look like ours and that forbids their removal is not
// asked without end.
func TestManyStraysThatStay(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.router.edit(func(r *router) {
			for i := range uint16(300) {
				r.put(nat.Rule{Key: tcp(bob, 1+i), InnerPort: 20000 + i, ExternalPort: 40000 + i, Lifetime: time.Hour, Match: nat.MatchPorts{20000 + i}})
			}
			r.before = failOn(nat.ReasonDenied, false, "remove")
		})
		w.router.commands()
		time.Sleep(5 * time.Minute)
		looks := 0
		for _, op := range w.router.commands() {
			if op == "rules" {
				looks++
			}
		}
		if looks > 20 {
			w.t.Errorf("%d looks in five minutes", looks)
		}
		w.router.edit(func(r *router) { r.before = nil })
		time.Sleep(time.Minute)
		w.agree()
	})
}

// A look that a stop interrupts while another one is wanted behind it leads to nothing
// after the end.
func TestStopDuringLooks(t *testing.T) {
	t.Parallel()
	e, now := full(t, 0)
	e.Step(now, nat.Look)
	e.Step(now, nat.Look)
	stopped := 0
	see := func(actions []nat.Action) {
		for _, a := range actions {
			switch a.(type) {
			case nat.StoppedAction:
				stopped++
			case nat.LogAction, nat.InterruptAction:
			default:
				t.Errorf("%T after the stop", a)
			}
		}
	}
	see(e.Step(now, nat.Stop{Deadline: now.Add(time.Second)}))
	see(e.Step(now, nat.ReadDone{Snapshot: nat.Snapshot{Rules: []nat.Rule{{ID: "*1", Key: keyOf(1), InnerPort: 20000}}}}))
	if stopped != 1 {
		t.Errorf("stopped %d times", stopped)
	}
}
