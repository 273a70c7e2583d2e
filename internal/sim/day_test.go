package sim_test

import (
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"doublenat/internal/nat"
	"doublenat/natpmp"
)

// The shape of a simulated day: storms in which everything may happen, each
// followed by a quiet time in which all must come right, and by a calm in which
// clients only renew.
const (
	stormLeast, stormMost = time.Minute, 6 * time.Minute
	// quiet is the time after which the layers must agree: reconnecting takes up to
	// a minute, and so does the next reconcile.
	quiet             = 4 * time.Minute
	calmMost          = 3 * time.Hour
	faultsMost        = 6
	busiest           = 25 * time.Second // mean time between two acts of one client in a storm
	portsOfClient     = 3
	firstInternalPort = 6881
)

// live runs the world for so many days, and then lets everything end.
func (w *world) live(days int) {
	table := faultTable(w.kind)
	w.run(time.Minute)
	idle := goroutines()
	end := time.Now().Add(time.Duration(days) * 24 * time.Hour)
	for time.Now().Before(end) && !w.failed {
		w.storm(table)
		w.heal()
		w.run(quiet)
		w.verify()
		if w.failed {
			return
		}
		w.calm()
	}
	if w.failed {
		return
	}
	w.sunset()
	for look := 1; goroutines() > idle; look++ { // One may be at work just now.
		if look == looks {
			w.fail("(g) %d goroutines after all that, %d before", goroutines(), idle)
			return
		}
		w.run(time.Second)
	}
}

// goroutines counts those that run code of ours. The runtime starts some of its own
// when memory is tight, which are none of our business, and a box has one for each connection
// that somebody keeps open.
func goroutines() int {
	stacks := make([]byte, 4<<20)
	n := 0
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(stack, "doublenat/") && !strings.Contains(stack, "igdtest.(*Gateway).converse") {
			n++
		}
	}
	return n
}

func (w *world) run(d time.Duration) { w.agenda.run(time.Now().Add(d)) }

// storm breaks things while the clients are busy.
func (w *world) storm(table []fault) {
	lasting := w.between(stormLeast, stormMost)
	for range w.rng.IntN(faultsMost + 1) {
		f := table[w.rng.IntN(len(table))]
		at, mended := w.duration(lasting), w.between(time.Second, 3*time.Minute)
		w.agenda.after(at, func() { w.strike(f, mended) })
	}
	for _, c := range w.clients {
		for at := w.duration(2 * busiest); at < lasting; at += w.duration(2 * busiest) {
			w.agenda.after(at, func() { w.act(c) })
		}
	}
	w.run(lasting + time.Millisecond)
}

// act lets a client do something.
func (w *world) act(c *client) {
	key := nat.Key{
		Client: c.addr, Protocol: pick(w.rng, nat.TCP, nat.UDP),
		InternalPort: firstInternalPort + uint16(w.rng.IntN(portsOfClient)),
	}
	wt := c.wants[key]
	alive := wt != nil && wt.alive
	lifetime := lifetimeOf(key)
	suggest := pick(w.rng, uint16(0), key.InternalPort, uint16(1024+w.rng.IntN(60000)))
	part := pick(w.rng, 50, 50, 75, 90, lastMoment)
	switch n := w.rng.IntN(100); {
	case n < 45 && !alive:
		c.want(key, lifetime, suggest, part)
		if w.chance(0.4) { // the other protocol right after it, as torrent programs do
			other := key.Port().With(key.Protocol.Other())
			w.agenda.after(w.duration(20*time.Millisecond), func() { c.want(other, lifetimeOf(other), suggest, part) })
		}
	case n < 55 && alive:
		c.ask(wt) // before its time
	case n < 65 && alive:
		c.unwant(wt, true)
		if w.chance(0.3) { // Deluge changes its port and does not wait
			next := key.Port().With(key.Protocol)
			next.InternalPort = firstInternalPort + uint16(w.rng.IntN(portsOfClient))
			c.want(next, lifetimeOf(next), suggest, part)
		}
	case n < 72 && alive:
		c.unwant(wt, false)
	case n < 75 && w.mapped(c.addr, key.Protocol) < 2:
		// Several deletions at once belong into calm weather: where they time out
		// together, the scheduler decides which is first, and no replay is exact.
		c.unwantAll(key.Protocol)
	case n < 85:
		w.burst(c, key)
	case n < 88:
		c.packet(natpmp.Request{Opcode: natpmp.OpExternalAddress})
	}
}

// lifetimeOf returns what is asked for a port, in seconds: a program always asks for
// the same, and so does another one that has the port after it.
func lifetimeOf(key nat.Key) uint32 {
	all := [...]uint32{20, 60, 600, 3600, 3600, 7200, 7200, 1 << 31}
	host := key.Client.As4()
	return all[(int(host[3])*3+int(key.InternalPort)*5+int(key.Protocol))%len(all)]
}

