package nat_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

func failing(reason nat.Reason) func(string, nat.Protocol, uint16) error {
	return func(string, nat.Protocol, uint16) error { return gatewayError(reason, false) }
}

func silent(string, nat.Protocol, uint16) error { return errSilence }

func TestGatewayThatRefusesCostsTheRouterNothing(t *testing.T) {
	t.Parallel()
	for _, reason := range []nat.Reason{nat.ReasonDenied, nat.ReasonUnreachable, nat.ReasonResources} {
		t.Run(reason.String(), func(t *testing.T) {
			t.Parallel()
			inWorld(t, nil, func(w *world) {
				w.gateway.edit(func(g *gateway) { g.before = failing(reason) })
				if e := w.refused(tcp(alice, 80)); e.Reason != reason || e.Hop != nat.HopGateway {
					w.t.Errorf("got %v, want the gateway's %v", e, reason)
				}
				if did := w.router.commands(); len(did) != 0 {
					w.t.Errorf("the router was sent %v", did)
				}
				w.empty()
				w.gateway.edit(func(g *gateway) { g.before = nil })
				w.mapped(tcp(alice, 80))
				w.agree()
			})
		})
	}
}

func TestCreateWithSilentGateway(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.gateway.edit(func(g *gateway) { g.before = silent })
		began := time.Now()
		if e := w.refused(tcp(alice, 80)); e.Reason != nat.ReasonUnreachable {
			w.t.Errorf("got %v, want unreachable", e)
		}
		if took := time.Since(began); took != 8*time.Second {
			w.t.Errorf("gave up after %v, want 8s", took)
		}
		// What the gateway may have granted is owed, for as long as it may live.
		if n := w.service.Status().Debts; n != 1 {
			w.t.Errorf("%d debts, want 1", n)
		}
		time.Sleep(3 * time.Hour)
		w.empty()
	})
}

// The gateway granted and its answer was lost. Nobody came back: the lease is given
// back as soon as the gateway answers again.
func TestGrantThatGotLostIsGivenBack(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.gateway.edit(func(g *gateway) { g.life, g.after = 0, silent })
		w.wantRefused(tcp(alice, 80))
		if n := len(w.gateway.live()); n != 1 {
			w.t.Fatalf("%d leases, want the one that we know nothing of", n)
		}
		time.Sleep(5 * time.Minute)
		w.gateway.edit(func(g *gateway) { g.after = nil })
		time.Sleep(time.Minute)
		w.empty()
	})
}

// The same, but the client asks again: the lease is taken over, not doubled.
func TestGrantThatGotLostIsTakenOver(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.gateway.edit(func(g *gateway) { g.life, g.after = 0, silent })
		w.wantRefused(tcp(alice, 80))
		before := w.gateway.live()
		w.gateway.edit(func(g *gateway) { g.after = nil })
		w.mapped(tcp(alice, 80))
		if diff := cmp.Diff(before, w.gateway.live(), cmp.AllowUnexported(leaseKey{})); diff != "" {
			w.t.Errorf("leases (-granted +now):\n%s", diff)
		}
		time.Sleep(10 * time.Minute)
		w.agree()
		if n := len(w.service.Mappings()); n != 1 {
			w.t.Errorf("%d mappings, want 1: a debt must not release the new lease", n)
		}
	})
}

func TestRuleThatCannotBeMadeGivesTheLeaseBack(t *testing.T) {
	t.Parallel()
	for _, reason := range []nat.Reason{nat.ReasonDenied, nat.ReasonUnreachable} {
		t.Run(reason.String(), func(t *testing.T) {
			t.Parallel()
			inWorld(t, nil, func(w *world) {
				w.router.edit(func(r *router) {
					r.before = func(string, nat.Rule) error { return routerError(reason, false) }
				})
				if e := w.refused(tcp(alice, 80)); e.Reason != reason || e.Hop != nat.HopRouter {
					w.t.Errorf("got %v, want the router's %v", e, reason)
				}
				w.empty()
			})
		})
	}
}

