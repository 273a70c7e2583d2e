package lock_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/lock"
	"doublenat/internal/lock/locktest"
)

const lease = 15 * time.Second

func newKeeper(t *testing.T, store lock.Store) *lock.Keeper {
	t.Helper()
	k, err := lock.New(lock.Config{Store: store, Lease: lease})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// hold keeps the lock until the test or the returned function ends it.
func hold(t *testing.T, k *lock.Keeper) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.Hold(ctx) }()
	t.Cleanup(cancel)
	return func() error { cancel(); return <-ended }
}

func acquire(t *testing.T, k *lock.Keeper) {
	t.Helper()
	if err := k.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.Mine(); err != nil {
		t.Fatalf("Mine() = %v right after the lock was acquired", err)
	}
}

func TestHandOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var server locktest.Server
		a, b := newKeeper(t, server.Store("a")), newKeeper(t, server.Store("b"))
		if err := a.Mine(); !errors.Is(err, lock.ErrStandby) {
			t.Errorf("Mine() = %v before the lock was acquired, want ErrStandby", err)
		}
		acquire(t, a)
		stop := hold(t, a)
		acquired := make(chan error, 1)
		go func() { acquired <- b.Acquire(t.Context()) }()
		time.Sleep(10 * lease)
		if err := a.Mine(); err != nil {
			t.Errorf("Mine() = %v after ten leases that were renewed", err)
		}
		if got := b.View(); got.State != lock.Waiting || got.Holder != "a" {
			t.Errorf("b sees %+v, want a as the holder", got)
		}
		if err := stop(); err != nil {
			t.Errorf("Hold() = %v, want nil for a stop", err)
		}
		if err := a.Release(t.Context()); err != nil {
			t.Error(err)
		}
		released := time.Now()
		if err := <-acquired; err != nil {
			t.Fatal(err)
		}
		if gap := time.Since(released); gap > time.Second {
			t.Errorf("the hand-over took %s, want a second at most", gap)
		}
		if err := a.Mine(); !errors.Is(err, lock.ErrReleased) {
			t.Errorf("Mine() = %v after the release, want ErrReleased", err)
		}
		<-a.Lost()
	})
}

func TestStoreOutOfReach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var server locktest.Server
		store := server.Store("a")
		k := newKeeper(t, store)
		acquire(t, k)
		stop := hold(t, k)
		synctest.Wait()
		away := errors.New("no route to the store")
		store.Away(away)
		time.Sleep(8500 * time.Millisecond)
		if err := k.Mine(); err != nil {
			t.Errorf("Mine() = %v while the lease lasts", err)
		}
		store.Away(nil)
		time.Sleep(2 * lease)
		if err := k.Mine(); err != nil {
			t.Errorf("Mine() = %v after the store came back in time", err)
		}
		store.Away(away)
		bounded, cancel := k.Bound(t.Context())
		defer cancel()
		<-k.Lost()
		if err := k.Mine(); !errors.Is(err, lock.ErrLost) || !strings.Contains(err.Error(), away.Error()) {
			t.Errorf("Mine() = %v, want ErrLost and why", err)
		}
		<-bounded.Done()
		if !errors.Is(context.Cause(bounded), lock.ErrLost) {
			t.Errorf("a write was ended by %v, want ErrLost", context.Cause(bounded))
		}
		if err := stop(); err != nil && !errors.Is(err, lock.ErrLost) {
			t.Errorf("Hold() = %v, want ErrLost", err)
		}
		grant := server.Grants()[0]
		if early := time.Until(grant.Until); early < lease/3-time.Second/10 {
			t.Errorf("the term ended %s before the lease at the store, want a third of it", early)
		}
		store.Away(nil)
		time.Sleep(time.Minute)
		if k.Mine() == nil {
			t.Error("a term that was lost came back")
		}
	})
}

func TestTakenByAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var server locktest.Server
		store := server.Store("a")
		k := newKeeper(t, store)
		acquire(t, k)
		ended := make(chan error, 1)
		go func() { ended <- k.Hold(t.Context()) }()
		synctest.Wait()
		if err := store.Release(t.Context()); err != nil { // Somebody removes it by hand.
			t.Fatal(err)
		}
		begun := time.Now()
		if err := <-ended; !errors.Is(err, lock.ErrLost) {
			t.Errorf("Hold() = %v, want ErrLost", err)
		}
		if took := time.Since(begun); took > lease/3 {
			t.Errorf("it took %s to see that the lock was lost", took)
		}
	})
}

// clock is a test's clock of a machine, which can be stopped and set.
type clock struct{ mono, wall atomic.Int64 }

func (c *clock) read() (time.Duration, time.Time) {
	now := time.Now()
	return time.Duration(now.UnixNano() + c.mono.Load()), now.Round(0).Add(time.Duration(c.wall.Load()))
}