// mapped returns how many mappings of a client and protocol the daemon has.
func (w *world) mapped(client netip.Addr, p nat.Protocol) (n int) {
	d := w.bench.Daemon()
	if d == nil {
		return 0
	}
	for _, m := range d.Mappings() {
		if m.Key.Client == client && m.Key.Protocol == p {
			n++
		}
	}
	return n
}

// burst sends a request several times at once and wants nothing afterwards: a
// program that was killed while it retransmitted.
func (w *world) burst(c *client, key nat.Key) {
	w.note("%v sends copies", key)
	for range 2 + w.rng.IntN(4) {
		w.agenda.after(w.duration(300*time.Millisecond), func() {
			c.packet(natpmp.Request{Opcode: natpmp.Opcode(key.Protocol), InternalPort: key.InternalPort, Lifetime: lifetimeOf(key)})
		})
	}
}

// calm lets time pass with nothing wrong. Some clients go away; now and then the
// daemon is killed or stopped, which in a world without faults has one outcome only.
func (w *world) calm() {
	for _, c := range w.clients {
		if w.chance(0.2) {
			c.unwantAll(pick(w.rng, nat.TCP, nat.UDP))
			continue
		}
		for _, wt := range c.living() {
			// Most of those that come every few seconds: they cost most of the time.
			if hasty := c.granted(wt) <= time.Minute; w.chance(0.4) || hasty && w.chance(0.9) {
				c.unwant(wt, w.chance(0.5))
			}
		}
	}
	w.run(time.Minute)
	switch n := w.rng.IntN(10); {
	case n < 2:
		w.adoption()
	case n < 4:
		w.cleanRestart()
	}
	w.run(w.duration(calmMost))
}

// adoption kills the daemon and starts it again: every mapping is there again, with
// the rule that it had.
func (w *world) adoption() {
	w.tally.add("check: adoption", 1)
	before := w.bench.Daemon().Mappings()
	w.kill()
	w.run(w.duration(5 * time.Second))
	w.start()
	w.run(20 * time.Second)
	after := make(map[nat.Key]nat.Mapping)
	for _, m := range w.bench.Daemon().Mappings() {
		after[m.Key] = m
	}
	for _, was := range before {
		switch is, there := after[was.Key]; {
		case was.Closing || w.watch.last(was.Key).void:
		case !there && time.Now().Before(was.Until):
			w.fail("(h) %v was not adopted", was.Key)
		case there && is.RuleID != was.RuleID:
			w.fail("(h) the rule of %v was %s before the restart and is %s", was.Key, was.RuleID, is.RuleID)
		}
	}
	w.verify()
}

// cleanRestart stops the daemon, which leaves nothing, or everything.
func (w *world) cleanRestart() {
	w.tally.add("check: restart", 1)
	before, mappings := w.ids(), w.bench.Daemon().Mappings()
	keep := w.keep
	w.stop()
	// What ended by itself meanwhile is not kept.
	ended := func(id string) bool {
		return slices.ContainsFunc(mappings, func(m nat.Mapping) bool { return m.RuleID == id && !time.Now().Before(m.Until) })
	}
	before = slices.DeleteFunc(before, ended)
	switch after := slices.DeleteFunc(w.ids(), ended); {
	case keep && !slices.Equal(before, after):
		w.fail("stopped with SHUTDOWN=keep: rules %v before, %v after", before, after)
	case !keep:
		for _, wrong := range slices.Concat(w.ruleDisagreements(nil), w.leaseDisagreements(nil)) {
			w.fail("after a clean stop: %s", wrong)
		}
	}
	w.run(w.duration(5 * time.Second))
	w.start()
	w.run(20 * time.Second)
}

// sunset lets all clients vanish: in the end nothing is left of anything.
func (w *world) sunset() {
	for _, c := range w.clients {
		for _, wt := range c.living() {
			c.unwant(wt, false)
		}
	}
	w.run(2*time.Hour + 15*time.Minute)
	if n := len(w.bench.Daemon().Mappings()); n > 0 {
		w.fail("(f) %d mappings although nobody renewed them for more than two hours", n)
	}
	w.verify()
	if n := len(w.ids()) + len(w.bench.Lent()); n > 0 {
		w.fail("(f) %d rules and leases are left", n)
	}
}

// ids returns the ids of our rules in order.
func (w *world) ids() []string {
	var ids []string
	for _, r := range w.bench.OurRules("default") {
		ids = append(ids, r[".id"])
	}
	slices.Sort(ids)
	return ids
}
