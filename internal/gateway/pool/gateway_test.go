package pool_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"doublenat/internal/gateway"
	"doublenat/internal/gateway/pool"
	"doublenat/internal/nat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ports(t *testing.T, externals ...uint16) *nat.Pool {
	t.Helper()
	var list []nat.PoolPort
	for _, e := range externals {
		list = append(list, nat.PoolPort{External: e, Inner: e + 1000})
	}
	p, err := nat.NewPool(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// world is what a gateway of a pool looks at.
type world struct {
	*pool.Gateway
	log bytes.Buffer

	mu      sync.Mutex
	next    *nat.Pool // guarded by mu, as the others
	broken  error
	address map[string]netip.Addr
	silent  map[string]bool
	pools   []int
	changes []string
}

func (w *world) edit(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) source(name string) pool.Source {
	return pool.Source{Name: name, Look: func(context.Context) (netip.Addr, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.silent[name] {
			return netip.Addr{}, errors.New("no reply")
		}
		return w.address[name], nil
	}}
}

func run(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{address: make(map[string]netip.Addr), silent: make(map[string]bool)}
		w.Gateway = pool.New(pool.Config{
			Pool: ports(t, 6881, 51413),
			Read: func() (*nat.Pool, bool, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				p := w.next
				w.next = nil
				return p, p != nil, w.broken
			},
			OnPool:  func(p *nat.Pool) { w.edit(func() { w.pools = append(w.pools, p.Len()) }) },
			Sources: []pool.Source{w.source("router"), w.source("cloud")},
			OnAddressChange: func(before, now netip.Addr) {
				w.edit(func() { w.changes = append(w.changes, before.String()+" → "+now.String()) })
			},
			Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		test(t, w)
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// A port of the pool is granted for as long as was asked, and any other one is not.
func TestLease(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, w *world) {
		t.Helper()
		got, err := w.Lease(t.Context(), nat.LeaseRequest{Protocol: nat.TCP, InnerPort: 7881, ExternalPort: 1, Lifetime: time.Hour})
		if err != nil || got.ExternalPort != 6881 || got.Lifetime != time.Hour {
			t.Errorf("got %+v, %v", got, err)
		}
		_, err = w.Lease(t.Context(), nat.LeaseRequest{Protocol: nat.TCP, InnerPort: 6881, Lifetime: time.Hour})
		if e, ok := errors.AsType[*nat.Error](err); !ok || e.Hop != nat.HopGateway || e.Reason != nat.ReasonResources || e.Ambiguous {
			t.Errorf("got %v", err)
		}
		if err := w.Release(t.Context(), nat.TCP, 7881); err != nil {
			t.Error(err)
		}
	})
}

// The first source that knows the address is believed; who fails to look does not take it
// away before ten minutes, and who knows none does at once.
func TestPublicAddress(t *testing.T) {
	t.Parallel()
	one, two := netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("203.0.113.7")
	run(t, func(t *testing.T, w *world) {
		t.Helper()
		select {
		case <-w.Settled():
		default:
			t.Error("not settled although all sources were asked")
		}
		expect := func(want netip.Addr, from string) {
			t.Helper()
			time.Sleep(16 * time.Second)
			got, ok := w.External()
			if s := w.Stats(); got != want || ok != want.IsValid() || s.Address != want || s.AddressFrom != from || s.State != gateway.StateOK {
				t.Errorf("the address is %v (%v), from %q, want %v from %q", got, ok, s.AddressFrom, want, from)
			}
		}
		expect(netip.Addr{}, "")
		w.edit(func() { w.address["cloud"] = two })
		expect(two, "cloud")
		w.edit(func() { w.address["router"] = one })
		expect(one, "router")
		w.edit(func() { delete(w.address, "router"); delete(w.address, "cloud"); w.silent["cloud"] = true })
		expect(one, "router")
		time.Sleep(10 * time.Minute)
		expect(netip.Addr{}, "")
		w.edit(func() { w.address["router"] = one })
		expect(one, "router")
		w.edit(func() { delete(w.address, "router"); w.silent["cloud"] = false })
		expect(netip.Addr{}, "")
		synctest.Wait()
		want := []string{
			"invalid IP → 203.0.113.7", "203.0.113.7 → 198.51.100.2", "198.51.100.2 → invalid IP",
			"invalid IP → 198.51.100.2", "198.51.100.2 → invalid IP",
		}
		if !slices.Equal(w.changes, want) {
			t.Errorf("told of %q, want %q", w.changes, want)
		}
	})
}

// Another pool is taken over within 15 seconds, or at once when somebody asks for it. One that
// cannot be read is said once, and changes nothing.
func TestPoolIsReadAgain(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, w *world) {
		t.Helper()
		w.edit(func() { w.next = ports(t, 1, 2, 3) })
		time.Sleep(16 * time.Second)
		w.edit(func() { w.next = ports(t, 1) })
		w.Reload()
		synctest.Wait()
		if want := []int{3, 1}; !slices.Equal(w.pools, want) || w.Pool().Len() != 1 {
			t.Errorf("told of pools of %v, want %v", w.pools, want)
		}
		w.edit(func() { w.broken = errors.New("line 3 is no port") })
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := strings.Count(w.log.String(), "line 3 is no port"); n != 1 || w.Pool().Len() != 1 {
			t.Errorf("said %d times, %d ports", n, w.Pool().Len())
		}
	})
}

// Nothing is needed but a pool.
func TestDefaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := pool.New(pool.Config{Pool: ports(t, 1)})
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
		if _, ok := g.External(); ok {
			t.Error("an address from nowhere")
		}
	})
}
