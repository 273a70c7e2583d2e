package sim_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/lab"
	"doublenat/internal/nat"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

var (
	flagPairs    = flag.Int("pairs", 1, "how many seeds of two doublenats to simulate")
	flagPairSeed = flag.Uint64("pair", 0, "replay this seed of two doublenats alone and show what happened")
)

// The shape of a day of a pair: storms, and quiet times in which a takeover and all that the clients
// do after it are over.
const (
	pairLength = 45 * time.Minute
	pairQuiet  = 8 * time.Minute
)

// couple is a world with two doublenats of which one is active, at one router that keeps the lock.
type couple struct {
	*world

	lease    time.Duration
	partners [2]*partner
	relay    *relay
	// mark is up to where the router's journal was read, holder who took the lock last.
	mark   routerostest.Mark
	holder netip.Addr
	terms  int
	writes int
}

// TestPairs runs two real daemons and the router's own lock through random days.
func TestPairs(t *testing.T) {
	counts := new(tally)
	if *flagPairSeed != 0 {
		simulatePair(t, *flagPairSeed, counts, true)
		return
	}
	for i := range *flagPairs {
		simulatePair(t, *flagFirst+uint64(i), counts, false)
	}
	t.Logf("%d days of pairs\n%s", *flagPairs, counts)
}

// simulatePair runs one seed.
func simulatePair(t *testing.T, seed uint64, counts *tally, verbose bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCouple(t, seed, counts, verbose)
		defer func() {
			c.close()
			if c.failed || verbose {
				t.Logf("%s\nreplay with: make sim-pair SEED=%d", c.trace.tail(), seed)
			}
		}()
		c.live()
		counts.add("pairs: terms", c.terms)
		counts.add("pairs: writes", c.writes)
	})
}

