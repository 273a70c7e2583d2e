package nat_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

// oneMapping is a gateway with one symmetric mapping for each protocol, as
// internal/gateway shows it: whatever inner port is named, and without releases.
type oneMapping struct{ *gateway }

func (g oneMapping) Lease(ctx context.Context, req nat.LeaseRequest) (nat.Lease, error) {
	req.InnerPort, req.ExternalPort = 0, 41000
	return g.gateway.Lease(ctx, req)
}

func (oneMapping) Release(context.Context, nat.Protocol, uint16) error { return nil }

func symmetric(c *nat.Config, w *world) { c.Symmetric, c.Gateway = true, oneMapping{w.gateway} }

// matches returns what the rules on the router match, by key.
func (w *world) matches() map[nat.Key]nat.MatchPorts {
	w.router.mu.Lock()
	defer w.router.mu.Unlock()
	all := make(map[nat.Key]nat.MatchPorts)
	for _, r := range w.router.rules {
		all[r.Key] = r.Match
	}
	return all
}

// wantMatches fails the test unless the rules match these external ports, each beside
// its inner port.
func (w *world) wantMatches(externals map[nat.Key][]uint16) {
	w.t.Helper()
	want := make(map[nat.Key]nat.MatchPorts)
	for key, ports := range externals {
		m, _ := w.service.Mapping(key)
		match := nat.MatchPorts{m.InnerPort}
		copy(match[1:], ports)
		want[key] = match
	}
	if diff := cmp.Diff(want, w.matches(), cmpAddr); diff != "" {
		w.t.Errorf("rules match (-want +got):\n%s", diff)
	}
}

// TestSymmetric: the rule matches the external port, and the inner one for a gateway
// that grants named ports after all; it follows the external port at once (facts C3).
func TestSymmetric(t *testing.T) {
	t.Parallel()
	inWorld(t, symmetric, func(w *world) {
		for _, key := range []nat.Key{tcp(alice, 80), udp(alice, 80)} {
			if got := w.mapped(key); got.ExternalPort != 41000 {
				w.t.Errorf("%v: got %+v", key, got)
			}
		}
		w.wantMatches(map[nat.Key][]uint16{tcp(alice, 80): {41000}, udp(alice, 80): {41000}})
		w.router.commands()
		time.Sleep(20 * time.Second)
		w.mapped(tcp(alice, 80))
		if did := w.router.commands(); len(did) != 0 {
			w.t.Errorf("a renewal cost the router %v", did)
		}
		w.gateway.edit(func(g *gateway) { g.granted = []uint16{42000, 42000} })
		if got := w.mapped(tcp(alice, 80)); got.ExternalPort != 42000 {
			w.t.Errorf("got %+v", got)
		}
		time.Sleep(time.Second) // The other protocol is asked for at once.
		w.wantMatches(map[nat.Key][]uint16{tcp(alice, 80): {42000, 41000}, udp(alice, 80): {42000, 41000}})
	})
}

// TestSymmetricIsOne: who has the tunnel's one mapping keeps it from every other port
// and client until it ends and its rule is gone.
func TestSymmetricIsOne(t *testing.T) {
	t.Parallel()
	inWorld(t, symmetric, func(w *world) {
		w.mapped(tcp(alice, 80))
		packets := w.gateway.count()
		for _, key := range []nat.Key{tcp(alice, 81), udp(bob, 80)} {
			e := w.refused(key)
			wantReason(w.t, e, nat.ReasonResources)
			if e.Hop != nat.HopNone {
				w.t.Errorf("%v: refused by %v", key, e.Hop)
			}
		}
		w.mapped(udp(alice, 80))
		if packets += w.gateway.count(); packets != 2 {
			w.t.Errorf("%d packets to the gateway, want one for each protocol", packets)
		}
		w.router.edit(func(r *router) { r.before = failOn(nat.ReasonUnreachable, false, "remove") })
		for _, p := range nat.Protocols() {
			if err := w.service.Unmap(w.t.Context(), tcp(alice, 80).Port().With(p)); err == nil {
				w.t.Error("the rule cannot be removed, and nobody says so")
			}
		}
		wantReason(w.t, w.refused(tcp(bob, 80)), nat.ReasonResources)
		w.router.edit(func(r *router) { r.before = nil })
		time.Sleep(time.Minute)
		w.mapped(tcp(bob, 80))
		w.wantMatches(map[nat.Key][]uint16{tcp(bob, 80): {41000}})
		if err := w.service.Unmap(w.t.Context(), tcp(bob, 80)); err != nil {
			w.t.Error(err)
		}
		time.Sleep(time.Second)
		if left := w.service.Leftovers(); len(left) > 0 {
			w.t.Errorf("left over: %v", left)
		}
	})
}

