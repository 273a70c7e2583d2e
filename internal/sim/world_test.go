package sim_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/internal/nat"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// listenAddr is where the daemon of the bench answers its clients.
var listenAddr = netip.MustParseAddrPort("192.168.88.1:5351")

// world is one simulation: the bench, the clients on it, and whoever breaks things.
// One goroutine, the driver, does all that is not the daemon's.
type world struct {
	t      *testing.T
	seed   uint64
	kind   kind
	rng    *rand.Rand // the driver's
	bench  *lab.Bench
	agenda agenda
	trace  *trace
	watch  *watch
	tally  *tally

	clients []*client
	paths   [paths]path
	// undo takes away the faults that are on, by the order of their coming.
	undo   map[uint64]func()
	faults uint64
	failed bool
	// mute stops listening to the daemon that runs, started is when it was started,
	// keep whether it leaves its mappings when it stops.
	mute    func()
	started time.Time
	keep    bool
	// restarted is when the gateway last lost its leases.
	restarted time.Time
	// like says how what is beyond the router behaves, profile is what it is when it is
	// well, and pool are its entries.
	like    string
	profile lab.Beyond
	pool    []string
	// forwards are the entries that the provider forwards now.
	forwards []string
}

// newWorld builds everything that the seed decides and starts the daemon.
func newWorld(t *testing.T, seed uint64, k kind, tally *tally, verbose bool) *world {
	t.Helper()
	w := &world{
		t: t, seed: seed, kind: k, rng: rand.New(rand.NewPCG(seed, 0x6886)), tally: tally,
		trace: &trace{start: time.Now(), all: verbose}, undo: make(map[uint64]func()),
	}
	w.watch = newWatch(w.trace, w.fail)
	profile := w.gateway()
	environ := map[string]string{
		"LEASE_POLICY": pick(w.rng, "client", "client", "hold"), "GATEWAY_WINDOW": pick(w.rng, "1", "4", "16"),
	}
	uncommon(seed, &profile, environ)
	cfg := lab.BenchConfig{
		Profile: profile, Seed: seed, Latency: time.Millisecond, Options: w.options,
		Environ: environ,
		Router: routerostest.Config{
			Version: pick(w.rng, "6.49", "7.12", "7.17", "7.18", "7.22"), Latency: 3 * time.Millisecond, Jitter: time.Millisecond,
			Journal: 64, ReuseIDs: w.chance(0.5),
		},
	}
	if verbose {
		cfg.Capture = traceLines
	}
	w.like = profile.Name
	if err := w.beyond(&cfg); err != nil {
		t.Fatal(err)
	}
	w.build(cfg)
	w.repave()
	w.bench.Router.OnChange(w.watch.ruled)
	w.start()
	for i := range 2 + w.rng.IntN(3) {
		w.clients = append(w.clients, newClient(w, netip.AddrFrom4([4]byte{192, 168, 88, byte(10 + i)})))
	}
	return w
}

// build makes the bench.
func (w *world) build(cfg lab.BenchConfig) {
	bench, err := lab.NewBench(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.bench, w.watch.bench, w.profile = bench, bench, cfg.Beyond
	w.watch.unasked, w.watch.wayward = w.kind == byPool, cfg.Profile.RepeatWindow > 0 || cfg.Profile.RotateEvery > 0
	if w.kind == byPool {
		w.forward(w.pool)
	}
	if w.kind == byUPnP {
		synctest.Wait() // until it has its sockets
	}
	w.note("seed %d, gateway %s, RouterOS %s, %v", w.seed, w.like, cfg.Router.Version, cfg.Environ)
	w.tally.add("kind "+string(w.kind), 1)
	for _, name := range []string{"LEASE_POLICY", "GATEWAY_DELIVERY", "COMPANION"} {
		w.tally.add(name+"="+cfg.Environ[name], 1)
	}
}

// uncommon chooses the settings that few have. Chance of their own decides, so that
// the days of the older seeds stay what they were but for these.
func uncommon(seed uint64, profile *natpmptest.Profile, environ map[string]string) {
	rng := rand.New(rand.NewPCG(seed, 0xFEE))
	environ["COMPANION"] = pick(rng, "off", "off", "off", "on")
	delivery := pick(rng, "internal", "internal", "internal", "both", "external")
	environ["GATEWAY_DELIVERY"] = delivery
	profile.DeliversExternal = delivery == "external"
}

// gateway chooses one that speaks NAT-PMP.
func (w *world) gateway() natpmptest.Profile {
	p := pick(w.rng,
		natpmptest.Proton(), natpmptest.RFC(), natpmptest.Miniupnpd(), natpmptest.ProtonRotate(3),
		natpmptest.ProtonDuplicate(), natpmptest.Split(),
	)
	if w.chance(0.7) && p.FixedLifetime {
		// Longer leases make days that are cheaper to simulate, and rarer renewals.
		p.Lifetime = pick(w.rng, 5*time.Minute, 20*time.Minute, time.Hour)
	}
	return p
}

// options puts the watch and the seed into a daemon.
func (w *world) options(opts *daemon.Options) {
	listen, alive := opts.Network.Listen, true
	opts.Network.Listen = func(ctx context.Context, at netip.AddrPort) (net.PacketConn, error) {
		conn, err := listen(ctx, at)
		if err != nil {
			return nil, err
		}
		return &socket{PacketConn: conn, watch: w.watch}, nil
	}
	opts.Random = w.dice
	w.mute = func() { alive = false }
	opts.OnEvent = func(ev nat.Event) {
		if alive { // What a process that was killed thinks is of no concern.
			w.watch.happened(ev)
		}
	}
}

// dice is the chance of the daemon. It depends on the seed and the time and not on
// which goroutine asks first.
func (w *world) dice() float64 {
	return rand.New(rand.NewPCG(w.seed, uint64(time.Since(w.trace.start)))).Float64()
}

// close ends the simulation. Leftover goroutines fail the test by themselves: a
// synctest bubble waits for all of its own.
func (w *world) close() {
	for _, c := range w.clients {
		c.close()
	}
	if err := w.bench.Close(); err != nil {
		w.fail("closing: %v", err)
	}
}

// note adds a line to the trace.
func (w *world) note(format string, args ...any) { w.trace.note(format, args...) }

// fail fails the simulation, and shows how it came to that the first time.
func (w *world) fail(format string, args ...any) {
	w.note("FAILED: "+format, args...)
	for _, p := range w.bench.Net.Packets() {
		if !w.failed && p.Kind != natpmptest.PacketDelayed {
			w.note("    %.6f %v", p.At.Sub(w.trace.start).Seconds(), p)
		}
	}
	w.t.Errorf("seed %d at %v: %s", w.seed, time.Since(w.trace.start).Round(time.Microsecond), fmt.Sprintf(format, args...))
	w.failed = true
}

// chance is true with the given probability.
func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

// duration returns a time from 0 to less than the limit.
func (w *world) duration(limit time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(limit)))
}

// between returns a time from low to less than high.
func (w *world) between(low, high time.Duration) time.Duration { return low + w.duration(high-low) }

// pick returns one of the choices.
func pick[T any](rng *rand.Rand, choices ...T) T { return choices[rng.IntN(len(choices))] }
