package nat_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

// take lets somebody else use a port on the router.
func (w *world) take(p nat.Protocol, port uint16) {
	taken := new(nat.PortSet)
	taken.Add(port)
	w.router.edit(func(r *router) { r.used = map[nat.Protocol]*nat.PortSet{p: taken} })
}

// An inner port that an operator takes for a rule of his own is left to him: both
// protocols move, their rules and external ports stay what they are.
func TestInnerPortThatOthersTake(t *testing.T) {
	t.Parallel()
	for _, delivery := range []nat.Delivery{nat.DeliverInternal, nat.DeliverBoth} {
		t.Run(delivery.String(), func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(c *nat.Config, w *world) {
				hold(c, w)
				c.Delivery = delivery
			}, func(w *world) {
				first := w.mapped(tcp(alice, 80))
				w.mapped(udp(alice, 80))
				other := w.mapped(tcp(bob, 80))
				ids := w.router.ids()
				before, _ := w.service.Mapping(tcp(alice, 80))
				w.kinds()
				w.take(nat.UDP, before.InnerPort)
				time.Sleep(65 * time.Second)
				for _, key := range []nat.Key{tcp(alice, 80), udp(alice, 80)} {
					m, ok := w.service.Mapping(key)
					if !ok || m.InnerPort == before.InnerPort || m.ExternalPort != first.ExternalPort {
						w.t.Errorf("%v: %+v, was on inner port %d with external port %d", key, m, before.InnerPort, first.ExternalPort)
					}
				}
				if diff := cmp.Diff(ids, w.router.ids(), cmpAddr); diff != "" {
					w.t.Errorf("rules (-before +after):\n%s", diff)
				}
				w.agree()
				if kinds := w.kinds(); len(kinds) != 0 {
					w.t.Errorf("events %v, want none: the port is the same", kinds)
				}
				if got := w.mapped(tcp(bob, 80)); got.ExternalPort != other.ExternalPort {
					w.t.Errorf("somebody else got port %d, had %d", got.ExternalPort, other.ExternalPort)
				}
				w.router.commands()
				time.Sleep(10 * time.Minute)
				for _, op := range w.router.commands() {
					if op != "rules" {
						w.t.Errorf("router command %q after the move", op)
					}
				}
			})
		})
	}
}

// The same where packets arrive on the external port: there another one is asked for.
func TestExternalPortThatOthersTake(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, w *world) {
		hold(c, w)
		c.Delivery = nat.DeliverExternal
	}, func(w *world) {
		first := w.mapped(tcp(alice, 80))
		ids := w.router.ids()
		w.kinds()
		w.take(nat.TCP, first.ExternalPort)
		w.gateway.edit(func(g *gateway) { g.granted = []uint16{first.ExternalPort, 41234} })
		time.Sleep(65 * time.Second)
		if m, _ := w.service.Mapping(tcp(alice, 80)); m.ExternalPort != 41234 {
			w.t.Errorf("external port %d, want another than %d", m.ExternalPort, first.ExternalPort)
		}
		if diff := cmp.Diff([]nat.EventKind{nat.EventPortChanged}, w.kinds()); diff != "" {
			w.t.Errorf("events (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(ids, w.router.ids(), cmpAddr); diff != "" {
			w.t.Errorf("rules (-before +after):\n%s", diff)
		}
		w.agree()
	})
}

// That somebody took the port while the daemon was away is no reason to lose a mapping.
func TestPortThatOthersTakeBeforeARestart(t *testing.T) {
	t.Parallel()
	for _, delivery := range []nat.Delivery{nat.DeliverInternal, nat.DeliverBoth, nat.DeliverExternal} {
		t.Run(delivery.String(), func(t *testing.T) {
			t.Parallel()
			settings := func(c *nat.Config, _ *world) { c.Delivery, c.KeepOnShutdown = delivery, true }
			inWorld(t, settings, func(w *world) {
				w.mapped(tcp(alice, 80))
				before, _ := w.service.Mapping(tcp(alice, 80))
				ids := w.router.ids()
				if err := w.stop(); err != nil {
					w.t.Fatal(err)
				}
				arrival := func(m nat.Mapping) uint16 {
					if delivery == nat.DeliverExternal {
						return m.ExternalPort
					}
					return m.InnerPort
				}
				w.take(nat.TCP, arrival(before))
				w.kinds()
				w.start(settings)
				time.Sleep(10 * time.Second)
				m, ok := w.service.Mapping(tcp(alice, 80))
				if !ok {
					w.t.Fatalf("the mapping is gone: %v", w.kinds())
				}
				if arrival(m) == arrival(before) {
					w.t.Errorf("packets still arrive on port %d", arrival(m))
				}
				if diff := cmp.Diff(ids, w.router.ids(), cmpAddr); diff != "" {
					w.t.Errorf("rules (-before +after):\n%s", diff)
				}
				w.agree()
			})
		})
	}
}

