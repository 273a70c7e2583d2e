package router_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/lock"
	"doublenat/internal/router"
	"doublenat/routeros/routerostest"
)

// standBy polls as a keeper does, each second or when the lock may be free, until it has the lock.
func (c *contender) standBy(ctx context.Context) error {
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { c.Watch(watching) })
	defer watch.Wait()
	defer stop()
	for {
		holder, err := c.Acquire(ctx, lease)
		if err == nil && holder.Mine {
			return nil
		}
		pause := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		case <-c.Freed():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// TestHandOver measures how long nobody has a lock that is given away, and what active and
// standby cost the router in the minute before.
func TestHandOver(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		lists           routerostest.Lists
		version         string
		within          time.Duration
		active, standby int // commands a minute at most
	}{
		"pushed":      {routerostest.Lists{}, "7.22", 60 * time.Millisecond, 15, 75},
		"pushed, old": {routerostest.Lists{}, "6.49", 60 * time.Millisecond, 15, 75},
		"not pushed":  {routerostest.Lists{Mute: true}, "7.22", 560 * time.Millisecond, 15, 130},
		"cannot push": {routerostest.Lists{NoListen: true}, "7.22", 560 * time.Millisecond, 15, 130},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				box := newBox(t, routerostest.Config{Version: tt.version, Lists: tt.lists, Latency: 10 * time.Millisecond})
				a, b := contend(t, box, "a"), contend(t, box, "bb")
				a.takes()
				got := make(chan time.Time, 1)
				go func() {
					if err := b.standBy(t.Context()); err != nil {
						t.Error(err)
					}
					got <- time.Now()
				}()
				var mark routerostest.Mark
				for i := range 24 {
					time.Sleep(lease/3 - 10*time.Millisecond)
					if i == 12 {
						mark = box.Mark()
					}
					if err := a.Renew(t.Context(), lease); err != nil {
						t.Fatal(err)
					}
				}
				active, standby := timed(box, mark, a.host), timed(box, mark, b.host)
				if len(active) > tt.active || slices.ContainsFunc(active, func(w string) bool { return w != "set" }) {
					t.Errorf("active sends %d commands a minute: %v", len(active), active)
				}
				if len(standby) > tt.standby || slices.ContainsFunc(standby, func(w string) bool { return w != "print" }) {
					t.Errorf("standby sends %d commands a minute: %v", len(standby), standby)
				}
				time.Sleep(137 * time.Millisecond)
				if err := a.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
				free := time.Now()
				if gap := (<-got).Sub(free); gap > tt.within {
					t.Errorf("nobody had it for %v", gap)
				}
				t.Logf("active %d, standby %d commands a minute", len(active), len(standby))
			})
		})
	}
}

// TestWatchOfABusyRouter stops listening to a router that has many changes in other lists.
func TestWatchOfABusyRouter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := newBox(t, routerostest.Config{Journal: 10_000})
		a, b := contend(t, box, "a"), contend(t, box, "bb")
		a.takes()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- b.standBy(ctx) }()
		time.Sleep(4 * time.Second)
		for i := range 100 {
			put(t, box, listPath, routerostest.Row{"list": "attackers", "address": "203.0.113." + strconv.Itoa(i)})
		}
		for _, row := range box.Rows(listPath) {
			if row["list"] == "attackers" {
				if err := box.Remove(listPath, row[".id"]); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(time.Second)
		mark := box.Mark()
		time.Sleep(5 * time.Second)
		if slices.Contains(timed(box, mark, b.host), "listen") {
			t.Error("listens again")
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		canceled := slices.ContainsFunc(box.Journal(), func(e routerostest.Entry) bool { return e.Command == "/cancel" })
		if !canceled {
			t.Error("the router still pushes")
		}
	})
}

// tenure is for how long somebody believes that the lock is its own.
type tenure struct {
	host       string
	from, till time.Time
}

// TestNeverTwo lets three doublenats contend for the lock on a router that fails in every way, is
// restarted, and hands out ids again. Each believes in the lock for two thirds of a lease from before
// a request that was granted. Never do two believe in it, nor do two write within one lease.
func TestNeverTwo(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 1))
				box := newBox(t, routerostest.Config{
					Seed: seed, Latency: 5 * time.Millisecond, Jitter: 20 * time.Millisecond, Journal: 100_000, ReuseIDs: true,
					Lists: routerostest.Lists{
						ReuseIDs: seed%2 == 0, Early: time.Duration(seed%3) * 450 * time.Millisecond,
						Mute: seed%4 == 3, Reboot: routerostest.Survival(seed % 3 % 2),
					},
				})
				tenures := contention(t, box, random)
				slices.SortFunc(tenures, func(a, b tenure) int { return a.from.Compare(b.from) })
				holders := make(map[string]int)
				last := tenures[0]
				for _, next := range tenures {
					if next.host != last.host && next.from.Before(last.till) {
						t.Errorf("%s believes in its lock until %v, %s from %v on", last.host, last.till, next.host, next.from)
					}
					if next.host != last.host || next.till.After(last.till) || next.from.Equal(next.till) {
						last = next
					}
					holders[next.host]++
				}
				if len(holders) < 2 {
					t.Errorf("only %v had the lock", holders)
				}
				strangers(t, box)
			})
		})
	}
}

