package nat_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

func TestReconcileRestoresTheRouter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*router)
		did    []string // beside reading the rules
	}{
		{"nothing happened", func(*router) {}, nil},
		{"rule removed", func(r *router) { r.rules = r.rules[1:] }, []string{"add"}},
		{"all rules lost", func(r *router) { r.rules = nil }, []string{"add", "add"}},
		{"rule altered", func(r *router) { r.rules[0].Altered = true }, []string{"remove", "add"}},
		{"rule doubled", func(r *router) { r.put(r.rules[0]) }, []string{"remove"}},
		{"stale rule", func(r *router) {
			stale := r.rules[0]
			stale.Key = tcp(bob, 9)
			r.put(stale)
		}, []string{"remove"}},
		{"rule with another inner port", func(r *router) {
			r.rules[0].InnerPort++
			r.rules[0].Match[0]++
		}, []string{"remove", "add"}},
		{"matches another port", func(r *router) { r.rules[0].Match[0] = 1 }, []string{"update"}},
		{"all ids changed", func(r *router) {
			for i := range r.rules {
				r.rules[i].ID = "*F" + r.rules[i].ID[1:]
			}
		}, nil},
		{"ids exchanged", func(r *router) {
			r.rules[0].ID, r.rules[1].ID = r.rules[1].ID, r.rules[0].ID
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(_ *nat.Config, w *world) { w.gateway.life = 0 }, func(w *world) {
				w.mapped(tcp(alice, 80))
				w.mapped(udp(alice, 80))
				w.router.commands()
				w.router.edit(tt.change)
				time.Sleep(90 * time.Second)
				did := slices.DeleteFunc(w.router.commands(), func(op string) bool { return op == "rules" })
				if diff := cmp.Diff(tt.did, did); diff != "" && len(did)+len(tt.did) > 0 {
					w.t.Errorf("commands (-want +got):\n%s", diff)
				}
				w.agree()
			})
		})
	}
}

func TestReconcileOnDemandAndAfterFailure(t *testing.T) {
	t.Parallel()
	inWorld(t, func(_ *nat.Config, w *world) { w.gateway.life = 0 }, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.router.edit(func(r *router) { r.rules = nil })
		w.service.Reconcile()
		w.agree()
		if at := w.service.Status().ReconcileSuccess; time.Since(at) > 2*time.Second {
			w.t.Errorf("last success %v ago", time.Since(at))
		}

		w.router.edit(func(r *router) {
			r.before = func(string, nat.Rule) error { return routerError(nat.ReasonDenied, false) }
		})
		time.Sleep(2 * time.Minute)
		st := w.service.Status()
		if st.ReconcileError == nil || time.Since(st.ReconcileSuccess) < time.Minute || time.Since(st.ReconcileAttempt) > 31*time.Second {
			w.t.Errorf("status %+v, want a recent attempt, an error, an old success", st)
		}
		w.router.edit(func(r *router) { r.before, r.rules = nil, nil })
		time.Sleep(31 * time.Second)
		w.agree()
	})
}

// A snapshot says nothing about what happened while it was taken.
func TestReconcileBesideRequests(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, w *world) {
		c.ReconcileInterval = 15 * time.Millisecond
		w.router.latency = 10 * time.Millisecond
		w.gateway.latency = 7 * time.Millisecond
	}, func(w *world) {
		for i := range uint16(60) {
			key := tcp(alice, 1+i)
			w.mapped(key)
			time.Sleep(time.Duration(i) * time.Millisecond)
			if err := w.service.Unmap(w.t.Context(), key); err != nil {
				w.t.Fatal(err)
			}
			w.mapped(udp(alice, 1+i))
		}
		for _, op := range w.router.commands() {
			if op == "update" {
				w.t.Error("a rule was updated")
			}
		}
		if n := w.service.Status().RulesChanged; n != 0 {
			w.t.Errorf("reconciling changed %d rules beside requests, want none", n)
		}
		w.agree()
	})
}

// A changed external port is written into the comment once in ten minutes at most.
func TestChangedPortIsWrittenSeldom(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.router.commands()
		updates := 0
		for i := range uint16(60) { // half an hour
			time.Sleep(29 * time.Second)
			w.gateway.edit(func(g *gateway) { g.granted = []uint16{40000 + i} })
			if got := w.mapped(tcp(alice, 80)); got.ExternalPort != 40000+i {
				w.t.Fatalf("told port %d, want %d", got.ExternalPort, 40000+i)
			}
			w.agree()
		}
		for _, op := range w.router.commands() {
			switch op {
			case "update":
				updates++
			case "add", "remove":
				w.t.Errorf("a changed port led to %q: connections would be cut", op)
			}
		}
		if updates < 2 || updates > 3 {
			w.t.Errorf("%d writes in half an hour, want one in ten minutes", updates)
		}
	})
}

