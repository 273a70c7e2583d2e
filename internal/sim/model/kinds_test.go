package model_test

import (
	"math/rand/v2"
	"time"

	"doublenat/internal/nat"
)

// kind is in which language the gateway is asked, as far as the core can tell: what the adapter
// of that language makes of it.
type kind string

// The kinds.
const (
	byPool   kind = "pool"   // nobody is asked; days drew it by themselves before the others
	byNATPMP kind = "natpmp" // what a gateway of these models always was
	byPCP    kind = "pcp"
	byUPnP   kind = "igd"
)

const (
	// longest is the longest lease of UPnP.
	longest = 2 * time.Hour
	// found is how long after a restart a mapping for ever that nobody asks for is removed.
	found = 2*time.Minute + 30*time.Second
	// look is the time between two looks at what the box has.
	look = time.Minute
	// tries is how many ports of UPnP are tried when others have them.
	tries = 8
)

// traits are what a gateway can and cannot because of its language.
type traits struct {
	kind kind
	// least is the shortest lease: what is asked for is raised to it (RFC 6887 §15).
	least time.Duration
	// lasting is for how long a refusal lasts: it is not asked again before (RFC 6887 §8.3).
	lasting time.Duration
	refused map[slot]refusal
	// doubles makes another lease for an inner port when another external port is
	// suggested, and keeps the old one, as miniupnpd does with PCP.
	doubles bool
	spare   map[slot][]grant
	// forever keeps mappings until they are removed, as the adapter does when they are over
	// and another one of it does some time after a restart.
	forever bool
	// others are ports that other hosts have: the next ones are tried then, a few.
	others map[slotPort]bool
}

// refusal is what was said to a request, and until when that lasts.
type refusal struct {
	err   error
	until time.Time
}

// slotPort is a port at the gateway's public address.
type slotPort struct {
	protocol nat.Protocol
	external uint16
}

// drawKind draws in which language the gateway is asked. Chance of its own decides, so that the
// days with NAT-PMP and those with a pool are what they were before there were others.
func (d *Day) drawKind() {
	g, rng := &d.gateway, rand.New(rand.NewPCG(d.seed, 0x6b696e64))
	if g.kind = byNATPMP; g.pool != nil {
		g.kind = byPool
		return
	}
	switch n := rng.IntN(100); {
	case n < 25:
		g.kind = byPCP
		g.least = []time.Duration{0, 2 * time.Minute, 2 * time.Minute, 10 * time.Minute}[rng.IntN(4)]
		g.lasting = []time.Duration{30 * time.Second, 30 * time.Second, 5 * time.Minute}[rng.IntN(3)]
		g.refused, g.spare = make(map[slot]refusal), make(map[slot][]grant)
		if rng.IntN(3) == 0 { // Who does so gives each mapping the port that is asked for.
			g.doubles, g.shares, g.wanders = true, false, 0
		}
	case n < 55:
		g.kind = byUPnP
		g.life, g.wanders, g.shares, g.forever = longest, 0, false, rng.IntN(2) == 0
		g.others = make(map[slotPort]bool)
		for range rng.IntN(80) {
			g.others[slotPort{nat.Protocols()[rng.IntN(2)], 20000 + uint16(rng.IntN(60))}] = true
		}
	}
}

// lifetime returns for how long a lease is granted.
func (g *gateway) lifetime(asked time.Duration) time.Duration {
	life := max(asked, g.least)
	if g.life > 0 {
		life = min(life, max(g.life, g.least))
	}
	return life
}

// held returns what was said to a request as long as that lasts.
func (g *gateway) held(key slot) error {
	if r, ok := g.refused[key]; ok && r.until.After(g.day.now) {
		g.upset = g.day.now
		return r.err
	}
	return nil
}

// hold notes a refusal that lasts.
func (g *gateway) hold(key slot, err error) {
	if e, ok := err.(*nat.Error); ok && e.Reason != nat.ReasonUnreachable && g.lasting > 0 { //nolint:errorlint // it is ours
		g.refused[key] = refusal{err, g.day.now.Add(g.lasting)}
	}
}

// second keeps what a request for another port leaves behind.
func (g *gateway) second(key slot, have grant, suggested uint16) (another bool) {
	if !g.doubles || suggested == 0 || suggested == have.external || g.taken(key, suggested) {
		return false
	}
	g.spare[key] = append(g.spare[key], have)
	return true
}

// spared says whether a lease that was left behind has the port.
func (g *gateway) spared(key slot, external uint16) bool {
	for have, all := range g.spare {
		for _, l := range all {
			if have.protocol == key.protocol && have != key && l.external == external && l.until.After(g.day.now) {
				return true
			}
		}
	}
	return false
}

// spares counts the leases that were left behind.
func (g *gateway) spares() (n int) {
	for _, all := range g.spare {
		for _, l := range all {
			if l.until.After(g.day.now) {
				n++
			}
		}
	}
	return n
}

// next returns the port that UPnP gets: the suggested one, or the inner one, or one of the next
// that nobody has.
func (g *gateway) next(key slot, suggested uint16) (uint16, error) {
	port := suggested
	if port == 0 {
		port = key.inner
	}
	free := func(port uint16) bool { return !g.others[slotPort{key.protocol, port}] }
	for n := 0; n < tries; {
		switch {
		case g.taken(key, port): // The adapter knows that without asking.
			port++
		case free(port):
			return port, nil
		default: // It asks ever farther away.
			port += 1 << max(n-1, 0)
			n++
		}
	}
	return 0, fault(nat.HopGateway, nat.ReasonResources, false)
}

// lose forgets leases: all, or some whose ports others get.
func (g *gateway) lose() {
	d := g.day
	g.lost = d.now
	if g.kind != byUPnP {
		g.forget()
		d.step(nat.StateLost)
		return
	}
	g.upset = d.now
	for _, key := range g.keys() {
		if l := g.leases[key]; d.percent(50) {
			delete(g.leases, key)
			if d.percent(30) {
				port := slotPort{key.protocol, l.external}
				g.others[port] = true
				d.after(d.between(time.Minute, 4*time.Hour), func() { delete(g.others, port) })
			}
		}
	}
	d.after(d.between(0, look), func() { g.upset = d.now; d.step(nat.StateLost) })
}

// keys returns the slots of the leases in a fixed order.
func (g *gateway) keys() []slot {
	var all []slot
	for inner := d20000; inner < d20000+24; inner++ {
		for _, p := range nat.Protocols() {
			if _, ok := g.leases[slot{p, inner}]; ok {
				all = append(all, slot{p, inner})
			}
		}
	}
	return all
}

// d20000 is the first inner port of a day.
const d20000 uint16 = 20000

// restarted notes that the adapter is another one, without a memory: what nobody asks for is
// removed by what the box shows of it, and what was refused is asked for anew.
func (g *gateway) restarted() {
	clear(g.refused)
	if !g.forever {
		return
	}
	for _, key := range g.keys() {
		l := g.leases[key]
		if end := g.day.now.Add(found); l.until.After(g.day.now) {
			l.until = end
			g.leases[key] = l
		}
	}
}

// learned notes which leases the daemon knows of after its first look: those whose rules it saw,
// and what the adapter finds at the box.
func (g *gateway) learned() {
	for _, key := range g.keys() {
		if l := g.leases[key]; g.forever || g.day.router.names(key) {
			l.life = g.day.life
			g.leases[key] = l
		}
	}
}
