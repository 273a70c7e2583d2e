package nat_test

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

// Clients that make and end mappings without end get some lines each, then a few a
// second and a summary; what gateway and router do keeps lines of its own.
func TestLogOfMappingsIsBounded(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	inWorld(t, func(cfg *nat.Config, _ *world) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) }, func(w *world) {
		kept := w.mapped(tcp(bob, 1000))
		const rounds = 200
		for i := range rounds {
			key := tcp(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 6881)
			w.mapped(key)
			if err := w.service.Unmap(w.t.Context(), key); err != nil {
				w.t.Fatal(err)
			}
		}
		w.gateway.edit(func(g *gateway) { g.leases = make(map[leaseKey]lease); g.granted = []uint16{kept.ExternalPort + 1} })
		w.mapped(tcp(bob, 1000))
		time.Sleep(12 * time.Second)
		synctest.Wait() // sleeping does not order what others wrote

		lines, summed := 0, 0
		for line := range strings.Lines(log.String()) {
			switch {
			case strings.Contains(line, "mapping created"), strings.Contains(line, "mapping deleted"):
				lines++
			case strings.Contains(line, "more mapping events, not logged one by one"):
				summed += number(t, line, "created=") + number(t, line, "deleted=")
			}
		}
		took := 16 * time.Second // 200 times 80 ms
		if lines < 64 || lines > 64+2*int(took/time.Second)+1 || lines+summed != 2*rounds+1 {
			t.Errorf("%d lines and %d summed up, want at most %d, and %d together:\n%s", lines, summed, 64+2*int(took/time.Second)+1, 2*rounds+1, log.String())
		}
		if n := strings.Count(log.String(), "more mapping events, not logged one by one"); n != 2 {
			t.Errorf("%d summaries in %v, want 2:\n%s", n, took, log.String())
		}
		if !strings.Contains(log.String(), "external port changed") {
			t.Error("what the gateway did has no line")
		}
	})
}

// number returns the number behind a key in a line of the log, 0 if it has none.
func number(t *testing.T, line, key string) (n int) {
	t.Helper()
	_, rest, _ := strings.Cut(line, key)
	for _, digit := range rest {
		if digit < '0' || digit > '9' {
			break
		}
		n = 10*n + int(digit-'0')
	}
	return n
}

// What was not told yet is told at the stop.
func TestLogOfMappingsAtTheStop(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	inWorld(t, func(cfg *nat.Config, _ *world) {
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		cfg.KeepOnShutdown = true
	}, func(w *world) {
		for port := range uint16(64) {
			w.mapped(tcp(alice, 1000+port))
		}
		if err := w.service.UnmapAll(w.t.Context(), alice, nat.TCP); err != nil {
			w.t.Fatal(err)
		}
		if err := w.stop(); err != nil {
			w.t.Fatal(err)
		}
		told := strings.Count(log.String(), "mapping deleted")
		if got := number(t, log.String(), " deleted="); told == 0 || got != 64-told {
			t.Errorf("%d deletions told and %d summed up, want 64 together:\n%s", told, got, log.String())
		}
	})
}

// A mapping that is deleted as soon as it was adopted is told to be adopted first:
// otherwise who counts mappings counts it for ever.
func TestAdoptedIsToldBeforeDeleted(t *testing.T) {
	t.Parallel()
	key := tcp(alice, 6881)
	told := make(chan nat.EventKind, 10)
	inWorld(t, func(cfg *nat.Config, w *world) {
		w.router.put(nat.Rule{Key: key, InnerPort: 20000, ExternalPort: 40000, Lifetime: time.Hour, Match: nat.MatchPorts{20000}})
		slow := true
		cfg.OnEvent = func(ev nat.Event) {
			if slow && ev.Kind == nat.EventAdopted {
				slow = false
				// The client deletes it while this is being told. Who tells is not waited for.
				go func() { _ = w.service.Unmap(w.t.Context(), key) }()
				time.Sleep(time.Second)
			}
			told <- ev.Kind
		}
	}, func(w *world) {
		time.Sleep(3 * time.Second)
		got := []nat.EventKind{<-told, <-told}
		if diff := cmp.Diff([]nat.EventKind{nat.EventAdopted, nat.EventDeleted}, got); diff != "" {
			w.t.Errorf("told (-want +got):\n%s", diff)
		}
		w.empty()
	})
}
