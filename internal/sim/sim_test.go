package sim_test

import (
	"bufio"
	"flag"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// What to simulate; see docs/simulation.md.
var (
	flagSeeds = flag.Int("seeds", 5, "how many seeds to simulate")
	flagFirst = flag.Uint64("first", 1, "the first seed")
	flagSeed  = flag.Uint64("seed", 0, "replay this seed alone and show what happened")
	flagDays  = flag.Int("days", 1, "how many days to simulate with each seed")
)

// wholeRun is from how many days of a kind on every fault of it has to have been injected.
const wholeRun = 500

// growth is how much memory all simulations of a run may leave behind.
const growth = 16 << 20

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSimulation runs the real daemon through random days.
func TestSimulation(t *testing.T) {
	counts := new(tally)
	if *flagSeed != 0 {
		simulate(t, *flagSeed, drawKind(*flagSeed), *flagDays, counts, true)
		return
	}
	simulate(t, *flagFirst, drawKind(*flagFirst), *flagDays, counts, false) // fills pools and caches
	before, memory := goroutines(), memoryInUse()
	began := time.Now()
	if testing.Short() {
		*flagSeeds = min(*flagSeeds, 1)
	}
	for i := range *flagSeeds {
		seed := *flagFirst + uint64(i)
		simulate(t, seed, drawKind(seed), *flagDays, counts, false)
	}
	took, days := time.Since(began), *flagSeeds**flagDays
	t.Logf("%d seeds of %d days in %v, %v a day\n%s", *flagSeeds, *flagDays, took.Round(time.Millisecond),
		(took / time.Duration(max(days, 1))).Round(time.Millisecond), counts)
	if n := goroutines(); n > before {
		t.Errorf("(g) %d goroutines at the end, %d before", n, before)
	}
	if n := memoryInUse(); n > memory+growth {
		t.Errorf("(g) %d bytes in use at the end, %d before", n, memory)
	}
	for _, k := range kinds() {
		days := counts.of("kind "+string(k)) * *flagDays
		for _, f := range faultTable(k) {
			if days >= wholeRun && counts.of(f.name) == 0 {
				t.Errorf("%d days with %s without a single %q", days, k, f.name)
			}
		}
	}
}

// memoryInUse returns the bytes that are in use.
func memoryInUse() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// TestRegressions runs the seeds that once found a mistake.
func TestRegressions(t *testing.T) {
	f, err := os.Open("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	counts := new(tally)
	lines := bufio.NewScanner(f)
	for i := 0; lines.Scan(); i++ {
		number, k := seedOf(lines.Text())
		if strings.HasPrefix(number, "#") || testing.Short() && i%16 != 0 {
			continue
		}
		seed, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			t.Fatalf("testdata/seeds.txt: %v", err)
		}
		simulate(t, seed, k, 1, counts, false)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// seedOf returns the seed of a line of testdata/seeds.txt, and what is beyond the router: it
// follows the seed, unless it is NAT-PMP.
func seedOf(line string) (number string, k kind) {
	number, rest, _ := strings.Cut(line, " ")
	name, _, _ := strings.Cut(rest, " ")
	if k = kind(name); slices.Contains(kinds(), k) {
		return number, k
	}
	return number, byNATPMP
}

// simulate runs one seed. A failure is shown with what went before it, and ends the
// test.
func simulate(t *testing.T, seed uint64, k kind, days int, counts *tally, verbose bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, k, counts, verbose)
		defer func() {
			w.close()
			if w.failed || verbose {
				t.Logf("%s\ndigest %s\nreplay with: make sim SEED=%d KIND=%s DAYS=%d", w.trace.tail(), w.trace.digest(), seed, k, days)
			}
		}()
		w.live(days)
		w.count(counts)
	})
}

// count adds what happened to the counters of the run.
func (w *world) count(counts *tally) {
	for kind, n := range w.bench.Net.Counts() {
		counts.add("packets "+kind.String(), int(n))
	}
	for kind, n := range w.bench.Router.FaultCounts() {
		counts.add("router commands struck by "+kind.String(), n)
	}
	w.watch.mu.Lock()
	defer w.watch.mu.Unlock()
	for kind, n := range w.watch.answers {
		counts.add("answers and events: "+kind, n)
	}
}
