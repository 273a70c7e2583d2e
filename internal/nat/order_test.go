package nat_test

import (
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/nat"
)

// A deletion that comes after a request for a mapping ends that mapping, however soon it
// comes: the place in the line is that of the request, and not of the goroutine that does
// the work.
func TestDeletionDoesNotOvertakeTheCreate(t *testing.T) {
	t.Parallel()
	for range 200 {
		inWorld(t, nil, func(w *world) {
			w.service.StartMap(w.t.Context(), nat.MapRequest{Key: tcp(alice, 6881), Lifetime: time.Hour})
			if err := w.service.Unmap(w.t.Context(), tcp(alice, 6881)); err != nil {
				w.t.Fatal(err)
			}
			time.Sleep(time.Second)
			w.empty()
		})
	}
}

// The same with a renewal: what it grants does not outlive the deletion.
func TestDeletionDoesNotOvertakeTheRenewal(t *testing.T) {
	t.Parallel()
	for range 200 {
		inWorld(t, nil, func(w *world) {
			w.mapped(tcp(alice, 6881))
			w.service.StartMap(w.t.Context(), nat.MapRequest{Key: tcp(alice, 6881), Lifetime: time.Hour})
			if err := w.service.Unmap(w.t.Context(), tcp(alice, 6881)); err != nil {
				w.t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			w.empty()
		})
	}
}

// Deleting all but some reaches mappings that are being made, and leaves those to be kept.
func TestDeleteAllButReachesCreatesUnderWay(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		kept := tcp(alice, 80)
		w.mapped(kept)
		w.gateway.edit(func(g *gateway) { g.latency = 3 * time.Second })
		done := make(chan struct{})
		go func() {
			defer close(done)
			// Either outcome is right for a mapping that is ended while it is made.
			_, _ = w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 6881), Lifetime: time.Hour})
		}()
		synctest.Wait()
		if err := w.service.UnmapAllBut(w.t.Context(), alice, nat.TCP, func(key nat.Key) bool { return key == kept }); err != nil {
			w.t.Fatal(err)
		}
		<-done
		time.Sleep(10 * time.Second)
		if all := w.service.Mappings(); len(all) != 1 || all[0].Key != kept {
			w.t.Errorf("mappings %+v, want the one that is kept", all)
		}
		w.agree()
	})
}

// A deletion that comes before the router was read waits for that: the mapping may be one
// of a former run, which would be adopted after the client was told that it is gone.
func TestDeletionBeforeTheFirstLook(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*world) error{
		"one": func(w *world) error { return w.service.Unmap(w.t.Context(), tcp(alice, 6881)) },
		"all": func(w *world) error { return w.service.UnmapAll(w.t.Context(), alice, nat.TCP) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(_ *nat.Config, w *world) {
				w.router.put(nat.Rule{Key: tcp(alice, 6881), InnerPort: 20000, ExternalPort: 40000, Lifetime: time.Hour, Match: nat.MatchPorts{20000}})
				w.router.latency = 3 * time.Second
			}, func(w *world) {
				if err := end(w); err != nil {
					w.t.Error(err)
				}
				if n := len(w.router.ids()); n > 0 {
					w.t.Errorf("%d rules left after the deletion", n)
				}
				time.Sleep(10 * time.Second)
				w.empty()
			})
			inWorld(t, func(_ *nat.Config, w *world) {
				w.router.before = failOn(nat.ReasonUnreachable, false, "rules")
			}, func(w *world) {
				wantReason(w.t, end(w), nat.ReasonUnreachable)
				w.router.edit(func(r *router) { r.before = nil })
			})
		})
	}
}