// A move whose parts fail is made up for.
func TestMoveThatFails(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(*world, bool){
		"router": func(w *world, on bool) {
			w.router.edit(func(r *router) {
				r.before = nil
				if on {
					r.before = failOn(nat.ReasonUnreachable, false, "update", "add", "remove")
				}
			})
		},
		"gateway": func(w *world, on bool) {
			w.gateway.edit(func(g *gateway) {
				g.before = nil
				if on {
					g.before = silent
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, hold, func(w *world) {
				w.mapped(tcp(alice, 80))
				before, _ := w.service.Mapping(tcp(alice, 80))
				harm(w, true)
				w.take(nat.TCP, before.InnerPort)
				time.Sleep(2 * time.Minute)
				if m, _ := w.service.Mapping(tcp(alice, 80)); name == "gateway" && m.InnerPort != before.InnerPort {
					w.t.Error("moved while the gateway was out of reach, with a lease that still led to the old port")
				}
				harm(w, false)
				time.Sleep(3 * time.Minute)
				if m, _ := w.service.Mapping(tcp(alice, 80)); m.InnerPort == before.InnerPort {
					w.t.Errorf("still on inner port %d", m.InnerPort)
				}
				w.agree()
			})
		})
	}
}

// With both ports matched, nobody gets an inner port that is another client's external
// port: that one's rule would take the packets.
func TestInnerPortIsNobodysExternalPort(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, _ *world) { c.Delivery = nat.DeliverBoth }, func(w *world) {
		w.mapped(tcp(bob, 80))
		b, _ := w.service.Mapping(tcp(bob, 80))
		if err := w.service.Unmap(w.t.Context(), tcp(bob, 80)); err != nil {
			w.t.Fatal(err)
		}
		w.gateway.edit(func(g *gateway) { g.granted = []uint16{b.InnerPort} })
		w.mapped(udp(alice, 80))
		w.mapped(tcp(bob, 80))
		if again, _ := w.service.Mapping(tcp(bob, 80)); again.InnerPort == b.InnerPort {
			w.t.Errorf("inner port %d is matched by another client's rule", again.InnerPort)
		}
		w.agree()
	})
}

// Where packets arrive on the external port no success is told for one that the rule
// does not match yet.
func TestNoSuccessForAnUnmatchedPort(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, _ *world) { c.Delivery = nat.DeliverExternal }, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.gateway.edit(func(g *gateway) { g.granted = []uint16{40001} })
		w.router.edit(func(r *router) { r.before = lostReply("update") })
		for range 2 {
			if fault := w.refused(tcp(alice, 80)); fault.Hop != nat.HopRouter && fault.Hop != nat.HopNone {
				w.t.Errorf("got %v, want the router's", fault)
			}
		}
		w.router.edit(func(r *router) { r.before = nil })
		time.Sleep(5 * time.Second)
		if got := w.mapped(tcp(alice, 80)); got.ExternalPort != 40001 {
			w.t.Errorf("told %+v", got)
		}
		w.agree()
	})
}

// And where packets arrive on the inner port, when a mapping moved and its rule did not.
func TestNoSuccessForAnUnmatchedInnerPort(t *testing.T) {
	t.Parallel()
	for _, delivery := range []nat.Delivery{nat.DeliverInternal, nat.DeliverBoth} {
		t.Run(delivery.String(), func(t *testing.T) {
			t.Parallel()
			d := atDesk(t, func(c *nat.Config) { c.Policy, c.Delivery = nat.PolicyHold, delivery })
			rule := d.mapped(tcp(alice, 80))
			snap := taking(rule.InnerPort)
			snap.Rules = []nat.Rule{rule}
			d.look(snap)
			d.released()
			fails := func() {
				t.Helper()
				d.step(nat.RuleDone{Op: want[nat.ChangeAction](d).Op, Err: absent(nat.HopRouter)})
			}
			d.granted()
			fails()
			d.pass(10 * time.Second)
			ticket := d.ask(tcp(alice, 80), time.Hour)
			none[nat.AnswerAction](d, "no rule leads to it")
			d.granted()
			fails()
			if a := d.answer(ticket); a.Err == nil {
				t.Errorf("told %+v", a.Grant)
			}
			ticket = d.ask(tcp(alice, 80), time.Hour)
			d.obey()
			if a := d.answer(ticket); a.Err != nil {
				t.Error(a.Err)
			}
		})
	}
}

// A client that asks for a filter while its mapping has to move does not have the router asked to
// change the rule without an end, if it refuses.
func TestFilterWhileTheMappingMoves(t *testing.T) {
	t.Parallel()
	d := atDesk(t, holding)
	rule := d.mapped(tcp(alice, 80))
	d.askFiltered(tcp(alice, 80), adds(t, "203.0.113.8"))
	renewal := want[nat.LeaseAction](d)
	d.refused()
	taken := taking(rule.InnerPort)
	taken.Rules = []nat.Rule{rule}
	d.shown(taken)
	d.refused()
	d.grant(renewal, rule.ExternalPort)
	want[nat.ReleaseAction](d)
	for tries := 0; ; tries++ {
		changes := every[nat.ChangeAction](d)
		if len(changes) == 0 {
			break
		}
		if tries > 3 {
			t.Fatal("the rule is changed again and again")
		}
		for _, a := range changes {
			d.step(nat.RuleDone{Op: a.Op, Err: refusal(nat.HopRouter)})
		}
	}
}

// A provider that moves its pool again and again is not somebody else at our rules: its mappings
// go where it is, each time.
func TestPoolThatMovesIsNoFeud(t *testing.T) {
	t.Parallel()
	from := func(first uint16) *nat.Pool {
		var list []nat.PoolPort
		for port := first; port < first+10; port++ {
			list = append(list, nat.PoolPort{External: port, Inner: port})
		}
		return poolOf(t, list...)
	}
	d := atDesk(t, func(c *nat.Config) { c.Pool = from(30000) })
	d.life = time.Hour
	rule := d.mapped(tcp(alice, 80))
	for i := range 6 {
		first := uint16(31000 + 1000*i)
		d.step(nat.PoolChanged{Pool: from(first)})
		d.released()
		lease := want[nat.LeaseAction](d)
		d.grant(lease, lease.Request.InnerPort)
		d.changed()
		if m, _ := d.Mapping(rule.Key); m.InnerPort < first || m.InnerPort > first+9 {
			t.Fatalf("the mapping has inner port %d, and the pool is from %d on", m.InnerPort, first)
		}
		d.pass(5 * time.Minute)
	}
	if d.logged(contested) != "" {
		t.Error("taken for a feud")
	}
}
