package nat_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

func hold(c *nat.Config, _ *world) { c.Policy = nat.PolicyHold }

// With policy hold a client that renews every half hour, whatever it was granted,
// keeps its mapping; each half lease costs one packet and the router nothing.
func TestHold(t *testing.T) {
	t.Parallel()
	inWorld(t, hold, func(w *world) {
		first := w.mapped(tcp(alice, 80))
		if first.Lifetime != time.Minute {
			w.t.Errorf("told %v, want the lease's minute", first.Lifetime)
		}
		w.router.commands()
		w.gateway.count()
		for range 4 {
			time.Sleep(30 * time.Minute)
			if got := w.mapped(tcp(alice, 80)); got != first {
				w.t.Errorf("told %v, want %v", got, first)
			}
		}
		if n := w.gateway.count(); n < 240 || n > 275 {
			w.t.Errorf("%d packets in two hours, want one in 27 to 30 s", n)
		}
		did := slices.DeleteFunc(w.router.commands(), func(op string) bool { return op == "rules" })
		if len(did) != 0 {
			w.t.Errorf("router commands %v, want none", did)
		}
		w.agree()
		time.Sleep(59*time.Minute + 50*time.Second)
		if n := len(w.service.Mappings()); n != 1 {
			w.t.Errorf("%d mappings before the hour that was asked for is over", n)
		}
		time.Sleep(10 * time.Second)
		w.empty()
	})
}

func TestHoldTellsAChangedPort(t *testing.T) {
	t.Parallel()
	inWorld(t, hold, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.kinds()
		w.gateway.edit(func(g *gateway) { g.granted = []uint16{40404} })
		time.Sleep(31 * time.Second)
		if diff := cmp.Diff([]nat.EventKind{nat.EventPortChanged}, w.kinds()); diff != "" {
			w.t.Errorf("events (-want +got):\n%s", diff)
		}
		if got := w.mapped(tcp(alice, 80)); got.ExternalPort != 40404 {
			w.t.Errorf("told port %d, want 40404", got.ExternalPort)
		}
		w.agree()
	})
}

// A gateway that moves both protocols of a port tells so at the renewal of one. Who waits
// for his turn behind that renewal is not told the other's old port from the table, nor
// does his renewal put off the question for the new one.
func TestHoldDoubtsThePortOfTheOtherProtocol(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, w *world) {
		hold(c, w)
		c.Random = func() float64 { return 0 }
	}, func(w *world) {
		w.mapped(tcp(alice, 6881))
		time.Sleep(15 * time.Second) // The refreshes of the two are that far apart.
		w.mapped(udp(alice, 6881))
		w.gateway.edit(func(g *gateway) { g.granted, g.latency = []uint16{40404, 40404}, 80*time.Millisecond })
		time.Sleep(14*time.Second + 980*time.Millisecond) // TCP's refresh is under way.
		if got := w.mapped(udp(alice, 6881)); got.ExternalPort != 40404 {
			w.t.Errorf("UDP was told port %d while TCP's became 40404", got.ExternalPort)
		}
		w.agree()
	})
}

// A longer lease than was asked for is not believed in: no gateway should grant one
// (RFC 6886 §3.3). Given back is what it may be all the same.
func TestLeaseThatIsLongerThanAsked(t *testing.T) {
	t.Parallel()
	inWorld(t, hold, func(w *world) {
		w.gateway.edit(func(g *gateway) { g.says = 2 * time.Hour })
		for range 4 {
			if _, err := w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Minute}); err != nil {
				w.t.Fatal(err)
			}
			time.Sleep(45 * time.Second)
			w.agree()
		}
		w.gateway.edit(func(g *gateway) { g.before = silent })
		time.Sleep(time.Hour)
		if n := w.service.Leftovers()["debts"]; n != 1 {
			w.t.Errorf("%d debts while the gateway may have the lease, want 1", n)
		}
		w.gateway.edit(func(g *gateway) { g.before = nil })
		time.Sleep(5 * time.Minute)
		w.empty()
	})
}