func TestAdoption(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, _ *world) { c.KeepOnShutdown = true }, func(w *world) {
		stays, goes := w.mapped(tcp(alice, 80)), w.mapped(udp(bob, 53))
		ids, leases := w.router.ids(), w.gateway.live()
		if err := w.stop(); err != nil {
			w.t.Fatal(err)
		}
		w.kinds()
		w.start(nil)
		if diff := cmp.Diff([]nat.EventKind{nat.EventAdopted, nat.EventAdopted}, w.kinds()); diff != "" {
			w.t.Errorf("events (-want +got):\n%s", diff)
		}
		w.agree()
		if diff := cmp.Diff(ids, w.router.ids(), cmpAddr); diff != "" {
			w.t.Errorf("rules (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(leases, w.gateway.live(), cmp.AllowUnexported(leaseKey{})); diff != "" {
			w.t.Errorf("leases (-before +after):\n%s", diff)
		}
		time.Sleep(50 * time.Second)
		if got := w.mapped(tcp(alice, 80)); got != stays {
			w.t.Errorf("its client was told %v after the restart, want %v", got, stays)
		}
		time.Sleep(15 * time.Second)
		if _, ok := w.service.Mapping(udp(bob, 53)); ok {
			w.t.Errorf("mapping on port %d lives on without its client", goes.ExternalPort)
		}
		w.agree()
	})
}

func TestAdoptionWithoutGateway(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, _ *world) { c.KeepOnShutdown = true }, func(w *world) {
		before := w.mapped(tcp(alice, 80))
		_ = w.stop()
		w.gateway.edit(func(g *gateway) { g.before = failing(nat.ReasonUnreachable) })
		w.start(nil)
		time.Sleep(2 * time.Minute)
		if got := w.mapped(tcp(alice, 80)); got.ExternalPort != before.ExternalPort {
			w.t.Errorf("told port %d, want %d", got.ExternalPort, before.ExternalPort)
		}
		w.gateway.edit(func(g *gateway) { g.before = nil })
		time.Sleep(31 * time.Second)
		w.agree()
	})
}

func TestAdoptedMappingThatTheGatewayDenies(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, _ *world) { c.KeepOnShutdown = true }, func(w *world) {
		w.mapped(tcp(alice, 80))
		_ = w.stop()
		w.gateway.edit(func(g *gateway) {
			g.before = failing(nat.ReasonDenied)
			g.leases = make(map[leaseKey]lease)
		})
		w.start(nil)
		time.Sleep(50 * time.Second)
		w.agree()
		if all := w.service.Mappings(); len(all) > 0 {
			w.t.Errorf("%+v is left", all)
		}
		w.gateway.edit(func(g *gateway) { g.before = nil })
		time.Sleep(31 * time.Second) // It may have had the lease, and takes it back now.
		w.empty()
	})
}

func TestAdoptionOfRulesThatContradictEachOther(t *testing.T) {
	t.Parallel()
	rule := func(key nat.Key, inner, external uint16) nat.Rule {
		return nat.Rule{Key: key, InnerPort: inner, ExternalPort: external, Lifetime: time.Hour, Match: nat.MatchPorts{inner}}
	}
	altered := rule(tcp(alice, 4), 20004, 40004)
	altered.Altered = true
	inWorld(t, func(_ *nat.Config, w *world) {
		for _, r := range []nat.Rule{
			rule(tcp(alice, 1), 20001, 40001),
			rule(tcp(alice, 1), 20001, 40001), // the same again
			rule(tcp(alice, 2), 20001, 40002), // somebody's inner port
			rule(tcp(bob, 3), 20003, 40001),   // somebody's external port: comments are late, the gateway says which it has
			altered,
			rule(udp(alice, 1), 20001, 40001), // the companion is fine
		} {
			w.router.put(r)
		}
	}, func(w *world) {
		var keys []nat.Key
		for _, m := range w.service.Mappings() {
			keys = append(keys, m.Key)
		}
		if diff := cmp.Diff([]nat.Key{udp(alice, 1), tcp(alice, 1), tcp(alice, 4), tcp(bob, 3)}, keys, cmpAddr); diff != "" {
			w.t.Errorf("adopted (-want +got):\n%s", diff)
		}
		w.agree()
	})
}