// Both layers fail: the rule cannot be made and the lease not be given back.
func TestUndoThatFailsIsMadeUpFor(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.gateway.edit(func(g *gateway) {
			g.life = 0
			g.before = func(op string, _ nat.Protocol, _ uint16) error {
				if op == "release" {
					return errSilence
				}
				return nil
			}
		})
		w.router.edit(func(r *router) {
			r.before = func(string, nat.Rule) error { return routerError(nat.ReasonUnreachable, false) }
		})
		w.wantRefused(tcp(alice, 80))
		time.Sleep(5 * time.Second)
		if w.service.Status().Debts != 1 || len(w.gateway.live()) != 1 {
			w.t.Fatalf("want one lease that is owed, got %v", w.gateway.live())
		}
		w.gateway.edit(func(g *gateway) { g.before = nil })
		w.router.edit(func(r *router) { r.before = nil })
		time.Sleep(time.Minute)
		w.empty()
	})
}

// The router executed the add and the answer was lost for good.
func TestRuleInDoubt(t *testing.T) {
	t.Parallel()
	lose := lostReply("add")
	t.Run("the client is gone", func(t *testing.T) {
		t.Parallel()
		inWorld(t, nil, func(w *world) {
			w.router.edit(func(r *router) { r.after = lose })
			w.wantRefused(tcp(alice, 80))
			if n := len(w.router.ids()); n != 1 {
				w.t.Fatalf("%d rules, want the one in doubt", n)
			}
			w.router.edit(func(r *router) { r.after = nil })
			time.Sleep(3 * time.Minute)
			w.empty()
		})
	})
	t.Run("the client asks again", func(t *testing.T) {
		t.Parallel()
		inWorld(t, nil, func(w *world) {
			w.router.edit(func(r *router) { r.after = lose })
			w.wantRefused(tcp(alice, 80))
			w.router.edit(func(r *router) { r.after = nil })
			w.mapped(tcp(alice, 80))
			w.agree()
		})
	})
	t.Run("it was not executed", func(t *testing.T) {
		t.Parallel()
		inWorld(t, nil, func(w *world) {
			w.router.edit(func(r *router) { r.before = lose })
			w.wantRefused(tcp(alice, 80))
			w.router.edit(func(r *router) { r.before = nil })
			time.Sleep(3 * time.Minute)
			w.empty()
		})
	})
}

func TestDeleteWithRouterDown(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		down := func(string, nat.Rule) error { return routerError(nat.ReasonUnreachable, false) }
		w.router.edit(func(r *router) { r.before = down })
		wantReason(w.t, w.service.Unmap(w.t.Context(), tcp(alice, 80)), nat.ReasonUnreachable)
		if m, ok := w.service.Mapping(tcp(alice, 80)); !ok || !m.Closing {
			w.t.Errorf("mapping %+v, want one that is closing", m)
		}
		// Its client asks again while the removal is still owed, and again once the router is back.
		if e := w.refused(tcp(alice, 80)); e.Hop != nat.HopRouter {
			w.t.Errorf("got %v, want the router's failure", e)
		}
		w.router.edit(func(r *router) { r.before = nil })
		w.mapped(tcp(alice, 80))
		w.agree()
		if m, _ := w.service.Mapping(tcp(alice, 80)); m.Closing {
			w.t.Error("still closing after its client took it back")
		}

		w.router.edit(func(r *router) { r.before = down })
		wantReason(w.t, w.service.Unmap(w.t.Context(), tcp(alice, 80)), nat.ReasonUnreachable)
		w.router.edit(func(r *router) { r.before = nil })
		time.Sleep(time.Minute)
		w.empty()
	})
}

func TestExpiryWithRouterDown(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.router.edit(func(r *router) {
			r.before = func(string, nat.Rule) error { return routerError(nat.ReasonUnreachable, false) }
		})
		time.Sleep(5 * time.Minute)
		if n := len(w.router.commands()); n > 60 {
			w.t.Errorf("%d commands in 5 minutes to a router that is down", n)
		}
		w.router.edit(func(r *router) { r.before = nil })
		time.Sleep(time.Minute)
		w.empty()
	})
}