func TestHoldSurvivesAGatewayThatIsAway(t *testing.T) {
	t.Parallel()
	inWorld(t, hold, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.gateway.edit(func(g *gateway) { g.before = silent })
		time.Sleep(20 * time.Minute)
		w.gateway.edit(func(g *gateway) { g.before = nil })
		time.Sleep(40 * time.Second)
		if n := len(w.service.Mappings()); n != 1 {
			w.t.Errorf("%d mappings, want the one for which an hour was asked", n)
		}
		w.agree()
	})
}

// A gateway that is back is asked at once for what it did not answer, however long
// the wait for the next try was to be.
func TestGatewayBack(t *testing.T) {
	t.Parallel()
	inWorld(t, hold, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.mapped(tcp(bob, 80))
		w.gateway.edit(func(g *gateway) { g.before = refusing })
		time.Sleep(5 * time.Minute)
		w.gateway.edit(func(g *gateway) { g.before = nil })
		w.gateway.count()
		w.service.GatewayBack()
		time.Sleep(100 * time.Millisecond)
		if n := w.gateway.count(); n != 2 {
			w.t.Errorf("%d packets, want one for each mapping", n)
		}
		w.agree()
		w.service.GatewayBack()
		time.Sleep(time.Second)
		if n := w.gateway.count(); n != 0 {
			w.t.Errorf("%d packets for mappings that want nothing", n)
		}
	})
}

// refusing fails at once, as a host does that has nobody on the port.
func refusing(string, nat.Protocol, uint16) error { return gatewayError(nat.ReasonUnreachable, false) }

func TestHoldAdopts(t *testing.T) {
	t.Parallel()
	keep := func(c *nat.Config, w *world) {
		hold(c, w)
		c.KeepOnShutdown = true
	}
	inWorld(t, keep, func(w *world) {
		w.mapped(tcp(alice, 80))
		_ = w.stop()
		w.start(hold)
		time.Sleep(30 * time.Minute)
		w.agree()
		if n := len(w.service.Mappings()); n != 1 {
			w.t.Errorf("%d mappings half an hour after the restart, want 1", n)
		}
		time.Sleep(31 * time.Minute)
		w.empty()
	})
}

func TestBothProtocolsShareThePorts(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		a, b := w.mapped(tcp(alice, 6881)), w.mapped(udp(alice, 6881))
		if a.ExternalPort != b.ExternalPort {
			w.t.Errorf("TCP got %d, UDP %d", a.ExternalPort, b.ExternalPort)
		}
		all := w.service.Mappings()
		if all[0].InnerPort != all[1].InnerPort {
			w.t.Errorf("inner ports %d and %d", all[0].InnerPort, all[1].InnerPort)
		}
		w.agree()
	})
}

// A gateway that gives both protocols one port moves both. What it did to the other
// one is found out at once and not when its client comes, which may be an hour later.
func TestBothProtocolsMoveTogether(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 6881))
		w.mapped(udp(alice, 6881))
		w.gateway.count()
		w.gateway.edit(func(g *gateway) { g.granted = []uint16{40404, 40404} })
		if got := w.mapped(tcp(alice, 6881)); got.ExternalPort != 40404 {
			w.t.Errorf("told port %d, want 40404", got.ExternalPort)
		}
		time.Sleep(time.Second)
		for _, m := range w.service.Mappings() {
			if m.ExternalPort != 40404 {
				w.t.Errorf("%v has port %d, want 40404", m.Key, m.ExternalPort)
			}
		}
		if n := w.gateway.count(); n != 2 {
			w.t.Errorf("%d packets, want one for each protocol", n)
		}
		w.agree()
	})
}

