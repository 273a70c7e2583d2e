package daemon_test

import (
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// The flood, and what is promised under it.
const (
	floodSources  = 100_000
	floodRate     = 100_000  // packets a second
	floodMemory   = 16 << 20 // bytes of heap more than before
	floodRoutines = 600      // goroutines more than before
	renewalBudget = 250 * time.Millisecond
)

// The defaults that bound the flood: what new clients may come at once and in a
// second, and the mappings in all.
const (
	newAtOnce   = 200
	newASecond  = 50
	maxMappings = 1024
)

// shorter is what a long test takes: less of it with -short.
func shorter(whole, short time.Duration) time.Duration {
	if testing.Short() {
		return short
	}
	return whole
}

// watch measures the most memory and goroutines that were in use at any look.
type watch struct {
	memory, routines         int64 // at the beginning
	mostMemory, mostRoutines int64 // more than that
}

func (w *watch) look() (memory, routines int64) {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(runtime.NumGoroutine())
}

func (w *watch) begin() { w.memory, w.routines = w.look() }

func (w *watch) note() {
	memory, routines := w.look()
	w.mostMemory = max(w.mostMemory, memory-w.memory)
	w.mostRoutines = max(w.mostRoutines, routines-w.routines)
}

// TestFlood sends a million packets from a hundred thousand forged addresses in ten
// seconds, each for another mapping. Meanwhile an honest client renews its mapping
// every half second. It prints its figures; run it with -v.
//
// It is not parallel to others, because it measures the memory of the process.
func TestFlood(t *testing.T) { //nolint:paralleltest // see above
	var log logBuffer
	cfg := lab.BenchConfig{
		Profile: natpmptest.RFC(), Router: routerostest.Config{Latency: 10 * time.Millisecond},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}
	cfg.Profile.ReplyDelay = 30 * time.Millisecond
	onBench(t, cfg, func(r *rig) {
		lasts := shorter(10*time.Second, 3*time.Second)
		granted := r.mapped(alice, natpmp.OpMapTCP, 6881)
		mark, asked, lines := r.Router.Mark(), r.requests(), strings.Count(log.String(), "\n")
		var w watch
		w.begin()
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.flood(lasts)
		}()
		worst := time.Duration(0)
		for renewal := range int(lasts / (500 * time.Millisecond)) {
			time.Sleep(500*time.Millisecond - worst%time.Millisecond)
			began := time.Now()
			again := r.ask(alice, natpmp.OpMapTCP, 6881, granted.ExternalPort)
			worst = max(worst, time.Since(began))
			if again.Result != natpmp.ResultSuccess || again.ExternalPort != granted.ExternalPort {
				r.t.Errorf("renewal %d was answered %+v", renewal, again)
			}
			w.note()
		}
		<-done
		time.Sleep(10 * time.Second) // what the flood caused is over
		w.note()

		if got := r.Net.Counts()[natpmptest.PacketOverflowed]; got > 0 {
			r.t.Errorf("%d packets did not reach doublenat", got)
		}
		hosts := make(map[netip.Addr]bool)
		for _, m := range r.Daemon().Mappings() {
			hosts[m.Key.Client] = true
		}
		requests, writes := r.requests()-asked, r.Router.StatsSince(mark).Writes
		newcomers := newAtOnce + newASecond*int(lasts/time.Second)
		packets := floodRate * int(lasts/time.Second)
		perSource := packets / floodSources
		r.t.Logf("%d packets from %d sources in %v: worst renewal %v; heap +%d KiB, goroutines +%d; "+
			"%d forged clients let in, %d router writes, %d gateway requests, %d log lines",
			packets, floodSources, lasts, worst, w.mostMemory>>10, w.mostRoutines,
			len(hosts)-1, writes, requests, strings.Count(log.String(), "\n")-lines)
		for _, bound := range []struct {
			what      string
			got, most int64
		}{
			{"milliseconds of the slowest renewal", worst.Milliseconds(), renewalBudget.Milliseconds()},
			{"bytes of memory", w.mostMemory, floodMemory},
			{"goroutines", w.mostRoutines, floodRoutines},
			{"forged clients let in", int64(len(hosts) - 1), int64(newcomers)},
			{"writes of the router", int64(writes), maxMappings},
			{"requests of the gateway", int64(requests), int64(newcomers*perSource + 100)},
			{"lines about the flood itself", int64(strings.Count(log.String(), "come too fast")), 1},
		} {
			if bound.got > bound.most {
				r.t.Errorf("%s: %d, want at most %d", bound.what, bound.got, bound.most)
			}
		}
		if len(hosts) < newAtOnce/2 {
			r.t.Errorf("%d clients were let in: that was no flood", len(hosts))
		}
	})
}

