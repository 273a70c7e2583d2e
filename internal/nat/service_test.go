package nat_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

func TestCreateAndRenewCost(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		began := time.Now()
		first := w.mapped(tcp(alice, 6881))
		if took := time.Since(began); took != 40*time.Millisecond {
			w.t.Errorf("a create took %v, want one gateway and one router round trip of 40ms", took)
		}
		if diff := cmp.Diff([]string{"add"}, w.router.commands()); diff != "" {
			w.t.Errorf("router commands of a create (-want +got):\n%s", diff)
		}
		if n := w.gateway.count(); n != 1 {
			w.t.Errorf("a create took %d gateway packets, want 1", n)
		}
		if first.Lifetime != time.Minute {
			w.t.Errorf("granted lifetime %v, want the gateway's %v", first.Lifetime, time.Minute)
		}
		for range 5 {
			time.Sleep(30 * time.Second)
			w.router.commands()
			began = time.Now()
			if diff := cmp.Diff(first, w.mapped(tcp(alice, 6881))); diff != "" {
				w.t.Errorf("renewal (-want +got):\n%s", diff)
			}
			if took := time.Since(began); took != 30*time.Millisecond {
				w.t.Errorf("a renewal took %v, want one gateway round trip of 30ms", took)
			}
			if did := w.router.commands(); len(did) != 0 {
				w.t.Errorf("a renewal cost the router %v, want nothing", did)
			}
			if n := w.gateway.count(); n != 1 {
				w.t.Errorf("a renewal took %d gateway packets, want 1", n)
			}
		}
		w.agree()
	})
}

func TestCreatesRunSideBySide(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, w *world) {
		w.gateway.window = make(chan struct{}, 16)
		c.MaxMappingsPerClient = 100
	}, func(w *world) {
		began := time.Now()
		var all sync.WaitGroup
		for i := range uint16(100) {
			all.Go(func() { w.mapped(tcp(alice, 7000+i)) })
		}
		all.Wait()
		// Seven rounds of the gateway's window of 16, then the last rule.
		if took := time.Since(began); took != 7*30*time.Millisecond+10*time.Millisecond {
			w.t.Errorf("100 creates took %v, want 220ms", took)
		}
		w.agree()
	})
}

func TestRequestsForOneMappingShareTheWork(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		var all sync.WaitGroup
		grants := make([]nat.Grant, 20)
		for i := range grants {
			all.Go(func() { grants[i] = w.mapped(udp(alice, 500)) })
		}
		all.Wait()
		for _, g := range grants {
			if g != grants[0] {
				w.t.Errorf("grants differ: %v and %v", g, grants[0])
			}
		}
		if n := w.gateway.count(); n != 1 {
			w.t.Errorf("%d gateway packets, want 1", n)
		}
		w.agree()
	})
}

func TestLifetimes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name               string
		asked, cap, answer time.Duration
	}{
		{"gateway grants less", time.Hour, time.Minute, time.Minute},
		{"client asks for less", 30 * time.Second, 0, 30 * time.Second},
		{"whole range", (1<<32 - 1) * time.Second, 0, 2 * time.Hour},
		{"half of it", (1 << 31) * time.Second, 0, 2 * time.Hour},
		{"one second", time.Second, 0, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(_ *nat.Config, w *world) { w.gateway.life = tt.cap }, func(w *world) {
				got, err := w.service.Map(w.t.Context(), nat.MapRequest{Key: udp(alice, 5000), Lifetime: tt.asked})
				if err != nil || got.Lifetime != tt.answer {
					w.t.Fatalf("asked %v: granted %v, error %v, want %v", tt.asked, got.Lifetime, err, tt.answer)
				}
				time.Sleep(tt.answer - 20*time.Millisecond)
				if n := len(w.router.ids()); n != 1 {
					w.t.Errorf("%d rules just before the end, want 1", n)
				}
				time.Sleep(time.Second)
				w.empty()
			})
		})
	}
}