// TestSymmetricConflict: a port that a rule of somebody else takes cannot be used, and
// there is no other one.
func TestSymmetricConflict(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, w *world) {
		symmetric(c, w)
		foreign := new(nat.PortSet)
		foreign.Add(41000)
		w.router.used = map[nat.Protocol]*nat.PortSet{nat.TCP: foreign}
	}, func(w *world) {
		wantReason(w.t, w.refused(tcp(alice, 80)), nat.ReasonResources)
		w.mapped(udp(alice, 80))
		w.wantMatches(map[nat.Key][]uint16{udp(alice, 80): {41000}})
	})
}

// TestSymmetricLosesItsPort: somebody makes a rule for the external port of a mapping.
func TestSymmetricLosesItsPort(t *testing.T) {
	t.Parallel()
	inWorld(t, symmetric, func(w *world) {
		w.mapped(tcp(alice, 80))
		foreign := new(nat.PortSet)
		foreign.Add(41000)
		w.router.edit(func(r *router) { r.used = map[nat.Protocol]*nat.PortSet{nat.TCP: foreign} })
		w.service.Reconcile()
		time.Sleep(time.Second)
		w.wantMatches(map[nat.Key][]uint16{tcp(alice, 80): nil})
		wantReason(w.t, w.refused(tcp(alice, 80)), nat.ReasonResources)
		w.router.edit(func(r *router) { r.used = nil })
		w.service.Reconcile()
		time.Sleep(time.Second)
		w.mapped(tcp(alice, 80))
		w.wantMatches(map[nat.Key][]uint16{tcp(alice, 80): {41000}})
	})
}

// TestSymmetricAdoption: after a restart the mapping stands with its port, and no other
// client gets in between. Of the mappings of a run with named ports one stays.
func TestSymmetricAdoption(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, w *world) { symmetric(c, w); c.KeepOnShutdown = true }, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.mapped(udp(alice, 80))
		ids := w.router.ids()
		_ = w.stop()
		w.router.edit(func(r *router) {
			r.put(nat.Rule{Key: udp(bob, 53), InnerPort: 20053, ExternalPort: 40053, Lifetime: time.Hour, Match: nat.MatchPorts{20053}})
			r.put(nat.Rule{Key: tcp(bob, 53), InnerPort: 20053, ExternalPort: 40053, Lifetime: time.Hour, Match: nat.MatchPorts{20053}})
		})
		early := make(chan error, 1)
		w.start(func(c *nat.Config, w *world) {
			symmetric(c, w)
			time.AfterFunc(time.Millisecond, func() { // before the router has answered
				w.mu.Lock()
				service := w.service
				w.mu.Unlock()
				_, err := service.Map(w.t.Context(), nat.MapRequest{Key: tcp(bob, 80), Lifetime: time.Hour})
				early <- err
			})
		})
		if e, ok := errors.AsType[*nat.Error](<-early); !ok || e.Reason != nat.ReasonResources || e.Hop != nat.HopNone {
			w.t.Errorf("another client that asked before the owner was known: got %v, want no packet sent for it", e)
		}
		if diff := cmp.Diff(ids, w.router.ids(), cmpAddr); diff != "" {
			w.t.Errorf("rules (-before +after):\n%s", diff)
		}
		w.wantMatches(map[nat.Key][]uint16{tcp(alice, 80): {41000}, udp(alice, 80): {41000}})
		if got := w.mapped(tcp(alice, 80)); got.ExternalPort != 41000 {
			w.t.Errorf("got %+v", got)
		}
		time.Sleep(2 * time.Minute)
		if left := w.service.Leftovers(); len(left) > 0 {
			w.t.Errorf("left over: %v", left)
		}
	})
}

// TestSymmetricDelivery: a setting that the operator made is left alone.
func TestSymmetricDelivery(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, w *world) { symmetric(c, w); c.Delivery = nat.DeliverExternal }, func(w *world) {
		w.mapped(tcp(alice, 80))
		if diff := cmp.Diff(map[nat.Key]nat.MatchPorts{tcp(alice, 80): {41000}}, w.matches(), cmpAddr); diff != "" {
			w.t.Errorf("rules match (-want +got):\n%s", diff)
		}
	})
}