func TestGatewayLost(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, w *world) { w.gateway.life = 0; c.MaxMappingsPerClient = 100 }, func(w *world) {
		for i := range uint16(20) {
			w.mapped(tcp(alice, 1+i))
		}
		w.kinds()
		w.router.commands()
		before := w.gateway.live()
		w.gateway.edit(func(g *gateway) { g.leases = make(map[leaseKey]lease); g.window = make(chan struct{}, 1) })
		w.gateway.count()
		w.service.GatewayLost()
		time.Sleep(6 * time.Second)
		if diff := cmp.Diff(before, w.gateway.live(), cmp.AllowUnexported(leaseKey{})); diff != "" {
			w.t.Errorf("leases (-before +after):\n%s", diff)
		}
		if n := w.gateway.count(); n != 20 {
			w.t.Errorf("%d packets for 20 leases", n)
		}
		if kinds := w.kinds(); len(kinds) != 0 {
			w.t.Errorf("events %v, want none: nothing changed for anybody", kinds)
		}
		w.agree()
	})
}

// Our clock stood: all leases are asked for again, at once.
func TestClockStood(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, w *world) { w.gateway.life = 0; c.MaxMappingsPerClient = 100 }, func(w *world) {
		for i := range uint16(20) {
			w.mapped(tcp(alice, 1+i))
		}
		w.kinds()
		before := w.gateway.live()
		w.gateway.edit(func(g *gateway) { g.leases = make(map[leaseKey]lease) })
		w.gateway.count()
		w.service.ClockStood()
		time.Sleep(time.Second)
		if diff := cmp.Diff(before, w.gateway.live(), cmp.AllowUnexported(leaseKey{})); diff != "" {
			w.t.Errorf("leases (-before +after):\n%s", diff)
		}
		if n, kinds := w.gateway.count(), w.kinds(); n != 20 || len(kinds) != 0 {
			w.t.Errorf("%d packets for 20 leases, events %v", n, kinds)
		}
		w.agree()
	})
}

func TestGatewayLostAndPortsChanged(t *testing.T) {
	t.Parallel()
	inWorld(t, func(_ *nat.Config, w *world) { w.gateway.life = 0 }, func(w *world) {
		old := w.mapped(tcp(alice, 1))
		w.gateway.edit(func(g *gateway) { g.leases = make(map[leaseKey]lease); g.granted = []uint16{40404} })
		w.service.GatewayLost()
		time.Sleep(6 * time.Second)
		w.mu.Lock()
		last := w.events[len(w.events)-1]
		w.mu.Unlock()
		if last.Kind != nat.EventPortChanged || !last.Untold || last.OldPort != old.ExternalPort || last.Mapping.ExternalPort != 40404 {
			w.t.Errorf("last event %+v, want an untold change to port 40404", last)
		}
		if got := w.mapped(tcp(alice, 1)); got.ExternalPort != 40404 {
			w.t.Errorf("told %d, want 40404", got.ExternalPort)
		}
		w.agree()
	})
}

func TestGatewayLostAndAway(t *testing.T) {
	t.Parallel()
	inWorld(t, func(_ *nat.Config, w *world) { w.gateway.life = 0 }, func(w *world) {
		for i := range uint16(20) {
			w.mapped(tcp(alice, 1+i))
		}
		w.gateway.edit(func(g *gateway) { g.leases = make(map[leaseKey]lease); g.before = silent })
		w.service.GatewayLost()
		time.Sleep(time.Minute)
		w.gateway.edit(func(g *gateway) { g.before = nil })
		time.Sleep(45 * time.Second)
		w.agree()
	})
}

func TestForeignRuleOnAnInnerPort(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		m, _ := w.service.Mapping(tcp(alice, 80))
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err != nil {
			w.t.Fatal(err)
		}
		taken := new(nat.PortSet)
		taken.AddRange(m.InnerPort-5, m.InnerPort+5)
		w.router.edit(func(r *router) { r.used = map[nat.Protocol]*nat.PortSet{nat.UDP: taken} })
		time.Sleep(time.Minute)
		w.mapped(tcp(alice, 80))
		now, _ := w.service.Mapping(tcp(alice, 80))
		if now.InnerPort != m.InnerPort+6 {
			w.t.Errorf("inner port %d, want the first one after the range that somebody uses", now.InnerPort)
		}
		w.agree()
	})
}