// A gateway may grant more than a client asked for: RFC 6886 §3.3 forbids to hand that on.
func TestNeverMoreThanAsked(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.gateway.edit(func(g *gateway) { g.life = 0 })
		generous := &generousGateway{gateway: w.gateway}
		_ = w.stop()
		w.start(func(c *nat.Config, _ *world) { c.Gateway = generous })
		got, err := w.service.Map(w.t.Context(), nat.MapRequest{Key: udp(alice, 5000), Lifetime: 30 * time.Second})
		if err != nil || got.Lifetime != 30*time.Second {
			w.t.Fatalf("granted %v, error %v, want 30s", got.Lifetime, err)
		}
		time.Sleep(31 * time.Second)
		w.empty()
	})
}

// generousGateway grants an hour at least.
type generousGateway struct{ *gateway }

func (g *generousGateway) Lease(ctx context.Context, req nat.LeaseRequest) (nat.Lease, error) {
	req.Lifetime = max(req.Lifetime, time.Hour)
	return g.gateway.Lease(ctx, req)
}

func TestDelete(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.mapped(udp(alice, 80))
		w.mapped(tcp(bob, 80))
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err != nil {
			w.t.Errorf("deleting: %v", err)
		}
		if n := len(w.service.Mappings()); n != 2 {
			w.t.Errorf("%d mappings, want the other protocol's and the other client's", n)
		}
		w.agree()
		w.router.commands()
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err != nil {
			w.t.Errorf("deleting again: %v", err)
		}
		if did := w.router.commands(); len(did) != 0 {
			w.t.Errorf("deleting what is not there cost the router %v", did)
		}
		for _, key := range []nat.Key{udp(alice, 80), tcp(bob, 80)} {
			if err := w.service.Unmap(w.t.Context(), key); err != nil {
				w.t.Errorf("deleting %v: %v", key, err)
			}
		}
		w.empty()
	})
}

func TestDeleteAll(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		for _, key := range []nat.Key{udp(alice, 1), udp(alice, 2), tcp(alice, 1), udp(bob, 1)} {
			w.mapped(key)
		}
		if err := w.service.UnmapAll(w.t.Context(), alice, nat.UDP); err != nil {
			w.t.Errorf("deleting all: %v", err)
		}
		var left []nat.Key
		for _, m := range w.service.Mappings() {
			left = append(left, m.Key)
		}
		if diff := cmp.Diff([]nat.Key{tcp(alice, 1), udp(bob, 1)}, left, cmpAddr); diff != "" {
			w.t.Errorf("mappings left (-want +got):\n%s", diff)
		}
		if err := w.service.UnmapAll(w.t.Context(), alice, nat.UDP); err != nil {
			w.t.Errorf("deleting none: %v", err)
		}
		w.agree()
	})
}

// A create that is under way when its client deletes everything must not survive that.
func TestDeleteAllReachesCreatesUnderWay(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		created := make(chan nat.Grant, 1)
		go func() { created <- w.mapped(udp(alice, 1)) }()
		time.Sleep(5 * time.Millisecond)
		if err := w.service.UnmapAll(w.t.Context(), alice, nat.UDP); err != nil {
			w.t.Errorf("deleting all: %v", err)
		}
		<-created
		w.empty()
	})
}

// A client maps, deletes and maps again before the first is done, as Deluge does: what
// it asked for last is what it gets.
func TestLastRequestDecides(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]func(*world) error{
		"delete":     func(w *world) error { return w.service.Unmap(w.t.Context(), tcp(alice, 80)) },
		"delete all": func(w *world) error { return w.service.UnmapAll(w.t.Context(), alice, nat.TCP) },
	} {
		for _, renews := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, renews %v", name, renews), func(t *testing.T) {
				t.Parallel()
				inWorld(t, nil, func(w *world) {
					if renews {
						w.mapped(tcp(alice, 80))
					}
					w.gateway.edit(func(g *gateway) { g.latency = 100 * time.Millisecond })
					var asking sync.WaitGroup
					asking.Go(func() { _, _ = w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Hour}) })
					time.Sleep(10 * time.Millisecond)
					asking.Go(func() {
						if err := request(w); err != nil {
							w.t.Error(err)
						}
					})
					time.Sleep(10 * time.Millisecond)
					got := w.mapped(tcp(alice, 80))
					asking.Wait()
					time.Sleep(time.Second)
					if m, ok := w.service.Mapping(tcp(alice, 80)); !ok || m.ExternalPort != got.ExternalPort {
						w.t.Errorf("told %+v, has %+v (%v)", got, m, ok)
					}
					w.agree()
				})
			})
		}
	}
}

