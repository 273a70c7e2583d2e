package static_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
	"doublenat/internal/static"
)

var (
	nas      = netip.MustParseAddr("192.168.88.10")
	nasHTTP  = nat.Key{Client: nas, Protocol: nat.TCP, InternalPort: 8080}
	nasDNS   = nat.Key{Client: nas, Protocol: nat.UDP, InternalPort: 53}
	otherTCP = nat.Key{Client: nas, Protocol: nat.TCP, InternalPort: 9}
)

// core grants what it is told to, and writes down what it was asked.
type core struct {
	mu     sync.Mutex
	grant  nat.Grant
	err    error
	asked  []ask
	stands []nat.Mapping
	ended  []nat.Key
	filter nat.Filter // that of the last request
	began  time.Time
}

// ask is a request with the time since the start.
type ask struct {
	At        time.Duration
	Suggested uint16
	Lifetime  time.Duration
}

func (c *core) Map(_ context.Context, req nat.MapRequest) (nat.Grant, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.filter = req.Filter
	c.asked = append(c.asked, ask{time.Since(c.began), req.SuggestedPort, req.Lifetime})
	return c.grant, c.err
}

func (c *core) Unmap(_ context.Context, key nat.Key) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = append(c.ended, key)
	return nil
}

func (c *core) UnmapAllBut(_ context.Context, client netip.Addr, p nat.Protocol, keep func(nat.Key) bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.stands {
		if m.Key.Client == client && m.Key.Protocol == p && !keep(m.Key) {
			c.ended = append(c.ended, m.Key)
		}
	}
	return nil
}

func (c *core) Mappings() []nat.Mapping {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stands
}

func (c *core) set(change func(*core)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// requests returns what was asked since the last call.
func (c *core) requests() []ask {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.asked
	c.asked = nil
	return all
}

// keep runs a keeper of the mapping while the test goes on.
func keep(t *testing.T, m static.Mapping, change func(*static.Config), test func(*core, *static.Keeper)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &core{grant: nat.Grant{ExternalPort: 40000, Lifetime: time.Minute}, began: time.Now()}
		cfg := static.Config{
			Core: c, Mappings: []static.Mapping{m}, Lifetime: 2 * time.Hour, Random: func() float64 { return 0 },
		}
		if change != nil {
			change(&cfg)
		}
		k, err := static.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		synctest.Wait()
		test(c, k)
		stop()
		if err := <-done; err != nil {
			t.Errorf("running: %v", err)
		}
	})
}

func expect(t *testing.T, c *core, want ...ask) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, c.requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestRenewsAtHalfOfTheGrant(t *testing.T) {
	t.Parallel()
	keep(t, static.Mapping{Key: nasHTTP}, nil, func(c *core, _ *static.Keeper) {
		time.Sleep(time.Minute)
		expect(t, c,
			ask{0, 0, 2 * time.Hour},
			ask{30 * time.Second, 40000, 2 * time.Hour},
			ask{time.Minute, 40000, 2 * time.Hour})
	})
}

// A core that renews by itself is left in peace, and has to be asked for its own
// renewals no more often than a client would.
func TestRenewsAtHalfOfTheLifetimeWhereTheCoreHolds(t *testing.T) {
	t.Parallel()
	holds := func(cfg *static.Config) { cfg.Holds = true }
	keep(t, static.Mapping{Key: nasHTTP, SuggestedPort: 8080}, holds, func(c *core, _ *static.Keeper) {
		time.Sleep(time.Hour)
		expect(t, c, ask{0, 8080, 2 * time.Hour}, ask{time.Hour, 8080, 2 * time.Hour})
	})
}

func TestJitterComesBeforeTheHalf(t *testing.T) {
	t.Parallel()
	late := func(cfg *static.Config) { cfg.Random = func() float64 { return 0.5 } }
	keep(t, static.Mapping{Key: nasHTTP}, late, func(c *core, _ *static.Keeper) {
		time.Sleep(30 * time.Second)
		expect(t, c, ask{0, 0, 2 * time.Hour}, ask{28500 * time.Millisecond, 40000, 2 * time.Hour})
	})
}

// Failures are tried on for ever, with longer and longer waits, and said once.
func TestNeverGivesUp(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logged := func(cfg *static.Config) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
	keep(t, static.Mapping{Key: nasHTTP}, logged, func(c *core, _ *static.Keeper) {
		c.requests()
		c.set(func(c *core) { c.err = errors.New("gateway unreachable") })
		time.Sleep(30*time.Second + 3*time.Minute)
		var at []time.Duration
		for _, a := range c.requests() {
			at = append(at, a.At-30*time.Second)
		}
		s := time.Second
		if diff := cmp.Diff([]time.Duration{0, s, 3 * s, 7 * s, 15 * s, 31 * s, 63 * s, 123 * s}, at); diff != "" {
			t.Errorf("tries (-want +got):\n%s", diff)
		}
		time.Sleep(24 * time.Hour)
		if n := len(c.requests()); n != 24*60 {
			t.Errorf("%d tries in a day, want one a minute", n)
		}
		c.set(func(c *core) { c.err = nil })
		time.Sleep(time.Minute)
	})
	if n := strings.Count(log.String(), "\n"); n != 2 ||
		!strings.Contains(log.String(), "mapping unavailable") || !strings.Contains(log.String(), "available again") {
		t.Errorf("log:\n%s\nwant one line for the failure and one for its end", log.String())
	}
}

