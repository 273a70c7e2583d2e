package nat_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

func zeroPort(c *nat.Config, _ *world) { c.ZeroPort = true }

// targets returns to which ports of the clients the rules on the router forward.
func (w *world) targets() map[nat.Key]uint16 {
	w.router.mu.Lock()
	defer w.router.mu.Unlock()
	all := make(map[nat.Key]uint16)
	for _, r := range w.router.rules {
		all[r.Key] = r.Target()
	}
	return all
}

func TestTarget(t *testing.T) {
	t.Parallel()
	named := nat.Rule{Key: tcp(alice, 80), ExternalPort: 40000}
	zero := nat.Rule{Key: tcp(alice, 0), ExternalPort: 40000}
	if named.Target() != 80 || zero.Target() != 40000 {
		t.Errorf("named leads to %d, port 0 to %d", named.Target(), zero.Target())
	}
}

// TestZeroPort: the external port is the client's port too, for both protocols, beside
// other mappings of the client and without disturbing them (facts C16).
func TestZeroPort(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, w *world) { zeroPort(c, w); c.Companion = true }, func(w *world) {
		first := w.mapped(tcp(alice, 0))
		if _, ok := w.service.Mapping(udp(alice, 0)); ok {
			w.t.Error("a companion was made")
		}
		if got := w.mapped(udp(alice, 0)); got != first {
			w.t.Errorf("udp got %+v, tcp %+v", got, first)
		}
		w.mapped(udp(alice, 80))
		w.mapped(tcp(bob, 0))
		if got := w.mapped(tcp(alice, 0)); got != first {
			w.t.Errorf("renewed with %+v, want %+v", got, first)
		}
		m, _ := w.service.Mapping(tcp(bob, 0))
		want := map[nat.Key]uint16{
			tcp(alice, 0): first.ExternalPort, udp(alice, 0): first.ExternalPort, udp(alice, 80): 80, tcp(bob, 0): m.ExternalPort,
		}
		if diff := cmp.Diff(want, w.targets(), cmpAddr); diff != "" {
			w.t.Errorf("targets (-want +got):\n%s", diff)
		}
		w.agree()
		if err := w.service.UnmapAll(w.t.Context(), alice, nat.UDP); err != nil {
			w.t.Error(err)
		}
		delete(want, udp(alice, 0))
		delete(want, udp(alice, 80))
		if diff := cmp.Diff(want, w.targets(), cmpAddr); diff != "" {
			w.t.Errorf("targets after delete-all (-want +got):\n%s", diff)
		}
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 0)); err != nil {
			w.t.Error(err)
		}
		w.agree()
	})
}

// TestZeroPortIsOff: without the setting there is no such mapping.
func TestZeroPortIsOff(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		wantReason(w.t, w.refused(tcp(alice, 0)), nat.ReasonDenied)
		if n := w.gateway.count(); n != 0 {
			w.t.Errorf("%d packets to the gateway", n)
		}
	})
}

// TestZeroPortMoves: a changed external port is another port of the client, so the rule
// cannot wait, and neither told port nor rule is ahead of the other.
func TestZeroPortMoves(t *testing.T) {
	t.Parallel()
	for _, policy := range []nat.LeasePolicy{nat.PolicyClient, nat.PolicyHold} {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(c *nat.Config, w *world) { zeroPort(c, w); c.Policy = policy }, func(w *world) {
				w.mapped(tcp(alice, 0))
				for i := range uint16(3) {
					w.router.commands()
					port := 40400 + i
					w.gateway.edit(func(g *gateway) { g.granted = []uint16{port} })
					time.Sleep(31 * time.Second) // with hold it is renewed by now
					if got := w.mapped(tcp(alice, 0)); got.ExternalPort != port {
						w.t.Errorf("told %+v, want port %d", got, port)
					}
					updates := 0
					for _, op := range w.router.commands() {
						if op == "update" {
							updates++
						}
					}
					if got := w.targets(); got[tcp(alice, 0)] != port || updates != 1 {
						w.t.Errorf("the rule leads to %v after %d updates, want port %d after one", got, updates, port)
					}
				}
				w.agree()
			})
		})
	}
}

