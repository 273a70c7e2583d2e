package nat_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/nat"
)

// tunnel is one router and one gateway that several doublenats share, each with a name
// of its own.
type tunnel struct {
	router  *router
	gateway *gateway
	// owners says whose rule one is, by its ID. Guarded by router.mu.
	owners map[string]string
}

// share is the router as one of them sees it: its own rules, and the ports of the others.
type share struct {
	*tunnel

	name string
}

func (s share) Rules(ctx context.Context) (snap nat.Snapshot, err error) {
	err = s.router.do(ctx, "rules", nat.Rule{}, func() {
		snap.Used = map[nat.Protocol]*nat.PortSet{nat.TCP: {}, nat.UDP: {}}
		for _, r := range s.router.rules {
			if s.owners[r.ID] == s.name {
				snap.Rules = append(snap.Rules, r)
				continue
			}
			for _, port := range r.Match {
				if port != 0 {
					snap.Used[r.Key.Protocol].Add(port)
				}
			}
		}
	})
	return snap, err
}

func (s share) AddRule(ctx context.Context, rule nat.Rule) (nat.Rule, error) {
	err := s.router.do(ctx, "add", rule, func() {
		rule = s.router.put(rule)
		s.owners[rule.ID] = s.name
	})
	return rule, err
}

func (s share) UpdateRule(ctx context.Context, found, want nat.Rule) error {
	return s.router.UpdateRule(ctx, found, want)
}

func (s share) RemoveRule(ctx context.Context, r nat.Rule) error {
	return s.router.do(ctx, "remove", r, func() {
		s.router.rules = slices.DeleteFunc(s.router.rules, func(have nat.Rule) bool { return have.ID == r.ID })
	})
}

// Doublenats of different names that share a tunnel settle, each on inner ports of its
// own, also where the same clients asked all of them at the same moment. They do not
// chase each other from port to port for ever.
func TestNeighborsSettle(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{{"a", "b"}, {"a", "b", "c", "d"}, {"same", "same", "same", "same"}} {
		t.Run(fmt.Sprint(names), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { settle(t, names) })
		})
	}
}

func settle(t *testing.T, names []string) {
	t.Helper()
	shared := &tunnel{
		router:  &router{latency: 10 * time.Millisecond},
		gateway: &gateway{leases: make(map[leaseKey]lease), life: time.Minute, latency: 30 * time.Millisecond, random: rand.New(rand.NewPCG(1, 2))},
		owners:  make(map[string]string),
	}
	worlds := make([]*world, len(names))
	var started sync.WaitGroup
	for i, name := range names {
		worlds[i] = &world{t: t, router: shared.router, gateway: shared.gateway}
		started.Go(func() {
			worlds[i].start(func(cfg *nat.Config, _ *world) {
				cfg.Router, cfg.Policy = share{shared, fmt.Sprint(i)}, nat.PolicyHold
				cfg.Instance, cfg.Random = name, nil
			})
		})
	}
	started.Wait() // They look at the router in the same moment from now on.
	keys := []nat.Key{tcp(alice, 6881), udp(alice, 6881), tcp(alice, 6882), tcp(bob, 51413)}
	for _, w := range worlds {
		for _, key := range keys {
			w.service.StartMap(t.Context(), nat.MapRequest{Key: key, Lifetime: 2 * time.Hour})
		}
	}
	time.Sleep(10 * time.Minute)
	settled := innerPorts(worlds)
	for range 30 {
		time.Sleep(time.Minute)
		if now := innerPorts(worlds); !slices.Equal(now, settled) {
			t.Fatalf("inner ports are %v, and were %v a minute ago", now, settled)
		}
	}
	if distinct := len(slices.Compact(slices.Sorted(slices.Values(settled)))); distinct != 3*len(names) {
		t.Errorf("inner ports %v, want %d different ones: one for each client port", settled, 3*len(names))
	}
	for _, w := range worlds {
		if err := w.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
}

// innerPorts returns those of all mappings, world by world.
func innerPorts(worlds []*world) (all []uint16) {
	for _, w := range worlds {
		for _, m := range w.service.Mappings() {
			all = append(all, m.InnerPort)
		}
	}
	return all
}