// The log says each reason once: the last word on why a mapping is not there is true.
func TestReasonIsLoggedWhenItChanges(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logged := func(c *static.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
	keep(t, static.Mapping{Key: nasHTTP}, logged, func(c *core, _ *static.Keeper) {
		for _, reason := range []string{"gateway unreachable", "router unreachable", "gateway unreachable"} {
			c.set(func(c *core) { c.err = errors.New(reason) })
			time.Sleep(time.Hour)
		}
		c.set(func(c *core) { c.err = nil })
		time.Sleep(time.Minute)
	})
	var reasons []string
	for line := range strings.Lines(log.String()) {
		if _, reason, ok := strings.Cut(strings.TrimSpace(line), " error="); ok {
			reasons = append(reasons, reason)
		}
	}
	if diff := cmp.Diff([]string{`"gateway unreachable"`, `"router unreachable"`, `"gateway unreachable"`}, reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}

func TestAsksAgainAtOnceAfterALoss(t *testing.T) {
	t.Parallel()
	keep(t, static.Mapping{Key: nasHTTP}, nil, func(c *core, k *static.Keeper) {
		time.Sleep(time.Second)
		c.requests()
		for _, kind := range []nat.EventKind{nat.EventDeleted, nat.EventExpired, nat.EventLost} {
			k.Observe(nat.Event{Kind: kind, Mapping: nat.Mapping{Key: nasHTTP}})
			expect(t, c, ask{time.Second, 40000, 2 * time.Hour})
		}
		k.Observe(nat.Event{Kind: nat.EventLost, Mapping: nat.Mapping{Key: otherTCP}})
		k.Observe(nat.Event{Kind: nat.EventPortChanged, Mapping: nat.Mapping{Key: nasHTTP}})
		k.Observe(nat.Event{Kind: nat.EventShutdown, Mapping: nat.Mapping{Key: nasHTTP}})
		expect(t, c)
	})
}

// A LAN client may ask for a mapping that is held: it gets its answer, and the
// mapping lasts no shorter for it.
func TestClientsMayAskForWhatIsHeld(t *testing.T) {
	t.Parallel()
	keep(t, static.Mapping{Key: nasHTTP}, nil, func(c *core, k *static.Keeper) {
		c.requests()
		grant, err := k.Map(t.Context(), nat.MapRequest{Key: nasHTTP, SuggestedPort: 1, Lifetime: 10 * time.Second})
		if want := (nat.Grant{ExternalPort: 40000, Lifetime: 10 * time.Second}); grant != want || err != nil {
			t.Errorf("granted %v, %v, want %v", grant, err, want)
		}
		_, _ = k.Map(t.Context(), nat.MapRequest{Key: otherTCP, Lifetime: 10 * time.Second})
		expect(t, c, ask{0, 1, 2 * time.Hour}, ask{0, 0, 10 * time.Second})
	})
}

// What is held is open to everybody, whatever it was before and whatever its host asks for.
func TestWhatIsHeldIsOpen(t *testing.T) {
	t.Parallel()
	keep(t, static.Mapping{Key: nasHTTP}, nil, func(c *core, k *static.Keeper) {
		open := nat.Filter{Op: nat.FilterSet}
		if c.requests(); c.filter != open {
			t.Errorf("asked for with %+v", c.filter)
		}
		shut := nat.Filter{Op: nat.FilterAdd, Remote: nat.Remote{Port: 5000}}
		var e *nat.Error
		if _, err := k.Map(t.Context(), nat.MapRequest{Key: nasHTTP, Lifetime: time.Minute, Filter: shut}); !errors.As(err, &e) || e.Reason != nat.ReasonDenied {
			t.Errorf("got %v", err)
		}
		expect(t, c)
		for key, filter := range map[nat.Key]nat.Filter{nasHTTP: open, otherTCP: shut} {
			if _, err := k.Map(t.Context(), nat.MapRequest{Key: key, Lifetime: time.Minute, Filter: filter}); err != nil || c.filter != filter {
				t.Errorf("%v: %v, asked for with %+v", key, err, c.filter)
			}
		}
	})
}

func TestClientsCannotDeleteWhatIsHeld(t *testing.T) {
	t.Parallel()
	keep(t, static.Mapping{Key: nasHTTP}, nil, func(c *core, k *static.Keeper) {
		c.stands = []nat.Mapping{{Key: nasHTTP}, {Key: nasDNS}, {Key: otherTCP}}
		for _, err := range []error{k.Unmap(t.Context(), nasHTTP), k.UnmapAll(t.Context(), nas, nat.TCP)} {
			var e *nat.Error
			if !errors.As(err, &e) || e.Reason != nat.ReasonDenied {
				t.Errorf("error %v, want denied", err)
			}
		}
		if diff := cmp.Diff([]nat.Key{otherTCP}, c.ended, cmp.Comparer(func(a, b nat.Key) bool { return a == b })); diff != "" {
			t.Errorf("deleted (-want +got):\n%s", diff)
		}
		if err := errors.Join(k.Unmap(t.Context(), nasDNS), k.UnmapAll(t.Context(), nas, nat.UDP)); err != nil {
			t.Errorf("deleting what is not held: %v", err)
		}
		if diff := cmp.Diff([]nat.Key{otherTCP, nasDNS, nasDNS}, c.ended, cmp.Comparer(func(a, b nat.Key) bool { return a == b })); diff != "" {
			t.Errorf("deleted (-want +got):\n%s", diff)
		}
		if n := len(k.Mappings()); n != 3 {
			t.Errorf("%d mappings, want all three", n)
		}
	})
}

func TestNewChecks(t *testing.T) {
	t.Parallel()
	twice := []static.Mapping{{Key: nasHTTP}, {Key: nasHTTP, SuggestedPort: 1}}
	for name, cfg := range map[string]static.Config{
		"no core":     {Lifetime: time.Hour},
		"no lifetime": {Core: &core{}},
		"twice":       {Core: &core{}, Lifetime: time.Hour, Mappings: twice},
	} {
		if _, err := static.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
