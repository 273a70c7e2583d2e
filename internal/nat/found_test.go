package nat_test

import (
	"testing"
	"time"

	"doublenat/internal/nat"
)

// The tests of this file are about what the simulation found (internal/sim).

// A deletion interrupts the renewal that is under way, and both end.
func TestDeletionDuringRenewal(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.mapped(tcp(alice, 80))
		w.gateway.edit(func(g *gateway) { g.latency = 5 * time.Second })
		renewed := make(chan error, 1)
		go func() {
			_, err := w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Hour})
			renewed <- err
		}()
		time.Sleep(100 * time.Millisecond)
		w.gateway.edit(func(g *gateway) { g.latency = 30 * time.Millisecond })
		began := time.Now()
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err != nil {
			w.t.Errorf("deleting: %v", err)
		}
		if took := time.Since(began); took > time.Second {
			w.t.Errorf("deleting took %v", took)
		}
		<-renewed
		w.empty()
	})
}
