package nat_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

func auto(c *nat.Config, _ *world) { c.Policy = nat.PolicyAuto }

// A client that renews in time is left alone; one that asks for a mapping that expired,
// within the lifetime for which it had asked, has its mappings held from then on.
func TestAutoHoldsForWhoProvesThatItIsNeeded(t *testing.T) {
	t.Parallel()
	inWorld(t, auto, func(w *world) {
		w.mapped(tcp(alice, 80))
		time.Sleep(30 * time.Second)
		w.mapped(tcp(alice, 80))
		if m, _ := w.service.Mapping(tcp(alice, 80)); m.Held {
			w.t.Error("held for a client that renews in time")
		}
		time.Sleep(62 * time.Second)
		w.empty()

		time.Sleep(20 * time.Minute) // It comes back as if it had the hour for which it asked.
		w.mapped(tcp(alice, 80))
		w.mapped(udp(alice, 81)) // Another port of the same client is held too,
		w.mapped(tcp(bob, 80))   // and nobody else's.
		for range 3 {
			time.Sleep(19 * time.Minute)
			w.agree()
			if n := len(w.service.Mappings()); n != 2 {
				w.t.Errorf("%d mappings, want the two of the client that does not renew", n)
			}
		}
	})
}

// Who comes back after the time for which it had asked proves nothing, nor who deleted.
func TestAutoIsNotProvenBy(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(*world){
		"coming back after all": func(*world) { time.Sleep(61 * time.Minute) },
		"mapping again what it deleted": func(w *world) {
			if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err != nil {
				w.t.Error(err)
			}
			time.Sleep(2 * time.Minute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, auto, func(w *world) {
				w.mapped(tcp(alice, 80))
				away(w)
				w.mapped(tcp(alice, 80))
				if m, _ := w.service.Mapping(tcp(alice, 80)); m.Held {
					w.t.Error("held")
				}
				time.Sleep(61 * time.Second)
				w.empty()
			})
		})
	}
}

// proven makes a client prove that it does not renew in time. It has the port then.
func (w *world) proven(key nat.Key) nat.Grant {
	w.t.Helper()
	w.mapped(key)
	time.Sleep(2 * time.Minute)
	return w.mapped(key)
}

// A held mapping keeps its last lease to the end, for programs that renew at the very
// last moment.
func TestAutoGivesGrace(t *testing.T) {
	t.Parallel()
	inWorld(t, auto, func(w *world) {
		first := w.proven(tcp(alice, 80))
		time.Sleep(time.Hour + 10*time.Second)
		if got := w.mapped(tcp(alice, 80)); got.ExternalPort != first.ExternalPort {
			w.t.Errorf("told port %d shortly after the hour, want %d", got.ExternalPort, first.ExternalPort)
		}
		time.Sleep(time.Hour + time.Minute + 2*time.Second)
		w.empty()
	})
}

// When the gateway has no port left for somebody new, the mapping that is held for nobody
// for the longest gives way, and none whose client renews.
func TestAutoEvicts(t *testing.T) {
	t.Parallel()
	inWorld(t, auto, func(w *world) {
		var held []nat.Key
		for i := range uint16(3) {
			key := tcp(alice, 80+i)
			w.mapped(key)
			held = append(held, key)
			time.Sleep(2 * time.Minute) // It expires.
			w.mapped(key)
		}
		w.mapped(tcp(bob, 1)) // It is not held.
		w.gateway.edit(func(g *gateway) { g.room = 4 })
		time.Sleep(50 * time.Second)
		w.mapped(tcp(bob, 1))
		time.Sleep(15 * time.Second)
		w.kinds()
		w.mapped(tcp(bob, 2))
		w.agree()
		var left []nat.Key
		for _, m := range w.service.Mappings() {
			left = append(left, m.Key)
		}
		want := []nat.Key{held[1], held[2], tcp(bob, 1), tcp(bob, 2)}
		if diff := cmp.Diff(want, left, cmpAddr); diff != "" {
			w.t.Errorf("mappings (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]nat.EventKind{nat.EventEvicted, nat.EventCreated}, w.kinds()); diff != "" {
			w.t.Errorf("events (-want +got):\n%s", diff)
		}
		// Nobody gives way to whom nobody has to.
		w.mapped(held[1])
		w.mapped(held[2])
		w.mapped(tcp(bob, 1))
		wantReason(w.t, w.refused(tcp(bob, 3)), nat.ReasonResources)
		w.agree()
	})
}

// After a restart mappings are held for as long as their clients had asked for: some do not
// ask again for hours.
func TestAutoAdopts(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, _ *world) { c.Policy, c.KeepOnShutdown = nat.PolicyAuto, true }, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.mapped(tcp(bob, 80))
		_ = w.stop()
		w.start(auto)
		time.Sleep(30 * time.Minute)
		w.agree()
		if n := len(w.service.Mappings()); n != 2 {
			w.t.Errorf("%d mappings half an hour after the restart, want 2", n)
		}
		w.mapped(tcp(bob, 80)) // From now on it renews, or has nothing.
		time.Sleep(62 * time.Second)
		if _, ok := w.service.Mapping(tcp(bob, 80)); ok {
			w.t.Error("held for a client that has come back")
		}
		time.Sleep(30 * time.Minute)
		w.empty()
	})
}

// What is remembered of clients is bounded, whoever asks for what.
func TestAutoRemembersSoMuch(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, w *world) {
		auto(c, w)
		c.MaxMappings, c.MaxMappingsPerClient = 8, 8
	}, func(w *world) {
		for i := range uint16(100) {
			w.mapped(tcp(alice, 1+i))
			time.Sleep(62 * time.Second)
		}
		if n := w.service.Remembered(); n > 2*8 {
			w.t.Errorf("%d expired mappings are remembered", n)
		}
	})
}
