package nat_test

import (
	"testing"
	"time"

	"doublenat/internal/nat"
)

// A client that renews at half of what it is told (RFC 6886 §3.3), from a gateway that takes
// longer than a renewal may wait: what it is told does not shrink, so that it asks no more
// often than with a fast one, and the gateway is asked no more often either.
func TestSlowGatewayDoesNotShrinkLifetimes(t *testing.T) {
	t.Parallel()
	for _, latency := range []time.Duration{300 * time.Millisecond, time.Second, 3 * time.Second} {
		t.Run(latency.String(), func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(cfg *nat.Config, w *world) {
				cfg.Policy = nat.PolicyClient
				w.gateway.latency, w.gateway.life = latency, time.Minute
			}, func(w *world) {
				left := w.mapped(tcp(alice, 6881)).Lifetime
				begin, asks, least := time.Now(), 0, time.Minute
				for time.Since(begin) < time.Hour {
					time.Sleep(left / 2)
					asked := time.Now()
					left = w.mapped(tcp(alice, 6881)).Lifetime
					if took := time.Since(asked); took > 200*time.Millisecond {
						w.t.Errorf("renewal %d took %v", asks, took)
					}
					if asks++; asks > 2 {
						least = min(least, left)
					}
				}
				if least < 50*time.Second {
					w.t.Errorf("told %v once, want 50 s at least", least)
				}
				if packets := w.gateway.count(); asks > 140 || packets > 140 {
					w.t.Errorf("%d renewals and %d packets in an hour, want 140 at most (120 with a fast one)", asks, packets)
				}
				time.Sleep(left + 10*time.Second)
				if _, ok := w.service.Mapping(tcp(alice, 6881)); ok {
					w.t.Error("the mapping outlives its client")
				}
			})
		})
	}
}