// The same when the router does not answer a create any more, so that the requests
// of those who were let in take all the work there is; and after a restart, when
// only the router knows who has a mapping.
func TestFloodWhenTheRouterHangs(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Profile: natpmptest.RFC()}, func(r *rig) {
		granted := r.mapped(alice, natpmp.OpMapTCP, 6881)
		r.Kill()
		r.start(nil)
		r.Router.Inject(routerostest.Fault{Kind: routerostest.FaultSilence, Command: natAdd, Times: -1})
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.flood(2 * time.Second)
		}()
		for range 8 {
			time.Sleep(250 * time.Millisecond)
			began := time.Now()
			again := r.ask(alice, natpmp.OpMapTCP, 6881, granted.ExternalPort)
			if took := time.Since(began); took > renewalBudget || again.Result != natpmp.ResultSuccess {
				r.t.Errorf("a renewal took %v and was answered %+v", took, again)
			}
		}
		<-done
		r.Router.ClearFaults()
		time.Sleep(5 * time.Minute) // what is half made is undone
		r.agree()
	})
}

// The same from hosts that hold a mapping each: what is kept for renewals is not
// theirs for whatever else they ask for.
func TestFloodFromHolders(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Profile: natpmptest.RFC()}, func(r *rig) {
		granted := r.mapped(alice, natpmp.OpMapTCP, 6881)
		var holders []netip.Addr
		for i := range byte(8) {
			holders = append(holders, netip.AddrFrom4([4]byte{192, 168, 88, 100 + i}))
			r.mapped(holders[i], natpmp.OpMapTCP, 6881)
		}
		r.Router.Inject(routerostest.Fault{Kind: routerostest.FaultSilence, Command: natAdd, Times: -1})
		r.Router.Inject(routerostest.Fault{Kind: routerostest.FaultSilence, Command: natRemove, Times: -1})
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.press(holders, 20*time.Second)
		}()
		for renewal := range 40 {
			time.Sleep(500 * time.Millisecond)
			began := time.Now()
			again := r.ask(alice, natpmp.OpMapTCP, 6881, granted.ExternalPort)
			if took := time.Since(began); took > renewalBudget || again.Result != natpmp.ResultSuccess {
				r.t.Errorf("renewal %d took %v and was answered %+v", renewal, took, again)
			}
		}
		<-done
		r.Router.ClearFaults()
		time.Sleep(10 * time.Minute) // what is half made is undone
		r.agree()
	})
}

// One client that makes a mapping and ends it, again and again, wears neither the
// router's flash nor the log's disk: 128 mappings, and one more every two seconds.
func TestFloodOfCreates(t *testing.T) {
	t.Parallel()
	var log logBuffer
	onBench(t, lab.BenchConfig{Profile: natpmptest.RFC(), Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(r *rig) {
		granted := r.mapped(alice, natpmp.OpMapTCP, 6881)
		mark, lines := r.Router.Mark(), strings.Count(log.String(), "\n")
		results := make(map[natpmp.ResultCode]int)
		for range 60 * 25 {
			results[r.ask(alice, natpmp.OpMapTCP, 7000, 0).Result]++
			r.send(alice, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 7000})
			time.Sleep(40 * time.Millisecond)
		}
		made := results[natpmp.ResultSuccess]
		if made < 128 || made > 162 || results[natpmp.ResultOutOfResources] != 1500-made {
			r.t.Errorf("answers %v, want at most 162 successes, and all others out of resources", results)
		}
		if n := r.Router.StatsSince(mark).Writes; n > 2*162 {
			r.t.Errorf("%d writes of the router", n)
		}
		if n := strings.Count(log.String(), "\n") - lines; n > 2*162+10 {
			r.t.Errorf("%d lines", n)
		}
		if again := r.ask(alice, natpmp.OpMapTCP, 6881, granted.ExternalPort); again.Result != natpmp.ResultSuccess {
			r.t.Errorf("a renewal was answered %+v", again)
		}
		r.agree()
	})
}

// press has each host ask 50 times a second: for new ports, for the end of the one
// that it holds, and for that one again, which has to wait for its end.
func (r *rig) press(hosts []netip.Addr, lasts time.Duration) {
	to := netip.MustParseAddrPort(routerostest.LANAddress + ":5351")
	for i := range uint16(lasts / (20 * time.Millisecond)) {
		req := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 10000 + i, Lifetime: 3600}
		switch {
		case i%10 == 5:
			req = natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 6881}
		case i%10 > 5:
			req.InternalPort, req.SuggestedExternalPort = 6881, i
		}
		for _, host := range hosts {
			r.Net.Inject(netip.AddrPortFrom(host, 1024+i), to, req.Append(nil))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// flood sends packets for as long, a hundred in a millisecond.
func (r *rig) flood(lasts time.Duration) {
	const batch = floodRate / 1000
	to := netip.MustParseAddrPort(routerostest.LANAddress + ":5351")
	for i := range floodRate * int(lasts/time.Second) {
		source := i % floodSources
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(100 + source>>16), byte(source >> 8), byte(source)}), uint16(1024+i%60000))
		req := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: uint16(1 + i/floodSources), Lifetime: 7200}
		r.Net.Inject(from, to, req.Append(nil))
		if i%batch == batch-1 {
			time.Sleep(time.Millisecond)
		}
	}
	synctest.Wait()
}