// A gateway moves UDP to a port that somebody else has, and then both protocols with each request
// for another one: TCP follows each time.
func TestBothProtocolsMoveTogetherAgain(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { c.Policy = nat.PolicyClient })
	other := d.mapped(udp(bob, 80)).ExternalPort
	d.mapped(tcp(alice, 80))
	d.mapped(udp(alice, 80))
	d.ask(udp(alice, 80), time.Hour)
	for _, step := range []struct {
		proto nat.Protocol
		port  uint16
	}{{nat.UDP, other}, {nat.TCP, 40403}, {nat.UDP, 40404}, {nat.TCP, 40404}} {
		for _, a := range every[nat.ChangeAction](d) {
			d.step(nat.RuleDone{Op: a.Op, Rule: a.Want})
		}
		for _, a := range every[nat.ReleaseAction](d) {
			d.step(nat.ReleaseDone{Op: a.Op})
		}
		a := want[nat.LeaseAction](d)
		if a.Request.Protocol != step.proto {
			t.Fatalf("asked for %v, want %v", a.Request.Protocol, step.proto)
		}
		d.grant(a, step.port)
	}
	d.obey()
	for _, key := range []nat.Key{tcp(alice, 80), udp(alice, 80)} {
		if m, _ := d.Mapping(key); m.ExternalPort != 40404 {
			t.Errorf("%v has port %d", key, m.ExternalPort)
		}
	}
}

func TestSameInnerPortAfterLossOfAllState(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 6881))
		before, _ := w.service.Mapping(tcp(alice, 6881))
		_ = w.stop()
		w.start(nil)
		w.mapped(tcp(alice, 6881))
		after, _ := w.service.Mapping(tcp(alice, 6881))
		if before.InnerPort != after.InnerPort {
			w.t.Errorf("inner port %d, then %d", before.InnerPort, after.InnerPort)
		}
	})
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	match := func(w *world) nat.MatchPorts {
		w.router.mu.Lock()
		defer w.router.mu.Unlock()
		return w.router.rules[0].Match
	}
	for _, tt := range []struct {
		delivery nat.Delivery
		want     func(m nat.Mapping) nat.MatchPorts
		writes   []string // for a changed port
	}{
		{nat.DeliverInternal, func(m nat.Mapping) nat.MatchPorts { return nat.MatchPorts{m.InnerPort} }, nil},
		{nat.DeliverExternal, func(m nat.Mapping) nat.MatchPorts { return nat.MatchPorts{m.ExternalPort} }, []string{"update"}},
		{nat.DeliverBoth, func(m nat.Mapping) nat.MatchPorts { return nat.MatchPorts{m.InnerPort, m.ExternalPort} }, []string{"update"}},
	} {
		t.Run(tt.delivery.String(), func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(c *nat.Config, _ *world) { c.Delivery = tt.delivery }, func(w *world) {
				w.mapped(tcp(alice, 80))
				m, _ := w.service.Mapping(tcp(alice, 80))
				if got := match(w); got != tt.want(m) {
					w.t.Errorf("the rule matches %v, want %v", got, tt.want(m))
				}
				before := m.ExternalPort
				time.Sleep(20 * time.Second)
				w.router.commands()
				w.gateway.edit(func(g *gateway) { g.granted = []uint16{40404} })
				w.mapped(tcp(alice, 80))
				if diff := cmp.Diff(tt.writes, w.router.commands()); diff != "" {
					w.t.Errorf("commands for a changed port (-want +got):\n%s", diff)
				}
				m, _ = w.service.Mapping(tcp(alice, 80))
				// The old port stays matched until its lease would have ended.
				old := tt.want(m)
				if tt.writes != nil {
					old[slices.Index(old[:], 0)] = before
				}
				if got := match(w); m.ExternalPort != 40404 || got != old {
					w.t.Errorf("the rule matches %v, want %v", got, old)
				}
				w.agree()
				for range 3 { // past the old lease and the reconcile after it
					time.Sleep(35 * time.Second)
					w.mapped(tcp(alice, 80))
				}
				if got := match(w); got != tt.want(m) {
					w.t.Errorf("the rule matches %v after the old lease, want %v", got, tt.want(m))
				}
				w.agree()
			})
		})
	}
}

