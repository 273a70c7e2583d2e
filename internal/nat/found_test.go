package nat_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

// The tests of this file are about what the simulation found (internal/sim).

// A deletion interrupts the renewal that is under way, and both end.
func TestDeletionDuringRenewal(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.gateway.edit(func(g *gateway) { g.latency = 5 * time.Second })
		var renewal sync.WaitGroup
		renewal.Go(func() { // How it ends does not matter, and that it does is all.
			_, _ = w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Hour})
		})
		time.Sleep(100 * time.Millisecond)
		w.gateway.edit(func(g *gateway) { g.latency = 30 * time.Millisecond })
		began := time.Now()
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err != nil {
			w.t.Errorf("deleting: %v", err)
		}
		if took := time.Since(began); took > time.Second {
			w.t.Errorf("deleting took %v", took)
		}
		renewal.Wait()
		time.Sleep(3 * time.Second)
		w.empty()
	})
}

// A gateway that lost its state and has no room any more does not hold a lease until
// the end that it once promised: the mapping ends, and its client is told so.
func TestRefusalAfterStateLoss(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.gateway.edit(func(g *gateway) { g.life = time.Hour })
		w.mapped(tcp(alice, 80))
		w.gateway.edit(func(g *gateway) {
			clear(g.leases)
			g.before = func(op string, _ nat.Protocol, _ uint16) error {
				if op == "lease" { // Who has no room ends leases all the same.
					return gatewayError(nat.ReasonResources, false)
				}
				return nil
			}
		})
		w.service.GatewayLost()
		time.Sleep(10 * time.Second)
		if e := w.refused(tcp(alice, 80)); e.Reason != nat.ReasonResources {
			w.t.Errorf("got %v, want out of resources", e)
		}
		time.Sleep(time.Minute)
		w.empty()
		w.gateway.edit(func(g *gateway) { g.before = nil })
	})
}

// A gateway that says no for a while, as some do after a restart, costs no mapping its
// rule: not at all where doublenat holds the lease, and else not at once.
func TestRefusalThatPasses(t *testing.T) {
	t.Parallel()
	for policy, lasts := range map[nat.LeasePolicy]time.Duration{nat.PolicyHold: 5 * time.Minute, nat.PolicyClient: 20 * time.Second} {
		for _, reason := range []nat.Reason{nat.ReasonDenied, nat.ReasonResources} {
			for _, told := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v, %v, told %v", policy, reason, told), func(t *testing.T) {
					t.Parallel()
					inWorld(t, func(c *nat.Config, _ *world) { c.Policy = policy }, func(w *world) {
						w.mapped(tcp(alice, 80))
						before := w.router.ids()
						w.gateway.edit(func(g *gateway) {
							clear(g.leases)
							g.before = failing(reason)
						})
						if told {
							w.service.GatewayLost()
						}
						time.Sleep(lasts)
						w.gateway.edit(func(g *gateway) { g.before = nil })
						time.Sleep(30 * time.Second)
						if !told && policy == nat.PolicyClient {
							w.mapped(tcp(alice, 80)) // Nobody knew that anything was lost.
						}
						if diff := cmp.Diff(before, w.router.ids(), cmpAddr); diff != "" {
							w.t.Errorf("rules (-before +after):\n%s", diff)
						}
						w.agree()
					})
				})
			}
		}
	}
}

// Ids that the router gave anew are noticed also while the write of a changed port
// into the rule's comment is put off.
func TestNewIDWhileTheCommentWaits(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.gateway.edit(func(g *gateway) { g.granted = []uint16{40001} })
		if grant := w.mapped(tcp(alice, 80)); grant.ExternalPort != 40001 {
			w.t.Fatalf("got port %d, want the one that the gateway moved to", grant.ExternalPort)
		}
		w.router.edit(func(r *router) { r.rules[0].ID = "*FF" })
		w.service.Reconcile()
		time.Sleep(time.Second)
		if m, _ := w.service.Mapping(tcp(alice, 80)); m.RuleID != "*FF" {
			w.t.Errorf("the table has rule %s, want *FF", m.RuleID)
		}
		w.agree()
	})
}

// A renewal that a deletion interrupts may reach the gateway after the deletion, and
// make the lease anew: it is given back once more.
func TestDeletionOvertakesRenewal(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		m, _ := w.service.Mapping(tcp(alice, 80))
		w.gateway.edit(func(g *gateway) { g.latency = 5 * time.Second })
		var renewal sync.WaitGroup
		renewal.Go(func() { // How it ends does not matter, and that it does is all.
			_, _ = w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Hour})
		})
		time.Sleep(100 * time.Millisecond)
		w.gateway.edit(func(g *gateway) { g.latency = 30 * time.Millisecond })
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err != nil {
			w.t.Errorf("deleting: %v", err)
		}
		renewal.Wait()
		w.gateway.edit(func(g *gateway) { // What was on its way arrives.
			g.leases[leaseKey{nat.TCP, m.InnerPort}] = lease{40001, time.Now().Add(time.Hour)}
		})
		time.Sleep(5 * time.Second)
		w.empty()
	})
}

// The time that a slow router takes is not promised to the client: its lease began
// before that.
func TestLifetimeAfterASlowRouter(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.router.edit(func(r *router) { r.latency = 3 * time.Second })
		if grant := w.mapped(tcp(alice, 80)); grant.Lifetime != 57*time.Second {
			w.t.Errorf("promised %v, want the 57s that are left of the lease", grant.Lifetime)
		}
		w.router.edit(func(r *router) { r.latency = 10 * time.Millisecond })
	})
}

// A mapping that is revived while its rule cannot be removed has the rule as it
// stands on the router, whose comment tells the lifetime that was asked for at first:
// the router finds rules by their comments.
func TestRevivedRuleIsTheOneOnTheRouter(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.router.edit(func(r *router) { r.before = failOn(nat.ReasonDenied, false, "remove") })
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err == nil {
			w.t.Fatal("the router removed the rule")
		}
		if _, err := w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Minute}); err != nil {
			w.t.Fatal(err)
		}
		var removed nat.Rule
		w.router.edit(func(r *router) {
			r.before = func(op string, rule nat.Rule) error {
				if op == "remove" {
					removed = rule
				}
				return nil
			}
		})
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err != nil {
			w.t.Error(err)
		}
		if removed.Lifetime != time.Hour {
			w.t.Errorf("asked to remove the rule made for %v, want the one for an hour that stands", removed.Lifetime)
		}
		w.empty()
	})
}

// A gateway that answers a renewal with ports of somebody else only has taken the
// lease away, because such a grant is given back: nobody is told that it stands.
func TestRenewalThatIsGrantedOthersPorts(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.gateway.edit(func(g *gateway) { g.life = time.Hour })
		taken := w.mapped(tcp(alice, 80)).ExternalPort
		w.mapped(tcp(bob, 80))
		w.gateway.edit(func(g *gateway) {
			g.granted = slices.Repeat([]uint16{taken}, 4)
			g.latency = time.Millisecond // All tries fit into the time that a renewal is waited for.
		})
		if e := w.refused(tcp(bob, 80)); e.Reason != nat.ReasonResources {
			w.t.Errorf("got %v, want out of resources", e)
		}
		time.Sleep(2 * time.Minute)
		w.agree()
	})
}
