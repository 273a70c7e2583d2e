package nat_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/nat"
)

// finder is a router that finds a rule instead of making it twice, as the real one does
// when the reply to the first try got lost.
type finder struct{ *router }

func (f finder) AddRule(ctx context.Context, rule nat.Rule) (nat.Rule, error) {
	err := f.do(ctx, "add", rule, func() {
		if i := slices.IndexFunc(f.rules, func(have nat.Rule) bool { return sameComment(have, rule) }); i >= 0 {
			rule = f.rules[i]
			return
		}
		rule = f.put(rule)
	})
	return rule, err
}

// A rule that nothing stood behind when the router was read, and that became a mapping's
// before its removal had its turn, stays.
func TestRemovalLooksOnceMore(t *testing.T) {
	t.Parallel()
	key := tcp(alice, 6881)
	inWorld(t, func(cfg *nat.Config, w *world) { cfg.Router = finder{w.router} }, func(w *world) {
		grant := w.mapped(key)
		stray := w.router.rules[0]
		if err := w.service.Unmap(w.t.Context(), key); err != nil {
			w.t.Fatal(err)
		}
		// Somebody restores a backup, and the client comes back with the same ports.
		w.router.edit(func(r *router) { r.rules = append(r.rules, stray) })
		w.gateway.edit(func(g *gateway) { g.latency, g.granted = time.Second, []uint16{grant.ExternalPort} })
		w.service.StartMap(w.t.Context(), nat.MapRequest{Key: key, Lifetime: time.Hour})
		synctest.Wait()
		w.router.commands()
		w.service.Reconcile() // It reads the rule, and waits for the port's turn to remove it.
		time.Sleep(5 * time.Second)
		if did := w.router.commands(); !slices.Equal(did, []string{"rules", "add"}) {
			w.t.Errorf("the router was asked %v, want no removal", did)
		}
		w.agree()
	})
}

// An adopted mapping whose gateway does not answer lives as long as was asked for, and
// with policy client no longer than a gateway may be away.
func TestAdoptedMappingEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		policy    nat.LeasePolicy
		requested time.Duration
		want      time.Duration
	}{
		{"client, long", nat.PolicyClient, 2 * time.Hour, 10 * time.Minute},
		{"client, short", nat.PolicyClient, 3 * time.Minute, 3 * time.Minute},
		{"hold", nat.PolicyHold, 2 * time.Hour, 2 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(cfg *nat.Config, w *world) {
				cfg.Policy = tt.policy
				w.router.put(nat.Rule{Key: tcp(alice, 6881), InnerPort: 20000, ExternalPort: 40000, Lifetime: tt.requested, Match: nat.MatchPorts{20000}})
				w.gateway.before = func(string, nat.Protocol, uint16) error { return errSilence }
			}, func(w *world) {
				time.Sleep(tt.want - 10*time.Second)
				if n := len(w.router.ids()); n != 1 {
					t.Errorf("%d rules shortly before %v, want it to stand", n, tt.want)
				}
				time.Sleep(20 * time.Second) // a try to renew may be under way
				if n := len(w.router.ids()); n != 0 {
					t.Errorf("%d rules shortly after %v", n, tt.want)
				}
				w.gateway.edit(func(g *gateway) { g.before = nil })
			})
		})
	}
}
