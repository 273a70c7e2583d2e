package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

// house is a LAN whose hosts come and go.
type house struct {
	there    map[netip.Addr]bool
	mappings []nat.Mapping
	hidden   bool // the router does not show its neighbors
	down     bool // it does not answer
	looks    int
}

func (h *house) absence() *absence {
	return &absence{
		neighbors: func(context.Context, []netip.Addr) (map[netip.Addr]bool, bool, error) {
			h.looks++
			if h.down {
				return nil, false, errors.New("connection refused")
			}
			return h.there, !h.hidden, nil
		},
		mappings: func() []nat.Mapping { return slices.Clone(h.mappings) },
		end: func(_ context.Context, key nat.Key) error {
			h.mappings = slices.DeleteFunc(h.mappings, func(m nat.Mapping) bool { return m.Key == key })
			return nil
		},
		log: slog.New(slog.DiscardHandler), seen: make(map[netip.Addr]time.Time),
	}
}

// pass lets time pass, in which the router is looked at.
func (h *house) pass(t *testing.T, a *absence, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(absenceLook)
		a.look(t.Context())
	}
}

// hold adds a mapping that was asked for now.
func (h *house) hold(client string, port uint16, by nat.Way) {
	key := nat.Key{Client: netip.MustParseAddr(client), Protocol: nat.UDP, InternalPort: port}
	h.mappings = append(h.mappings, nat.Mapping{Key: key, By: by, Requested: nat.MaxHeld, Until: time.Now().Add(nat.MaxHeld)})
}

// keys are those of the mappings that are left.
func (h *house) keys() []string {
	var keys []string
	for _, m := range h.mappings {
		keys = append(keys, m.Key.Client.String()+" "+m.By.String())
	}
	return keys
}

// What is held for a host that was seen once and then not for a day ends; what others keep by
// themselves does not, nor what is held for one that was never seen, or asked meanwhile.
func TestAbsence(t *testing.T) {
	t.Parallel()
	const left, stays, routed, sleeper = "192.168.88.10", "192.168.88.11", "192.168.99.5", "192.168.88.12"
	addr := netip.MustParseAddr
	synctest.Test(t, func(t *testing.T) {
		h := &house{there: map[netip.Addr]bool{addr(left): true, addr(stays): true, addr(sleeper): true}}
		a := h.absence()
		h.hold(left, 3074, nat.IGD)
		h.hold(left, 3075, nat.NATPMP)
		h.hold(stays, 3074, nat.IGD)
		h.hold(routed, 3074, nat.IGD)
		h.hold(sleeper, 3074, nat.IGD)
		h.pass(t, a, time.Hour)
		delete(h.there, addr(left))
		delete(h.there, addr(sleeper))
		h.pass(t, a, 20*time.Hour)
		h.there[addr(sleeper)] = true
		h.pass(t, a, time.Hour)
		delete(h.there, addr(sleeper))
		h.pass(t, a, 2*time.Hour+30*time.Minute)
		all := []string{left + " igd", left + " natpmp", stays + " igd", routed + " igd", sleeper + " igd"}
		if diff := cmp.Diff(all, h.keys()); diff != "" {
			t.Fatalf("before a day is over (-want +got):\n%s", diff)
		}
		h.pass(t, a, time.Hour)
		if diff := cmp.Diff([]string{left + " natpmp", stays + " igd", routed + " igd", sleeper + " igd"}, h.keys()); diff != "" {
			t.Errorf("after it (-want +got):\n%s", diff)
		}
	})
}

// One that asks is there, whoever sees it.
func TestAbsenceOfOneThatAsks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		host := netip.MustParseAddr("192.168.88.10")
		h := &house{there: map[netip.Addr]bool{host: true}}
		a := h.absence()
		h.hold(host.String(), 3074, nat.IGD)
		h.pass(t, a, time.Hour)
		h.there = nil
		h.pass(t, a, 20*time.Hour)
		h.mappings = nil
		h.hold(host.String(), 3074, nat.IGD)
		h.pass(t, a, 20*time.Hour)
		if len(h.mappings) != 1 {
			t.Error("ended although its client asked 20 hours ago")
		}
		h.pass(t, a, 5*time.Hour)
		if len(h.mappings) != 0 {
			t.Error("not ended")
		}
	})
}

// A router that does not say who is there ends nothing, and nobody asks it in vain.
func TestAbsenceUnknown(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*house){
		"not shown": func(h *house) { h.hidden = true },
		"down":      func(h *house) { h.down = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				host := netip.MustParseAddr("192.168.88.10")
				h := &house{there: map[netip.Addr]bool{host: true}}
				a := h.absence()
				h.pass(t, a, 24*time.Hour)
				if h.looks != 0 {
					t.Errorf("%d looks while nothing is held", h.looks)
				}
				h.hold(host.String(), 3074, nat.IGD)
				h.pass(t, a, time.Hour)
				h.there = nil
				change(h)
				h.pass(t, a, 48*time.Hour)
				if len(h.mappings) != 1 {
					t.Error("ended although nobody knows")
				}
			})
		})
	}
}

// It looks by itself, and ends with its context.
func TestAbsenceRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &house{}
		h.hold("192.168.88.10", 3074, nat.IGD)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour+time.Minute)
		defer cancel()
		h.absence().Run(ctx)
		if h.looks != 6 {
			t.Errorf("%d looks in an hour", h.looks)
		}
	})
}
