package nat_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"doublenat/internal/nat"
)

// The tests of this file are about leases and wishes that could get lost.

// A renewal whose answer got lost may have prolonged the lease: it is owed until then.
func TestRenewalThatGotLostIsOwed(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.gateway.edit(func(g *gateway) { g.life = time.Hour })
		if _, err := w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Minute}); err != nil {
			w.t.Fatal(err)
		}
		w.gateway.edit(func(g *gateway) { g.after = silent }) // granted for an hour, and nobody hears it
		w.mapped(tcp(alice, 80))
		time.Sleep(9 * time.Second)
		w.gateway.edit(func(g *gateway) { g.after, g.before = nil, silent })
		time.Sleep(15 * time.Minute)
		if len(w.service.Mappings()) != 0 || len(w.gateway.live()) != 1 || w.service.Status().Debts != 1 {
			w.t.Errorf("%d mappings, leases %v, %d debts; want the lease that is owed", len(w.service.Mappings()), w.gateway.live(), w.service.Status().Debts)
		}
		w.gateway.edit(func(g *gateway) { g.before = nil })
		time.Sleep(5 * time.Minute)
		w.empty()
	})
}

// The same of a mapping whose rule could not be removed: its lease was given back before.
func TestRenewalThatGotLostWhileClosingIsOwed(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.router.edit(func(r *router) {
			r.before = func(string, nat.Rule) error { return routerError(nat.ReasonUnreachable, false) }
		})
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err == nil {
			w.t.Error("the deletion worked")
		}
		w.gateway.edit(func(g *gateway) { g.life, g.after = time.Hour, silent })
		w.wantRefused(tcp(alice, 80))
		w.gateway.edit(func(g *gateway) { g.after = nil })
		w.router.edit(func(r *router) { r.before = nil })
		time.Sleep(2 * time.Minute)
		w.empty()
	})
}

// A gateway that is said to have lost its state may have kept a lease, as a box that forgot some
// mappings only: while it refuses everything the lease is owed, until it is over or given back.
func TestLeaseThatIsDoubtedIsOwed(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.gateway.edit(func(g *gateway) { g.life = time.Hour })
		w.mapped(tcp(alice, 80))
		w.gateway.edit(func(g *gateway) {
			g.before = func(string, nat.Protocol, uint16) error { return gatewayError(nat.ReasonDenied, false) }
		})
		w.service.GatewayLost()
		time.Sleep(10 * time.Minute)
		if n := w.service.Status().Debts; len(w.service.Mappings()) != 0 || len(w.gateway.live()) != 1 || n != 1 {
			w.t.Errorf("%d mappings, leases %v, %d debts; want the lease that is owed", len(w.service.Mappings()), w.gateway.live(), n)
		}
		w.gateway.edit(func(g *gateway) { g.before = nil })
		time.Sleep(5 * time.Minute)
		w.empty()
	})
}

// A lease that was lost and is granted for a shorter time than its client was told is renewed
// for the client, until what it was told is over: a box that cuts leases is found out too late.
func TestShorterLeaseAfterALossIsKept(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.gateway.edit(func(g *gateway) { g.life = time.Hour })
		if got := w.mapped(tcp(alice, 80)); got.Lifetime != time.Hour {
			w.t.Fatalf("told %+v", got)
		}
		w.gateway.edit(func(g *gateway) { g.life = 10 * time.Minute })
		w.service.GatewayLost()
		for range 5 {
			time.Sleep(11 * time.Minute)
			if len(w.gateway.live()) != 1 || len(w.service.Mappings()) != 1 {
				w.t.Errorf("leases %v, mappings %v", w.gateway.live(), w.service.Mappings())
			}
		}
		time.Sleep(10 * time.Minute)
		w.empty()
		if n := len(w.service.Mappings()); n > 0 {
			w.t.Errorf("%d mappings nobody asked for", n)
		}
	})
}

// A gateway that raises lifetimes (RFC 6887 §15) has raised that of a lease of which nothing was heard, too.
func TestLeaseThatWasRaisedIsOwed(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.gateway.edit(func(g *gateway) { g.least = 10 * time.Minute })
		if _, err := w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Minute}); err != nil {
			w.t.Fatal(err)
		}
		w.gateway.edit(func(g *gateway) { g.after = silent })
		if _, err := w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(bob, 80), Lifetime: time.Minute}); err == nil {
			w.t.Fatal("granted, and nothing was heard")
		}
		w.gateway.edit(func(g *gateway) { g.after, g.before = nil, silent })
		time.Sleep(5 * time.Minute)
		if n := w.service.Status().Debts; len(w.gateway.live()) != 2 || n != 2 {
			w.t.Errorf("leases %v, %d debts; want both to be owed", w.gateway.live(), n)
		}
		w.gateway.edit(func(g *gateway) { g.before = nil })
		time.Sleep(time.Minute)
		w.empty()
	})
}