func TestDeliveryAvoidsForeignPorts(t *testing.T) {
	t.Parallel()
	foreign := new(nat.PortSet)
	foreign.AddRange(8000, 9000)
	setUp := func(d nat.Delivery) func(*nat.Config, *world) {
		return func(c *nat.Config, w *world) {
			c.Delivery = d
			w.router.used = map[nat.Protocol]*nat.PortSet{nat.TCP: foreign}
			w.gateway.granted = []uint16{8080, 40404}
		}
	}
	t.Run("external asks for another", func(t *testing.T) {
		t.Parallel()
		inWorld(t, setUp(nat.DeliverExternal), func(w *world) {
			if got := w.mapped(tcp(alice, 80)); got.ExternalPort != 40404 {
				w.t.Errorf("got port %d, want one that no rule takes", got.ExternalPort)
			}
			w.agree()
		})
	})
	t.Run("both leaves it out", func(t *testing.T) {
		t.Parallel()
		inWorld(t, setUp(nat.DeliverBoth), func(w *world) {
			w.mapped(tcp(alice, 80))
			m, _ := w.service.Mapping(tcp(alice, 80))
			if m.ExternalPort != 8080 || w.router.rules[0].Match != (nat.MatchPorts{m.InnerPort}) {
				w.t.Errorf("mapping %+v, rule matches %v", m, w.router.rules[0].Match)
			}
			w.agree()
		})
	})
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	dead := func(string, nat.Rule) error { return routerError(nat.ReasonUnreachable, false) }
	for _, tt := range []struct {
		name          string
		change        func(*world)
		rules, leases int
		fails         bool
		atMost        time.Duration
	}{
		{"all well", func(*world) {}, 0, 0, false, time.Second},
		{"router dead", func(w *world) { w.router.edit(func(r *router) { r.before = dead }) }, 10, 0, true, 10 * time.Second},
		{"gateway silent", func(w *world) { w.gateway.edit(func(g *gateway) { g.before = silent }) }, 0, 10, true, 10 * time.Second},
		{"both gone", func(w *world) {
			w.gateway.edit(func(g *gateway) { g.before = silent })
			w.router.edit(func(r *router) { r.latency = time.Hour })
		}, 10, 10, true, 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, nil, func(w *world) {
				for i := range uint16(10) {
					w.mapped(tcp(alice, 1+i))
				}
				tt.change(w)
				// One more is under way.
				go func() {
					_, _ = w.service.Map(w.t.Context(), nat.MapRequest{Key: udp(bob, 1), Lifetime: time.Hour})
				}()
				time.Sleep(5 * time.Millisecond)
				began := time.Now()
				err := w.stop()
				if took := time.Since(began); took > tt.atMost {
					w.t.Errorf("took %v, want %v at most", took, tt.atMost)
				}
				if (err != nil) != tt.fails {
					w.t.Errorf("error %v, want one: %v", err, tt.fails)
				}
				if r, l := len(w.router.ids()), len(w.gateway.live()); r != tt.rules || l != tt.leases {
					w.t.Errorf("%d rules and %d leases left, want %d and %d", r, l, tt.rules, tt.leases)
				}
				_, err = w.service.Map(w.t.Context(), nat.MapRequest{Key: udp(bob, 2), Lifetime: time.Hour})
				wantReason(w.t, err, nat.ReasonUnreachable)
				wantReason(w.t, w.service.Unmap(w.t.Context(), udp(bob, 2)), nat.ReasonUnreachable)
				w.stop = func() error { return nil }
			})
		})
	}
}

func TestShutdownKeeps(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, _ *world) { c.KeepOnShutdown = true }, func(w *world) {
		w.mapped(tcp(alice, 1))
		if err := w.stop(); err != nil {
			w.t.Error(err)
		}
		if r, l := len(w.router.ids()), len(w.gateway.live()); r != 1 || l != 1 {
			w.t.Errorf("%d rules and %d leases, want both kept", r, l)
		}
	})
}