func TestRenewalWithSlowGateway(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		first := w.mapped(tcp(alice, 80))
		time.Sleep(30 * time.Second)
		w.gateway.edit(func(g *gateway) { g.latency = 3 * time.Second })
		began := time.Now()
		got := w.mapped(tcp(alice, 80))
		if took := time.Since(began); took != 200*time.Millisecond {
			w.t.Errorf("answered after %v, want 200ms", took)
		}
		if got.ExternalPort != first.ExternalPort || got.Lifetime != 29*time.Second {
			w.t.Errorf("got %v, want the same port and the 29 whole seconds that were left", got)
		}
		time.Sleep(3 * time.Second)
		m, _ := w.service.Mapping(tcp(alice, 80))
		if left := time.Until(m.Until); left < 59*time.Second {
			w.t.Errorf("%v left after the gateway answered, want the renewed lifetime", left)
		}
		w.gateway.edit(func(g *gateway) { g.latency = 0 })
		w.agree()
	})
}

// While the gateway refuses for minutes its clients keep being told that their
// mappings stand, because an error costs some of them hours.
func TestRenewalsWhileGatewayIsAway(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		away func(string, nat.Protocol, uint16) error
	}{{"silent", silent}, {"refused", failing(nat.ReasonUnreachable)}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, nil, func(w *world) {
				grant := w.mapped(tcp(alice, 80))
				port, id := grant.ExternalPort, w.router.ids()[tcp(alice, 80)]
				w.gateway.edit(func(g *gateway) { g.before = tt.away })
				for away := time.Duration(0); away < 5*time.Minute; away += grant.Lifetime / 2 {
					time.Sleep(grant.Lifetime / 2)
					if grant = w.mapped(tcp(alice, 80)); grant.ExternalPort != port || grant.Lifetime < time.Second {
						w.t.Fatalf("told %v, want port %d", grant, port)
					}
				}
				w.gateway.edit(func(g *gateway) {
					g.before = nil
					g.leases = make(map[leaseKey]lease)
				})
				time.Sleep(10 * time.Second)
				w.mapped(tcp(alice, 80))
				w.agree()
				if now := w.router.ids()[tcp(alice, 80)]; now != id {
					w.t.Errorf("the rule is %q and was %q: connections through it were cut", now, id)
				}
			})
		})
	}
}

// It does not go on for ever: who is away too long is lost.
func TestGatewayAwayForGood(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.gateway.edit(func(g *gateway) { g.before = failing(nat.ReasonUnreachable) })
		began := time.Now()
		for {
			time.Sleep(10 * time.Second)
			if _, err := w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Hour}); err != nil {
				wantReason(w.t, err, nat.ReasonUnreachable)
				break
			}
		}
		if away := time.Since(began); away < 10*time.Minute || away > 13*time.Minute {
			w.t.Errorf("held over for %v, want a little more than 10 minutes", away)
		}
		time.Sleep(time.Minute)
		w.empty()
	})
}

func TestGatewayThatDeniesARenewal(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.gateway.edit(func(g *gateway) { g.before = failing(nat.ReasonDenied) })
		time.Sleep(30 * time.Second)
		if got := w.mapped(tcp(alice, 80)); got.Lifetime != 29*time.Second {
			w.t.Errorf("told %v while the lease still stands, want 29s", got.Lifetime)
		}
		time.Sleep(31 * time.Second)
		if e := w.refused(tcp(alice, 80)); e.Reason != nat.ReasonDenied {
			w.t.Errorf("got %v, want denied", e)
		}
		w.empty()
	})
}

func TestConflictOnTheExternalPort(t *testing.T) {
	t.Parallel()
	t.Run("same protocol", func(t *testing.T) {
		t.Parallel()
		inWorld(t, nil, func(w *world) {
			a := w.mapped(tcp(alice, 80))
			w.gateway.edit(func(g *gateway) { g.granted = []uint16{a.ExternalPort, a.ExternalPort, 40404} })
			if b := w.mapped(tcp(bob, 80)); b.ExternalPort != 40404 {
				w.t.Errorf("second client got %v, want the port that is free", b)
			}
			w.agree()
		})
	})
	t.Run("companion of another client", func(t *testing.T) {
		t.Parallel()
		inWorld(t, nil, func(w *world) {
			a := w.mapped(tcp(alice, 80))
			w.gateway.edit(func(g *gateway) {
				g.granted = []uint16{a.ExternalPort, a.ExternalPort, a.ExternalPort, a.ExternalPort}
			})
			if e := w.refused(udp(bob, 80)); e.Reason != nat.ReasonResources {
				w.t.Errorf("got %v, want out of resources", e)
			}
			w.agree()
			// Its own client gets it.
			if got := w.mapped(udp(alice, 80)); got.ExternalPort != a.ExternalPort {
				w.t.Errorf("companion got %d, want %d", got.ExternalPort, a.ExternalPort)
			}
			w.agree()
		})
	})
	t.Run("ports that are never given", func(t *testing.T) {
		t.Parallel()
		inWorld(t, nil, func(w *world) {
			w.gateway.edit(func(g *gateway) { g.granted = []uint16{5350, 5351, 40404} })
			if got := w.mapped(udp(alice, 80)); got.ExternalPort != 40404 {
				w.t.Errorf("got port %d, want 40404", got.ExternalPort)
			}
			w.agree()
		})
	})
}

