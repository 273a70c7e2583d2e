package nat_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/nat"
)

// watchedGateway notes how many requests are under way at once, and what was asked last.
type watchedGateway struct {
	*gateway

	mu        sync.Mutex
	now, most int
	last      nat.LeaseRequest
}

func (g *watchedGateway) Lease(ctx context.Context, req nat.LeaseRequest) (nat.Lease, error) {
	g.mu.Lock()
	g.now++
	g.most, g.last = max(g.most, g.now), req
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.now--
		g.mu.Unlock()
	}()
	return g.gateway.Lease(ctx, req)
}

// 32 renewals that nobody waits for are under way at once, and no more. What a client waits
// for is not held up by them, nor is work on the router.
func TestBackgroundWorkIsBounded(t *testing.T) {
	t.Parallel()
	var watched *watchedGateway
	inWorld(t, func(c *nat.Config, w *world) {
		hold(c, w)
		watched = &watchedGateway{gateway: w.gateway}
		c.Gateway, c.MaxMappingsPerClient, c.Random = watched, 100, func() float64 { return 0 }
	}, func(w *world) {
		for i := range uint16(100) {
			w.mapped(tcp(alice, 1+i))
		}
		w.gateway.edit(func(g *gateway) { g.latency = 6 * time.Second })
		watched.mu.Lock()
		watched.most = 0
		watched.mu.Unlock()
		time.Sleep(30 * time.Second)
		w.router.edit(func(r *router) { r.rules = r.rules[:99] })
		began := time.Now()
		w.service.Reconcile()
		for len(w.router.ids()) < 100 {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			w.t.Errorf("a rule was made again after %v", took)
		}
		if watched.mu.Lock(); watched.most != 32 {
			w.t.Errorf("%d requests under way at once, want 32", watched.most)
		}
		watched.mu.Unlock()
		began = time.Now()
		w.mapped(tcp(bob, 1))
		if took := time.Since(began); took != 6*time.Second+10*time.Millisecond {
			w.t.Errorf("a create took %v", took)
		}
		w.gateway.edit(func(g *gateway) { g.latency = 0 })
		time.Sleep(10 * time.Second)
		w.agree()
	})
}

// What a gateway does to many mappings at once has some lines in the log, and a sum.
func TestLogOfRefusalsIsBounded(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	inWorld(t, func(c *nat.Config, w *world) {
		hold(c, w)
		c.Logger, c.MaxMappingsPerClient = slog.New(slog.NewTextHandler(&log, nil)), 200
	}, func(w *world) {
		for i := range uint16(200) {
			w.mapped(tcp(alice, 1+i))
		}
		w.gateway.edit(func(g *gateway) { g.before = failing(nat.ReasonDenied) })
		time.Sleep(time.Minute)
		synctest.Wait()
		lines, summed := strings.Count(log.String(), "gateway refused to renew the lease"), 0
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, "more mapping events") {
				summed += number(t, line, "renewal_refused=")
			}
		}
		if lines < 8 || lines > 8+30 || lines+summed != 200 {
			w.t.Errorf("%d lines and %d summed up, of 200 refusals", lines, summed)
		}
		w.gateway.edit(func(g *gateway) { g.before = nil })
	})
}

// Deleting everything reaches a request, too, that waits until what is left of an earlier one
// is given back.
func TestDeleteAllReachesWhoWaits(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(w *world) {
		w.router.edit(func(r *router) { r.before = failOn(nat.ReasonDenied, false, "add") })
		wantReason(w.t, w.refused(tcp(alice, 80)), nat.ReasonDenied)
		w.router.edit(func(r *router) { r.before = nil })
		w.service.StartMap(w.t.Context(), nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Hour})
		if err := w.service.UnmapAll(w.t.Context(), alice, nat.TCP); err != nil {
			w.t.Error(err)
		}
		time.Sleep(time.Second)
		w.empty()
	})
}

// After a restart the mapping that may be a companion is asked for as long as it was promised,
// however short its TCP mapping is.
func TestCompanionIsRenewedForWhatWasPromised(t *testing.T) {
	t.Parallel()
	var watched *watchedGateway
	on := func(c *nat.Config, w *world) {
		watched = &watchedGateway{gateway: w.gateway}
		c.Gateway, c.Companion, c.KeepOnShutdown, w.gateway.life = watched, true, true, 0
	}
	inWorld(t, on, func(w *world) {
		w.mapped(udp(alice, 80))
		_ = w.stop()
		w.start(on)
		time.Sleep(10 * time.Minute)
		if _, err := w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 80), Lifetime: 20 * time.Second}); err != nil {
			w.t.Fatal(err)
		}
		time.Sleep(time.Second)
		watched.mu.Lock()
		defer watched.mu.Unlock()
		if got := watched.last; got.Protocol != nat.UDP || got.Lifetime != time.Hour {
			w.t.Errorf("asked for %+v, want UDP for an hour", got)
		}
	})
}