// What was being taken back is no mapping that the next start should find.
func TestShutdownKeepsMappingsOnly(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*world){
		"a create": func(w *world) {
			w.router.edit(func(r *router) { r.after = lostReply("add") })
			w.wantRefused(tcp(alice, 2))
		},
		"a deletion": func(w *world) {
			w.mapped(tcp(alice, 2))
			w.router.edit(func(r *router) { r.before = lostReply("remove") })
			if err := w.service.Unmap(w.t.Context(), tcp(alice, 2)); err == nil {
				w.t.Error("the deletion worked")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(c *nat.Config, _ *world) { c.KeepOnShutdown = true }, func(w *world) {
				w.mapped(tcp(alice, 1))
				kept := w.router.ids()
				begin(w)
				if n := len(w.router.ids()); n != 2 {
					w.t.Fatalf("%d rules, want the one that hangs beside the mapping's", n)
				}
				w.router.edit(func(r *router) { r.before, r.after = nil, nil })
				if err := w.stop(); err != nil {
					w.t.Error(err)
				}
				if diff := cmp.Diff(kept, w.router.ids(), cmpAddr); diff != "" {
					w.t.Errorf("rules (-want +got):\n%s", diff)
				}
				if n := len(w.gateway.live()); n != 1 {
					w.t.Errorf("%d leases, want the mapping's", n)
				}
			})
		})
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	t.Parallel()
	r, g := &router{}, &gateway{}
	for name, cfg := range map[string]nat.Config{
		"no router":     {Gateway: g},
		"no gateway":    {Router: r},
		"no port range": {Router: r, Gateway: g, FirstInnerPort: 30000, LastInnerPort: 20000},
		"no lifetime":   {Router: r, Gateway: g, MaxLifetime: time.Millisecond},
		"negative":      {Router: r, Gateway: g, MaxMappings: -1},
	} {
		if _, err := nat.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The least that makes sense is taken: one inner port, one second, one mapping.
func TestNewTakesTheLeast(t *testing.T) {
	t.Parallel()
	cfg := nat.Config{Router: &router{}, Gateway: &gateway{}, FirstInnerPort: 20000, LastInnerPort: 20000, MaxLifetime: time.Second, MaxMappings: 1, MaxMappingsPerClient: 1}
	if _, err := nat.New(cfg); err != nil {
		t.Error(err)
	}
}

// A companion lives on after a restart with its rule, and still ends with its TCP.
func TestCompanionAfterARestart(t *testing.T) {
	t.Parallel()
	on := func(c *nat.Config, _ *world) { c.Companion, c.KeepOnShutdown = true, true }
	inWorld(t, on, func(w *world) {
		w.mapped(tcp(alice, 51413))
		time.Sleep(time.Second)
		id := w.router.ids()[udp(alice, 51413)]
		for renews := range 2 {
			_ = w.stop()
			w.start(on)
			for range 4 * renews {
				w.mapped(tcp(alice, 51413))
				time.Sleep(30 * time.Second)
			}
			if now := w.router.ids()[udp(alice, 51413)]; now != id {
				w.t.Errorf("the companion's rule was %s, now %s", id, now)
			}
		}
		_ = w.stop()
		w.start(on)
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 51413)); err != nil {
			w.t.Error(err)
		}
		w.empty()
	})
}