// A process that slept has to know it before its first write, although none of its timers has
// fired: the bubble's time stands still here.
func TestMineKnowsBeforeAnyTimer(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mono, wall time.Duration
		lost       bool
	}{
		"nothing happened":       {},
		"stopped for a moment":   {mono: lease / 2, wall: lease / 2},
		"stopped for a lease":    {mono: lease, wall: lease, lost: true},
		"stopped up to the mark": {mono: lease * 2 / 3, wall: lease * 2 / 3, lost: true},
		"suspended":              {wall: lease, lost: true},
		"clock set forward":      {wall: time.Hour, lost: true},
		"clock set back":         {wall: -time.Hour, lost: true},
		"clock slewed":           {wall: -100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var server locktest.Server
				k := newKeeper(t, server.Store("a"))
				var c clock
				k.SetClock(c.read)
				acquire(t, k)
				c.mono.Store(int64(tc.mono))
				c.wall.Store(int64(tc.wall))
				if err := k.Mine(); (err != nil) != tc.lost {
					t.Errorf("Mine() = %v, want an error: %v", err, tc.lost)
				}
				c.mono.Store(0)
				c.wall.Store(0)
				if err := k.Mine(); (err != nil) != tc.lost {
					t.Errorf("Mine() = %v once the clock is right again, want an error: %v", err, tc.lost)
				}
				_ = k.Release(t.Context())
			})
		})
	}
}

// slow delays the replies of a store.
type slow struct {
	lock.Store

	reply time.Duration
}

func (s *slow) Acquire(ctx context.Context, lease time.Duration) (lock.Holder, error) {
	holder, err := s.Store.Acquire(ctx, lease)
	time.Sleep(s.reply)
	return holder, err
}

func (s *slow) Renew(ctx context.Context, lease time.Duration) error {
	err := s.Store.Renew(ctx, lease)
	time.Sleep(s.reply)
	return err
}

// A reply that is late counts from when its request was sent.
func TestLateReplies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var server locktest.Server
		store := &slow{Store: server.Store("a"), reply: lease / 2}
		k := newKeeper(t, store)
		acquire(t, k)
		time.Sleep(lease/6 + time.Second)
		if k.Mine() == nil {
			t.Error("a late reply counted from when it came")
		}
		store = &slow{Store: server.Store("b"), reply: lease}
		k = newKeeper(t, store)
		ctx, cancel := context.WithTimeout(t.Context(), 3*lease)
		defer cancel()
		if err := k.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire() = %v by replies that come when the lease is over", err)
		}
	})
}

func TestNewRejects(t *testing.T) {
	t.Parallel()
	var server locktest.Server
	for name, cfg := range map[string]lock.Config{
		"no store": {Lease: lease},
		"no lease": {Store: server.Store("a")},
	} {
		if _, err := lock.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A store may take nearly a third of a lease for each reply, as one behind a line that loses packets: the
// term goes on as long as it answers.
func TestSlowStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var server locktest.Server
		k := newKeeper(t, &slow{Store: server.Store("a"), reply: lease/3 - 100*time.Millisecond})
		acquire(t, k)
		stop := hold(t, k)
		time.Sleep(100 * lease)
		if err := errors.Join(k.Mine(), stop()); err != nil {
			t.Error(err)
		}
	})
}

// A store that is out of reach at first and unfit then says so in the log once, with the remedy.
func TestRemedyIsLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var server locktest.Server
		var log strings.Builder
		store, unfit := server.Store("a"), errors.New("the router cannot keep a lock")
		k, err := lock.New(lock.Config{
			Store: store, Lease: lease, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Remedy: func(err error) string {
				if errors.Is(err, unfit) {
					return "set LOCK=none"
				}
				return ""
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- k.Acquire(ctx) }()
		for _, away := range []error{errors.New("no route"), unfit, errors.New("no route"), unfit} {
			store.Away(away)
			time.Sleep(5 * time.Second)
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Acquire() = %v when it was stopped", err)
		}
		if n := strings.Count(log.String(), "set LOCK=none"); n != 1 || strings.Count(log.String(), "no route") != 1 {
			t.Errorf("the remedy is there %d times:\n%s", n, log.String())
		}
	})
}

// Whoever takes the lock is told of with a name, or not at all.
func TestHolderWithoutName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var server locktest.Server
		var log strings.Builder
		one := &turns{Store: server.Store("b"), holders: []lock.Holder{{Name: "a"}, {}, {Name: "a"}}}
		k, err := lock.New(lock.Config{Store: one, Lease: lease, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(log.String(), "standing by"); n != 1 {
			t.Errorf("%d times:\n%s", n, log.String())
		}
	})
}

// turns is a store that others have one after the other.
type turns struct {
	*locktest.Store

	holders []lock.Holder
}

func (s *turns) Acquire(ctx context.Context, lease time.Duration) (lock.Holder, error) {
	if len(s.holders) == 0 {
		return s.Store.Acquire(ctx, lease)
	}
	next := s.holders[0]
	s.holders = s.holders[1:]
	return next, nil
}