func TestOperatorsForwardIsNotDeleted(t *testing.T) {
	t.Parallel()
	inWorld(t, func(_ *nat.Config, w *world) {
		w.router.forwards = []nat.Forward{{Key: tcp(alice, 80)}, {Key: nat.Key{Client: bob, Protocol: nat.UDP}}}
	}, func(w *world) {
		wantReason(w.t, w.service.Unmap(w.t.Context(), tcp(alice, 80)), nat.ReasonDenied)
		wantReason(w.t, w.service.Unmap(w.t.Context(), udp(bob, 4)), nat.ReasonDenied)
		if err := w.service.Unmap(w.t.Context(), udp(alice, 80)); err != nil {
			w.t.Errorf("deleting the other protocol: %v", err)
		}
		// The rest goes all the same, and the answer says that not all did.
		w.mapped(tcp(alice, 81))
		wantReason(w.t, w.service.UnmapAll(w.t.Context(), alice, nat.TCP), nat.ReasonDenied)
		w.empty()
	})
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		time.Sleep(45 * time.Second)
		w.mapped(udp(alice, 80))
		time.Sleep(13 * time.Second)
		w.agree()
		if n := len(w.service.Mappings()); n != 2 {
			w.t.Fatalf("%d mappings after 59 s, want 2", n)
		}
		time.Sleep(2 * time.Second)
		if n := len(w.service.Mappings()); n != 1 {
			w.t.Fatalf("%d mappings after 61 s, want 1", n)
		}
		time.Sleep(time.Minute)
		w.empty()
		want := []nat.EventKind{nat.EventCreated, nat.EventCreated, nat.EventExpired, nat.EventExpired}
		if diff := cmp.Diff(want, w.kinds()); diff != "" {
			w.t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// A renewal that is on its way when the mapping's time is over wins: the timer that
// fires late must find that it is not meant any more.
func TestRenewalWinsOverExpiry(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		first := w.mapped(tcp(alice, 80))
		for range 20 {
			// With the second that agree takes, the request leaves 15 ms before the
			// end and the answer comes 15 ms after it.
			time.Sleep(59*time.Second - 15*time.Millisecond)
			if got := w.mapped(tcp(alice, 80)); got != first {
				w.t.Fatalf("renewal got %v, want %v", got, first)
			}
			w.agree()
		}
	})
}

func TestSecondClientWithTheSamePort(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		a, b := w.mapped(tcp(alice, 6881)), w.mapped(tcp(bob, 6881))
		if a.ExternalPort == b.ExternalPort {
			w.t.Errorf("both clients were told port %d", a.ExternalPort)
		}
		w.agree()
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, _ *world) { c.MaxMappings, c.MaxMappingsPerClient = 3, 2 }, func(w *world) {
		w.mapped(tcp(alice, 1))
		w.mapped(tcp(alice, 2))
		if e := w.refused(tcp(alice, 3)); e.Reason != nat.ReasonResources {
			w.t.Errorf("beyond the client's limit: %v, want out of resources", e)
		}
		w.mapped(tcp(alice, 2)) // a renewal is no new mapping
		w.mapped(tcp(bob, 1))
		if e := w.refused(tcp(bob, 2)); e.Reason != nat.ReasonResources {
			w.t.Errorf("beyond the table's limit: %v, want out of resources", e)
		}
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 1)); err != nil {
			w.t.Fatal(err)
		}
		w.mapped(tcp(bob, 2))
		w.agree()
	})
}

func TestNonsenseIsDenied(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		for _, req := range []nat.MapRequest{
			{Key: tcp(alice, 0), Lifetime: time.Hour},
			{Key: tcp(alice, 1)},
			{Key: nat.Key{Client: alice, InternalPort: 1}, Lifetime: time.Hour},
			{Key: nat.Key{Protocol: nat.TCP, InternalPort: 1}, Lifetime: time.Hour},
		} {
			_, err := w.service.Map(w.t.Context(), req)
			wantReason(w.t, err, nat.ReasonDenied)
		}
		wantReason(w.t, w.service.Unmap(w.t.Context(), tcp(alice, 0)), nat.ReasonDenied)
		if n := w.gateway.count() + len(w.router.commands()); n != 0 {
			w.t.Errorf("nonsense caused %d packets and commands", n)
		}
		w.empty()
	})
}