// After a restart nobody knows whether a UDP mapping is a companion or the client's own:
// what was promised for it holds, whatever is asked for TCP.
func TestCompanionOrOwnAfterARestart(t *testing.T) {
	t.Parallel()
	for _, policy := range []nat.LeasePolicy{nat.PolicyClient, nat.PolicyHold} {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			on := func(c *nat.Config, w *world) {
				c.Companion, c.KeepOnShutdown, c.Policy = true, true, policy
				w.gateway.life = 0
			}
			inWorld(t, on, func(w *world) {
				short := nat.MapRequest{Key: tcp(alice, 80), Lifetime: 20 * time.Second}
				w.mapped(udp(alice, 80)) // for an hour
				_ = w.stop()
				w.start(on)
				for range 50 * 4 { // fifty minutes
					if _, err := w.service.Map(w.t.Context(), short); err != nil {
						w.t.Fatal(err)
					}
					time.Sleep(15 * time.Second)
				}
				if policy == nat.PolicyHold {
					time.Sleep(5 * time.Minute) // on which the client counts, with no TCP any more
				}
				w.agree()
				if _, ok := w.service.Mapping(udp(alice, 80)); !ok {
					w.t.Error("the mapping ended before its time")
				}
				if err := w.service.Unmap(w.t.Context(), udp(alice, 80)); err != nil {
					w.t.Error(err)
				}
			})
		})
	}
}

// A client that asks for UDP itself right after TCP was answered, as libtorrent does,
// joins the work on its companion, and has a mapping of its own all the same.
func TestCompanionThatTheClientJoins(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, _ *world) { c.Companion = true }, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.mapped(udp(alice, 80))
		if m, _ := w.service.Mapping(udp(alice, 80)); m.Companion {
			w.t.Error("what the client asked for is a companion")
		}
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err != nil {
			w.t.Error(err)
		}
		if _, ok := w.service.Mapping(udp(alice, 80)); !ok {
			w.t.Error("the client's own mapping went with the other protocol's")
		}
	})
}

func TestCompanion(t *testing.T) {
	t.Parallel()
	on := func(c *nat.Config, _ *world) { c.Companion = true }
	t.Run("follows TCP", func(t *testing.T) {
		t.Parallel()
		inWorld(t, on, func(w *world) {
			for range 4 {
				w.mapped(tcp(alice, 51413))
				w.agree()
				m, ok := w.service.Mapping(udp(alice, 51413))
				other, _ := w.service.Mapping(tcp(alice, 51413))
				if !ok || !m.Companion || m.ExternalPort != other.ExternalPort {
					w.t.Fatalf("companion %+v of %+v", m, other)
				}
				time.Sleep(30 * time.Second)
			}
			if err := w.service.Unmap(w.t.Context(), tcp(alice, 51413)); err != nil {
				w.t.Error(err)
			}
			w.empty()
		})
	})
	t.Run("ends with TCP", func(t *testing.T) {
		t.Parallel()
		inWorld(t, on, func(w *world) {
			w.mapped(tcp(alice, 51413))
			time.Sleep(62 * time.Second)
			w.empty()
		})
	})
	t.Run("becomes the client's own", func(t *testing.T) {
		t.Parallel()
		inWorld(t, on, func(w *world) {
			w.mapped(tcp(alice, 51413))
			time.Sleep(time.Second)
			w.mapped(udp(alice, 51413))
			if m, _ := w.service.Mapping(udp(alice, 51413)); m.Companion {
				w.t.Error("still a companion after its client asked for it")
			}
			if err := w.service.Unmap(w.t.Context(), tcp(alice, 51413)); err != nil {
				w.t.Error(err)
			}
			if _, ok := w.service.Mapping(udp(alice, 51413)); !ok {
				w.t.Error("the client's own UDP mapping went with TCP")
			}
			w.agree()
		})
	})
	t.Run("never for UDP, never by default", func(t *testing.T) {
		t.Parallel()
		inWorld(t, on, func(w *world) {
			w.mapped(udp(alice, 51413))
			time.Sleep(time.Second)
			if n := len(w.service.Mappings()); n != 1 {
				w.t.Errorf("%d mappings, want 1", n)
			}
			_ = w.stop()
			w.start(nil)
			w.mapped(tcp(alice, 51413))
			time.Sleep(time.Second)
			if n := len(w.service.Mappings()); n != 1 {
				w.t.Errorf("%d mappings by default, want 1", n)
			}
		})
	})
}