// The same for one whose port cannot be used.
func TestLeaseOfNoUseThatWasRaisedIsOwed(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	taken := d.mapped(tcp(bob, 80)).ExternalPort
	d.ask(tcp(alice, 80), time.Minute)
	for range 4 {
		a := want[nat.LeaseAction](d)
		d.step(nat.LeaseDone{Op: a.Op, Lease: nat.Lease{ExternalPort: taken, Lifetime: 10 * time.Minute}})
		d.step(nat.ReleaseDone{Op: want[nat.ReleaseAction](d).Op, Err: lost(nat.HopGateway)})
	}
	debts := func(want int) {
		t.Helper()
		for range 60 {
			for _, a := range every[nat.ReleaseAction](d) {
				d.step(nat.ReleaseDone{Op: a.Op, Err: lost(nat.HopGateway)})
			}
			d.pass(5 * time.Second)
		}
		if n := d.Status().Debts; n != want {
			t.Errorf("%d debts, want %d", n, want)
		}
	}
	debts(1) // For five minutes,
	debts(0) // and not for ten.
	debts(0)
}

// A mapping that cannot be revived leaves no claim on the port that it would have had.
func TestReviveThatFailsLeavesNoClaim(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.router.edit(func(r *router) {
			r.before = func(string, nat.Rule) error { return routerError(nat.ReasonUnreachable, false) }
		})
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err == nil {
			w.t.Error("the deletion worked")
		}
		w.gateway.edit(func(g *gateway) { g.granted = []uint16{40001} })
		w.wantRefused(tcp(alice, 80))
		w.router.edit(func(r *router) { r.before = nil })
		time.Sleep(2 * time.Minute)
		w.empty()
	})
}

// A deletion is not forgotten because a create takes its time.
func TestDeletionBehindALateCreate(t *testing.T) {
	t.Parallel()
	inWorld(t, hold, func(w *world) {
		w.gateway.edit(func(g *gateway) { g.latency = 7900 * time.Millisecond })
		w.router.edit(func(r *router) { r.latency = 800 * time.Millisecond })
		var create sync.WaitGroup
		create.Go(func() { _, _ = w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Hour}) })
		time.Sleep(250 * time.Millisecond)
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err != nil {
			w.t.Error(err)
		}
		create.Wait()
		w.gateway.edit(func(g *gateway) { g.latency = 30 * time.Millisecond })
		w.router.edit(func(r *router) { r.latency = 10 * time.Millisecond })
		time.Sleep(time.Minute)
		w.empty()
	})
}

// Nor because the port's turn does not come at all in time.
func TestDeletionWhoseTurnDoesNotCome(t *testing.T) {
	t.Parallel()
	inWorld(t, hold, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.router.edit(func(r *router) { r.rules, r.latency = nil, time.Minute }) // the next reconcile holds the port
		w.service.Reconcile()
		time.Sleep(61 * time.Second)
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err == nil {
			w.t.Error("the deletion came to its turn: the test is none")
		}
		w.router.edit(func(r *router) { r.latency = 10 * time.Millisecond })
		time.Sleep(3 * time.Minute)
		w.empty()
	})
}

// A gateway that loses its state while the rule is being made has lost that lease too.
func TestStateLossWhileTheRuleIsMade(t *testing.T) {
	t.Parallel()
	for _, policy := range []nat.LeasePolicy{nat.PolicyClient, nat.PolicyHold} {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(c *nat.Config, _ *world) { c.Policy = policy }, func(w *world) {
				w.gateway.edit(func(g *gateway) { g.life = time.Hour })
				w.router.edit(func(r *router) { r.latency = 7 * time.Second })
				var create sync.WaitGroup
				create.Go(func() { w.mapped(tcp(alice, 80)) })
				time.Sleep(100 * time.Millisecond)
				w.gateway.edit(func(g *gateway) { clear(g.leases) })
				w.service.GatewayLost()
				create.Wait()
				w.router.edit(func(r *router) { r.latency = 10 * time.Millisecond })
				time.Sleep(10 * time.Second)
				w.agree()
			})
		})
	}
}

// With both hops dead a failed create is answered before a program gives up for good.
func TestFailureIsAnsweredBeforeTheUndo(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.gateway.edit(func(g *gateway) {
			g.before = func(op string, _ nat.Protocol, _ uint16) error {
				if op == "release" {
					return errSilence
				}
				return nil
			}
		})
		w.router.edit(func(r *router) { r.latency = time.Hour })
		began := time.Now()
		w.wantRefused(tcp(alice, 80))
		if took := time.Since(began); took > 8*time.Second {
			w.t.Errorf("answered after %v", took)
		}
		w.gateway.edit(func(g *gateway) { g.before = nil })
		w.router.edit(func(r *router) { r.latency = 0 })
		time.Sleep(3 * time.Minute)
		w.empty()
	})
}