// TestZeroPortCannotMove: while the rule still leads to the old port, the client is told
// of no new one; when it can be changed it is.
func TestZeroPortCannotMove(t *testing.T) {
	t.Parallel()
	inWorld(t, zeroPort, func(w *world) {
		w.mapped(tcp(alice, 0))
		w.router.edit(func(r *router) { r.before = failOn(nat.ReasonUnreachable, false, "update") })
		w.gateway.edit(func(g *gateway) { g.granted = []uint16{40404} })
		w.wantRefused(tcp(alice, 0))
		w.wantRefused(tcp(alice, 0))
		w.router.edit(func(r *router) { r.before = nil })
		if got := w.mapped(tcp(alice, 0)); got.ExternalPort != 40404 || w.targets()[tcp(alice, 0)] != 40404 {
			w.t.Errorf("told %+v, rules lead to %v", got, w.targets())
		}
		w.agree()
	})
}

// TestZeroPortOnlyToAllowedPorts: what the gateway grants is a port of the client, which
// the operator may have closed: such a lease is given back.
func TestZeroPortOnlyToAllowedPorts(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, w *world) {
		zeroPort(c, w)
		c.TargetPorts = func(port uint16) bool { return port >= 50000 }
	}, func(w *world) {
		grant := func(ports ...uint16) { w.gateway.edit(func(g *gateway) { g.granted = ports }) }
		grant(22, 50001)
		if got := w.mapped(tcp(alice, 0)); got.ExternalPort != 50001 {
			w.t.Errorf("got %+v", got)
		}
		grant(40001, 40002, 40003, 40004)
		wantReason(w.t, w.refused(udp(bob, 0)), nat.ReasonDenied)
		w.agree()
		grant(40001)
		w.mapped(tcp(bob, 8080)) // Its own port is what the frontend looks at.
		grant(40005, 50005)      // a renewal that moves
		if got := w.mapped(tcp(alice, 0)); got.ExternalPort != 50005 || w.targets()[tcp(alice, 0)] != 50005 {
			w.t.Errorf("got %+v, rules lead to %v", got, w.targets())
		}
		w.agree()
	})
}

// TestZeroPortAdoption: such a mapping outlives a restart, but not one after which it
// would not be made.
func TestZeroPortAdoption(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, w *world) { zeroPort(c, w); c.KeepOnShutdown = true }, func(w *world) {
		before := w.mapped(tcp(alice, 0))
		w.mapped(udp(alice, 0))
		ids := w.router.ids()
		_ = w.stop()
		w.start(func(c *nat.Config, w *world) { zeroPort(c, w); c.KeepOnShutdown = true })
		if diff := cmp.Diff(ids, w.router.ids(), cmpAddr); diff != "" {
			w.t.Errorf("rules (-before +after):\n%s", diff)
		}
		if got := w.mapped(tcp(alice, 0)); got != before {
			w.t.Errorf("renewed with %+v, want %+v", got, before)
		}
		w.agree()
		_ = w.stop()
		w.start(nil)
		time.Sleep(5 * time.Second)
		w.empty()
	})
}

// TestZeroPortIsNotAllPorts: in a mapping port 0 is one port, in a rule of somebody
// else's it is all ports of a client (RFC 6886 §3.4).
func TestZeroPortIsNotAllPorts(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, w *world) {
		zeroPort(c, w)
		w.router.forwards = []nat.Forward{{Key: tcp(alice, 0)}}
	}, func(w *world) {
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 0)); err != nil {
			w.t.Errorf("deleting what is not there: %v", err)
		}
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err == nil {
			w.t.Error("the operator's rule for all ports was ended, or so its client was told")
		}
		w.mapped(tcp(alice, 0))
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 0)); err != nil {
			w.t.Errorf("deleting it: %v", err)
		}
		w.mapped(tcp(alice, 0))
		wantReason(w.t, w.service.UnmapAll(w.t.Context(), alice, nat.TCP), nat.ReasonDenied)
		w.empty()
	})
}

// TestZeroPortAtASymmetricGateway: both sides of the tunnel and the client have one port.
func TestZeroPortAtASymmetricGateway(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, w *world) { zeroPort(c, w); symmetric(c, w) }, func(w *world) {
		w.mapped(tcp(alice, 0))
		wantReason(w.t, w.refused(tcp(bob, 0)), nat.ReasonResources)
		w.wantMatches(map[nat.Key][]uint16{tcp(alice, 0): {41000}})
		if got := w.targets()[tcp(alice, 0)]; got != 41000 {
			w.t.Errorf("the rule leads to %d", got)
		}
	})
}