// contention lets three contend for half an hour in which much happens to the router.
func contention(t *testing.T, box *routerostest.Router, random *rand.Rand) (tenures []tenure) {
	t.Helper()
	for i := range 5 {
		put(t, box, listPath, routerostest.Row{"list": "attackers", "address": netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}).String()})
	}
	var mu sync.Mutex
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for i, name := range []string{"a", "bb", "ccc"} {
		c, own := contend(t, box, name), rand.New(rand.NewPCG(uint64(i), random.Uint64()))
		all.Go(func() {
			for ctx.Err() == nil {
				c.term(ctx, own, func(s tenure) {
					mu.Lock()
					defer mu.Unlock()
					tenures = append(tenures, s)
				})
			}
		})
	}
	kinds := []routerostest.FaultKind{
		routerostest.FaultCloseReply, routerostest.FaultSilenceReply, routerostest.FaultReset, routerostest.FaultVanish, routerostest.FaultDelay,
		routerostest.FaultDelayReply, routerostest.FaultTrap, routerostest.FaultSilence, routerostest.FaultClose, routerostest.FaultHalfSentence,
	}
	for ctx.Err() == nil {
		verb := []string{"add", "set", "remove", "print", "listen"}[random.IntN(5)]
		box.Inject(routerostest.Fault{
			Kind: kinds[random.IntN(len(kinds))], Command: listPath + "/" + verb, Times: 1 + random.IntN(3), Delay: time.Duration(random.IntN(20)) * time.Second,
		})
		switch random.IntN(12) {
		case 0:
			box.Reboot(routerostest.Reboot{Down: time.Duration(random.IntN(40)) * time.Second, Cut: random.IntN(2) == 0})
		case 1:
			box.Disconnect()
		case 2:
			put(t, box, listPath, routerostest.Row{"list": "visitors", "address": netip.AddrFrom4([4]byte{198, 51, 100, byte(random.IntN(250))}).String() + "/31", "timeout": "17s"})
		}
		time.Sleep(time.Duration(random.IntN(20_000)) * time.Millisecond)
	}
	all.Wait()
	return tenures
}

// term takes the lock, keeps it for a while or until it is lost, and gives it away, or is killed.
func (c *contender) term(ctx context.Context, random *rand.Rand, believe func(tenure)) {
	const believed = lease - lease/3
	for {
		sent := time.Now()
		bounded, cancel := context.WithTimeout(ctx, lease/3)
		holder, err := c.Acquire(bounded, lease)
		cancel()
		if err == nil && holder.Mine && time.Since(sent) < believed {
			believe(tenure{c.host, time.Now(), sent.Add(believed)}) // from the reply on
			break
		}
		if ctx.Err() != nil {
			return
		}
		time.Sleep(time.Second)
	}
	till, ends := time.Now().Add(believed/2), time.Now().Add(time.Duration(random.IntN(120))*time.Second)
	for ctx.Err() == nil && time.Now().Before(ends) {
		time.Sleep(min(lease/3, time.Until(till)/2+time.Millisecond))
		sent := time.Now()
		bounded, cancel := context.WithTimeout(ctx, lease/3)
		err := c.Renew(bounded, lease)
		cancel()
		if errors.Is(err, lock.ErrLost) || time.Now().After(till) {
			believe(tenure{c.host, time.Now(), time.Now()})
			return
		}
		if err == nil {
			till = sent.Add(believed)
			believe(tenure{c.host, time.Now(), till})
		}
	}
	believe(tenure{c.host, time.Now(), time.Now()}) // and no longer
	if random.IntN(3) == 0 {                        // killed: what comes next is another process
		c.Lock = c.NewLock(router.LockConfig{Name: "again"})
		return
	}
	bounded, cancel := context.WithTimeout(ctx, lease/3)
	defer cancel()
	_ = c.Release(bounded)
}

// strangers holds that no entry but the lock was touched.
func strangers(t *testing.T, box *routerostest.Router) {
	t.Helper()
	static := 0
	for _, row := range box.Rows(listPath) {
		if row["list"] == "attackers" && row["timeout"] == "" {
			static++
		}
	}
	if static != 5 {
		t.Errorf("%d of 5 entries of the administrator's are left", static)
	}
}