// What is owed counts against its client's quota: it keeps inner ports from others.
func TestDebtsCount(t *testing.T) {
	t.Parallel()
	const quota = 8
	inWorld(t, func(c *nat.Config, _ *world) { c.MaxMappingsPerClient = quota }, func(w *world) {
		w.gateway.edit(func(g *gateway) { g.before = silent })
		for i := range uint16(4 * quota) {
			_, err := w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 1+i), Lifetime: time.Hour})
			if err == nil {
				w.t.Fatal("a silent gateway granted something")
			}
		}
		if n := w.service.Status().Debts; n != quota {
			w.t.Errorf("%d debts, want %d", n, quota)
		}
		wantReason(w.t, w.refused(tcp(alice, 100)), nat.ReasonResources)
		w.gateway.edit(func(g *gateway) { g.before = nil })
		w.mapped(tcp(bob, 1))
		w.mapped(tcp(alice, 1)) // its own debt is no reason against it
		time.Sleep(2 * time.Minute)
		w.mapped(tcp(alice, 100))
		time.Sleep(2 * time.Minute)
		w.empty()
	})
}

// A port that changed while the renewal waited for its turn is announced: the client
// was answered from the table meanwhile.
func TestPortChangeBehindTheOtherProtocol(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.mapped(udp(alice, 80))
		w.gateway.edit(func(g *gateway) {
			g.latency = 150 * time.Millisecond
			g.granted = []uint16{50001, 50001}
		})
		var both sync.WaitGroup
		told := make(map[nat.Protocol]uint16)
		var mu sync.Mutex
		for _, key := range []nat.Key{tcp(alice, 80), udp(alice, 80)} {
			both.Go(func() {
				grant := w.mapped(key)
				mu.Lock()
				defer mu.Unlock()
				told[key.Protocol] = grant.ExternalPort
			})
		}
		both.Wait()
		time.Sleep(time.Second)
		untold := make(map[nat.Protocol]bool)
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, ev := range w.events {
			if ev.Kind == nat.EventPortChanged {
				untold[ev.Mapping.Key.Protocol] = ev.Untold
			}
		}
		for _, p := range nat.Protocols() {
			if stale := told[p] != 50001; stale != untold[p] {
				w.t.Errorf("%v: told %d, announced %v", p, told[p], untold[p])
			}
		}
	})
}

// A stop is over in time also when deletions with both hops dead are under way.
func TestStopDuringDeletions(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, _ *world) { c.Companion = true }, func(w *world) {
		w.mapped(tcp(alice, 80))
		time.Sleep(time.Second)
		w.gateway.edit(func(g *gateway) { g.before = silent })
		w.router.edit(func(r *router) { r.latency = time.Hour })
		var deletion sync.WaitGroup
		deletion.Go(func() { _ = w.service.Unmap(context.WithoutCancel(w.t.Context()), tcp(alice, 80)) })
		time.Sleep(10 * time.Millisecond)
		began := time.Now()
		if err := w.stop(); err == nil {
			w.t.Error("a stop with both hops dead said nothing")
		}
		if took := time.Since(began); took > 7*time.Second {
			w.t.Errorf("stopping took %v", took)
		}
		deletion.Wait()
		w.stop = func() error { return nil }
	})
}

// A removal that the router refuses once in a while is tried again while there is time.
func TestStopTriesAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.mapped(tcp(bob, 80))
		refusals := 3
		w.router.edit(func(r *router) {
			r.before = func(op string, _ nat.Rule) error {
				if op != "remove" || refusals == 0 {
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

// What a client is told from the table is a promise, which a shorter lease that the
// gateway grants after that does not break.
func TestShorterLeaseAfterAnAnswerFromTheTable(t *testing.T) {
	t.Parallel()
	long := func(_ *nat.Config, w *world) { w.gateway.life = 10 * time.Minute }
	inWorld(t, long, func(w *world) {
		w.mapped(tcp(alice, 80))
		time.Sleep(time.Minute)
		w.gateway.edit(func(g *gateway) { g.latency, g.life = 3*time.Second, 20*time.Second })
		told := w.mapped(tcp(alice, 80))
		if told.Lifetime < 8*time.Minute {
			w.t.Fatalf("told %v, want what is left of ten minutes", told.Lifetime)
		}
		time.Sleep(5 * time.Second)
		w.gateway.edit(func(g *gateway) { g.latency = 0 })
		w.gateway.count()
		time.Sleep(told.Lifetime - 10*time.Second)
		if n := len(w.service.Mappings()); n != 1 {
			w.t.Errorf("%d mappings %v after one was promised for %v", n, told.Lifetime-5*time.Second, told.Lifetime)
		}
		if n := w.gateway.count(); n > 60 {
			w.t.Errorf("%d packets for leases of 20 s, want one in 9 to 10 s", n)
		}
		w.agree()
		time.Sleep(10 * time.Second)
		w.empty()
	})
}

// A change of a rule whose outcome is unknown may have given it another comment, by which
// alone it is found. A deletion removes it all the same before it is a success.
func TestDeletionAfterAnUpdateInDoubt(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, _ *world) { c.Delivery = nat.DeliverBoth }, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.router.edit(func(r *router) {
			r.after = lostReply("update")
			r.before = failOn(nat.ReasonUnreachable, false, "rules") // The reconcile must not mend it meanwhile.
		})
		for _, port := range []uint16{40404, 40405} {
			w.gateway.edit(func(g *gateway) { g.granted = []uint16{port} })
			_, _ = w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Hour}) // may fail
		}
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err != nil {
			w.t.Fatal(err)
		}
		if ids := w.router.ids(); len(ids) > 0 {
			w.t.Errorf("deleted, and the rules %v are still there", ids)
		}
		w.router.edit(func(r *router) { r.after, r.before = nil, nil })
		w.empty()
	})
}