func TestRouterThatIsNotThereAtStart(t *testing.T) {
	t.Parallel()
	inWorld(t, func(_ *nat.Config, w *world) {
		w.router.before = func(string, nat.Rule) error { return routerError(nat.ReasonUnreachable, false) }
	}, func(w *world) {
		began := time.Now()
		if e := w.refused(tcp(alice, 80)); e.Hop != nat.HopRouter || e.Reason != nat.ReasonUnreachable {
			w.t.Errorf("got %v, want the router unreachable", e)
		}
		if took := time.Since(began); took != 8*time.Second {
			w.t.Errorf("gave up after %v, want 8s", took)
		}
		if n := w.gateway.count(); n != 0 {
			w.t.Errorf("%d gateway packets before the router is known", n)
		}
		// A create that waits goes through when the router comes.
		go func() {
			time.Sleep(4 * time.Second)
			w.router.edit(func(r *router) { r.before = nil })
			w.service.Reconcile()
		}()
		w.mapped(tcp(alice, 80))
		w.agree()
	})
}

// Nothing that a client does may stop what it began in the middle.
func TestClientThatGoesAwayDuringACreate(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		var hits atomic.Int32
		w.router.edit(func(r *router) {
			r.after = func(op string, _ nat.Rule) error {
				if op == "add" {
					hits.Add(1)
				}
				return nil
			}
		})
		ctx, cancel := contextFor(w, 35*time.Millisecond)
		defer cancel()
		if _, err := w.service.Map(ctx, nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Hour}); err == nil {
			w.t.Error("got a grant after the request had ended")
		}
		w.agree()
		if hits.Load() != 1 || len(w.service.Mappings()) != 1 {
			w.t.Errorf("%d rules made, %d mappings, want 1 and 1", hits.Load(), len(w.service.Mappings()))
		}
	})
}

// A lease that was granted in the last moment still gets its rule: the time that the
// gateway took is not held against the router.
func TestLateGrantLeavesTimeForTheRule(t *testing.T) {
	t.Parallel()
	for name, latency := range map[string]time.Duration{"in time": 7995 * time.Millisecond, "too late": 8005 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, nil, func(w *world) {
				w.gateway.edit(func(g *gateway) { g.latency = latency })
				_, err := w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Hour})
				w.gateway.edit(func(g *gateway) { g.latency = 30 * time.Millisecond })
				if fault, failed := errors.AsType[*nat.Error](err); failed != (name == "too late") || failed && fault.Hop != nat.HopGateway {
					w.t.Errorf("error %v", err)
				}
				time.Sleep(10 * time.Second) // in which a lease that came too late is given back
				w.agree()
			})
		})
	}
}

// The router has what the gateway left of the time, and a second if that is more.
func TestSilentRouterEndsACreate(t *testing.T) {
	t.Parallel()
	for grant, want := range map[time.Duration]time.Duration{0: 8 * time.Second, 7500 * time.Millisecond: 8500 * time.Millisecond} {
		t.Run(grant.String(), func(t *testing.T) {
			t.Parallel()
			inWorld(t, nil, func(w *world) {
				w.gateway.edit(func(g *gateway) { g.latency = grant })
				w.router.edit(func(r *router) { r.latency = time.Hour })
				began := time.Now()
				fault := w.refused(tcp(alice, 80))
				w.router.edit(func(r *router) { r.latency = 10 * time.Millisecond })
				w.gateway.edit(func(g *gateway) { g.latency = 0 })
				if took := time.Since(began); fault.Hop != nat.HopRouter || took != want {
					w.t.Errorf("gave up after %v: %v, want the router after %v", took, fault, want)
				}
				time.Sleep(3 * time.Minute)
				w.empty()
			})
		})
	}
}
