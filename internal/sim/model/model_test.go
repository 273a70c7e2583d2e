package model_test

import (
	"flag"
	"fmt"
	"hash/fnv"
	"runtime"
	"sync"
	"testing"

	"doublenat/internal/nat"
)

var (
	flagDays    = flag.Int("days", 500, "how many days to live")
	flagFirst   = flag.Uint64("first", 1, "the seed of the first day")
	flagReplays = flag.Int("replays", 10, "how many days to live twice")
	flagPairs   = flag.Int("pairs", 200, "how many days of two doublenats to live")
	flagEnough  = flag.Int("enough", 0, "after how many failures to stop, 0 for never")
	flagBad     = flag.Int("bad", 1, "how many times as much goes wrong in a day as usual")
	flagSeed    = flag.Uint64("seed", 0, "live the day of this seed alone and show what happened (with -v)")
)

// TestDays lives days of random clients and mishaps, one for each seed.
func TestDays(t *testing.T) {
	t.Parallel()
	if *flagSeed != 0 {
		d := newDay(*flagSeed)
		d.input = func(in nat.Input) { t.Logf("%v %T %+v", d.now.Sub(d.begin), in, in) }
		d.digest = func(a nat.Action) { t.Logf("%v     %T %+v", d.now.Sub(d.begin), a, a) }
		if err := d.run(); err != nil {
			t.Error(err)
		}
		return
	}
	if testing.Short() {
		*flagDays = min(*flagDays, 100)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	steps, failures, kinds := 0, 0, make(map[kind]int)
	workers := uint64(runtime.GOMAXPROCS(0))
	for i := range workers {
		wg.Go(func() {
			for seed := *flagFirst + i; seed < *flagFirst+uint64(*flagDays) && !enough(&mu, &failures); seed += workers {
				d := newDay(seed)
				err := d.run()
				mu.Lock()
				steps += d.steps
				kinds[d.gateway.kind]++
				if err != nil {
					failures++
					if failures <= 100 {
						t.Errorf("%v\nreplay with: go test ./internal/sim/model -run TestDays -v -seed %d -bad %d", err, seed, *flagBad)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d days %v, %d failed, %d steps", *flagDays, kinds, failures, steps)
}

// enough says whether there are as many failures as somebody wants to see.
func enough(mu *sync.Mutex, failures *int) bool {
	mu.Lock()
	defer mu.Unlock()
	return *flagEnough > 0 && *failures >= *flagEnough
}

// TestPairs lives days of two doublenats of which one is active.
func TestPairs(t *testing.T) {
	t.Parallel()
	if *flagSeed != 0 {
		d := newPair(*flagSeed)
		d.input = func(in nat.Input) { t.Logf("%v %T %+v", d.now.Sub(d.begin), in, in) }
		d.digest = func(a nat.Action) { t.Logf("%v     %v %T %+v", d.now.Sub(d.begin), d.pair.acting, a, a) }
		d.pair.note = func(format string, args ...any) { t.Logf("%v "+format, append([]any{d.now.Sub(d.begin)}, args...)...) }
		if err := d.run(); err != nil {
			t.Error(err)
		}
		return
	}
	if testing.Short() {
		*flagPairs = min(*flagPairs, 50)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failures int
	var all tally
	workers := uint64(runtime.GOMAXPROCS(0))
	for i := range workers {
		wg.Go(func() {
			for seed := *flagFirst + i; seed < *flagFirst+uint64(*flagPairs) && !enough(&mu, &failures); seed += workers {
				d := newPair(seed)
				err := d.run()
				mu.Lock()
				all.add(d.pair.tally)
				if err != nil {
					failures++
					if failures <= 100 {
						t.Errorf("%v\nreplay with: go test ./internal/sim/model -run TestPairs -seed %d", err, seed)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d days of pairs, %d failed: %v", *flagPairs, failures, &all)
}

// TestReplay: a seed gives the same actions each time, on any number of cores: days that are
// lived one after the other, and side by side. What it prints is the same in each process
// (make replay).
func TestReplay(t *testing.T) {
	t.Parallel()
	one, many := make([]uint64, *flagReplays), make([]uint64, *flagReplays)
	for i := range one {
		one[i] = digest(i)
	}
	var wg sync.WaitGroup
	workers := max(runtime.GOMAXPROCS(0), 2)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(many); i += workers {
				many[i] = digest(i)
			}
		})
	}
	wg.Wait()
	all := fnv.New64a()
	for i := range one {
		if one[i] != many[i] {
			t.Errorf("seed %d: digests %x and %x", 1+i, one[i], many[i])
		}
		fmt.Fprintln(all, one[i])
	}
	t.Logf("digest of %d days: %x", len(one), all.Sum64())
}

// digest returns that of a day's actions.
func digest(i int) uint64 {
	d := newDay(1 + uint64(i))
	sum := hashed(d)
	_ = d.run() // TestDays tells what fails.
	return sum()
}