// newCouple builds everything that the seed decides and starts both.
func newCouple(t *testing.T, seed uint64, counts *tally, verbose bool) *couple {
	t.Helper()
	w := &world{
		t: t, seed: seed, kind: byNATPMP, rng: rand.New(rand.NewPCG(seed, 0x70616972)), tally: counts,
		trace: &trace{start: time.Now(), all: verbose}, undo: make(map[uint64]func()),
	}
	c := &couple{world: w, lease: pick(w.rng, 6*time.Second, 15*time.Second, 15*time.Second, time.Minute)}
	profile := natpmptest.RFC()
	if w.chance(0.5) {
		profile = natpmptest.Proton()
		profile.Lifetime = pick(w.rng, time.Minute, 5*time.Minute, 20*time.Minute)
	}
	bench, err := lab.NewBench(lab.BenchConfig{
		Profile: profile, Seed: seed, Latency: time.Millisecond,
		Environ: map[string]string{"LEASE_POLICY": pick(w.rng, "client", "hold", "auto"), "LOCK": "router", "LOCK_LEASE": c.lease.String()},
		Router: routerostest.Config{
			Version: pick(w.rng, "6.49", "7.12", "7.17", "7.18", "7.22"), Latency: 3 * time.Millisecond, Jitter: time.Millisecond,
			Journal: 20_000, ReuseIDs: w.chance(0.5),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.bench = bench
	c.relay = newRelay(c)
	c.mark = bench.Router.Mark()
	for i := range c.partners {
		c.partners[i] = newPartner(c, netip.AddrFrom4([4]byte{192, 168, 88, byte(2 + i)}))
		c.partners[i].start()
	}
	for i := range 2 + w.rng.IntN(3) {
		w.clients = append(w.clients, newClient(w, netip.AddrFrom4([4]byte{192, 168, 88, byte(10 + i)})))
	}
	w.agenda.after(time.Second, c.look)
	return c
}

// close ends the simulation.
func (c *couple) close() {
	for _, cl := range c.clients {
		cl.close()
	}
	for _, p := range c.partners {
		p.line.heal()
		if err := p.place.Leave(); err != nil {
			c.note("%s ended with %v", p.host, err)
		}
	}
	c.relay.close()
	if err := c.bench.Close(); err != nil {
		c.fail("closing: %v", err)
	}
}

// live lives a day of storms, stops both, and starts both again.
func (c *couple) live() {
	c.run(20 * time.Second)
	for end := time.Now().Add(pairLength); time.Now().Before(end) && !c.failed; {
		c.storm(c.faultTable())
		c.heal()
		c.run(pairQuiet)
		c.verify()
		if testing.Short() {
			break
		}
		c.run(c.duration(10 * time.Minute))
	}
	if c.failed {
		return
	}
	for _, p := range c.partners {
		p.stop()
	}
	c.verifyLayers("after both stopped")
	for _, p := range c.partners {
		p.start()
	}
	c.run(pairQuiet)
	c.verify()
}

// look reads who did what on the router: whoever took the lock last may write, and nobody else.
func (c *couple) look() {
	c.judge()
	c.agenda.after(500*time.Millisecond, c.look)
}

func (c *couple) judge() {
	mark := c.bench.Router.Mark()
	for _, e := range c.bench.Router.Since(c.mark) {
		switch table, _, _ := strings.Cut(strings.TrimPrefix(e.Command, "/ip/firewall/"), "/"); {
		case e.Command == "/ip/firewall/address-list/add" && e.Changed && slices.Contains(e.Args, "=address=192.0.2.1"):
			if c.holder != e.Peer {
				c.note("%s takes the lock", e.Peer)
			}
			c.holder = e.Peer
			c.terms++
			c.relay.lead(e.Peer)
		case table == "nat" && e.Wrote:
			c.writes++
			if e.Peer != c.holder {
				c.fail("(w) %s wrote %s %v at %v in the term of %s", e.Peer, e.Command, e.Args, e.Time.Sub(c.trace.start), c.holder)
			}
		}
	}
	c.mark = mark
}

// verify holds the world against what has to be in a quiet moment.
func (c *couple) verify() {
	c.tally.add("check: quiet, of a pair", 1)
	c.judge()
	answers := 0
	for _, p := range c.partners {
		if p.answers() {
			answers++
		}
	}
	if answers != 1 {
		c.fail("(o) %d answer clients", answers)
	}
	c.verifyLayers("in a quiet moment")
}

// verifyLayers checks that what clients believe to have reaches them, and that nothing is doubled.
func (c *couple) verifyLayers(when string) {
	var wrong []string
	for range looks {
		if wrong = c.wrong(); len(wrong) == 0 {
			return
		}
		c.run(1300 * time.Millisecond)
	}
	c.fail("%s: %s", when, strings.Join(wrong, "; "))
}

func (c *couple) wrong() (wrong []string) {
	rules := make(map[nat.Key]routerostest.Row)
	for _, r := range c.bench.OurRules("default") {
		key, err := keyOf(r["protocol"], r["to-addresses"], r["to-ports"])
		if _, doubled := rules[key]; doubled || err != nil {
			wrong = append(wrong, fmt.Sprintf("(2) two rules for %v: %v and %v, %v", key, rules[key], r, err))
		}
		rules[key] = r
	}
	passes := c.bench.Passes()
	for _, cl := range c.clients {
		for _, wt := range cl.living() {
			port := cl.believes(wt)
			if port == 0 {
				continue
			}
			r, ruled := rules[wt.key]
			i := slices.IndexFunc(passes, func(p lab.Pass) bool { return p.Protocol == wt.key.Protocol && p.External == port })
			if !ruled || i < 0 || !slices.Contains(strings.Split(r["dst-port"], ","), fmt.Sprint(passes[i].Inner)) {
				wrong = append(wrong, fmt.Sprintf("(l) %v believes in port %d: rule %v, leases %+v", wt.key, port, r, passes))
			}
		}
	}
	return wrong
}

// faultTable returns what happens to a pair.
func (c *couple) faultTable() []fault {
	one := func(f func(p *partner) func()) func(*world) func() {
		return func(w *world) func() {
			p := c.partners[w.rng.IntN(2)]
			if q := c.active(); q != nil && w.chance(0.5) {
				p = q
			}
			w.note("to %s", p.host)
			return f(p)
		}
	}
	return []fault{
		{"pair: killed, starts again at once", one(func(p *partner) func() { p.kill(); p.start(); return nil })},
		{"pair: killed, starts again later", one(func(p *partner) func() { p.kill(); return p.start })},
		{"pair: stopped, starts again at once", one(func(p *partner) func() { p.stop(); p.start(); return nil })},
		{"pair: stopped, starts again later", one(func(p *partner) func() { p.stop(); return p.start })},
		{"pair: cut off", one(func(p *partner) func() { p.line.part(); return p.line.heal })},
		{"pair: cut off for a moment", one(func(p *partner) func() {
			p.line.part()
			p.c.agenda.after(p.c.duration(p.c.lease), p.line.heal)
			return nil
		})},
		{"pair: the host dies", one(func(p *partner) func() { p.line.part(); p.kill(); return func() { p.line.heal(); p.start() } })},
		{"pair: router reboots", func(w *world) func() {
			w.bench.Router.Reboot(routerostest.Reboot{Down: w.between(5*time.Second, time.Minute), Cut: w.chance(0.5)})
			return nil
		}},
		{"pair: router disconnects", func(w *world) func() { w.bench.Router.Disconnect(); return nil }},
		{"pair: gateway restarts without its leases", func(w *world) func() {
			if time.Since(w.restarted) >= unnoticed {
				w.restarted = time.Now()
				w.bench.Gateway.Restart(false)
			}
			return nil
		}},
		{"pair: gateway restarts with its leases", func(w *world) func() { w.bench.Gateway.Restart(true); return nil }},
	}
}

// active returns who has the lock.
func (c *couple) active() *partner {
	for _, p := range c.partners {
		if p.host == c.holder {
			return p
		}
	}
	return nil
}