// A gateway at which somebody else has the inner port is asked with another one: for a new
// mapping, and for one of a former run. One that refuses whatever is asked is not asked for ever.
func TestInnerPortThatSomebodyHasAtTheGateway(t *testing.T) {
	t.Parallel()
	taken := func(inner ...uint16) func(string, nat.Protocol, uint16) error {
		return func(_ string, _ nat.Protocol, at uint16) error {
			if len(inner) == 0 || slices.Contains(inner, at) {
				return &nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonDenied, Taken: true}
			}
			return nil
		}
	}
	t.Run("new", func(t *testing.T) {
		t.Parallel()
		inWorld(t, nil, func(w *world) {
			w.mapped(tcp(alice, 80))
			first := w.service.Mappings()[0].InnerPort
			if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err != nil {
				w.t.Fatal(err)
			}
			w.gateway.edit(func(g *gateway) { g.before = taken(first) })
			w.mapped(tcp(alice, 80))
			if m := w.service.Mappings()[0]; m.InnerPort == first {
				w.t.Errorf("it has %+v", m)
			}
			w.agree()
		})
	})
	t.Run("of a former run", func(t *testing.T) {
		t.Parallel()
		inWorld(t, func(cfg *nat.Config, _ *world) { cfg.KeepOnShutdown = true }, func(w *world) {
			w.gateway.edit(func(g *gateway) { g.life = time.Hour })
			w.mapped(tcp(alice, 80))
			before := w.service.Mappings()[0]
			if err := w.stop(); err != nil { // It keeps everything.
				w.t.Fatal(err)
			}
			w.gateway.edit(func(g *gateway) { g.before = taken(before.InnerPort) })
			w.start(nil)
			time.Sleep(5 * time.Second)
			after := w.service.Mappings()
			if len(after) != 1 || after[0].InnerPort == before.InnerPort || after[0].RuleID != before.RuleID || after[0].Refused {
				w.t.Fatalf("before %+v, after %+v", before, after)
			}
			if n := w.service.Status().Debts; n != 1 {
				w.t.Errorf("%d debts, want the lease that nobody can end", n)
			}
			w.gateway.edit(func(g *gateway) { g.before = nil })
			time.Sleep(time.Minute)
			w.agree()
		})
	})
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		inWorld(t, nil, func(w *world) {
			w.gateway.edit(func(g *gateway) { g.before = taken() })
			wantReason(w.t, w.refused(tcp(alice, 80)), nat.ReasonDenied)
			if n := w.gateway.count(); n > 2 {
				w.t.Errorf("asked %d times", n)
			}
			w.gateway.edit(func(g *gateway) { g.before = nil })
			time.Sleep(time.Minute)
			w.empty()
		})
	})
}

// A lease that was asked for before the gateway lost its state, and granted by a reply that came
// after that, may be lost too: it is asked for again.
func TestStateLossWhileTheLeaseIsAskedFor(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{true, false} {
		d := atDesk(t, func(c *nat.Config) { c.Policy = nat.PolicyClient })
		if !first {
			d.mapped(tcp(alice, 80))
		}
		d.ask(tcp(alice, 80), time.Hour)
		d.pass(100 * time.Millisecond)
		d.step(nat.StateLost)
		d.pass(100 * time.Millisecond)
		d.granted()
		if did := d.obey(); !slices.Contains(did, "lease") {
			t.Errorf("first %v: did %v, want the lease to be asked for again", first, did)
		}
		d.pass(time.Second)
		none[nat.LeaseAction](d, "it was asked for again once")
	}
}
