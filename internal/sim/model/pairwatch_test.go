package model_test

import (
	"fmt"
	"slices"
	"time"

	"doublenat/internal/nat"
)

// fairly is since when one of the two could do what has to be done.
type fairly struct {
	// troubled is until when something that struck lasts.
	troubled time.Time
	// takenAt is when somebody took the lock last.
	takenAt time.Time
	// struck is when something struck last.
	struck time.Time
	// unwell is when the gateway last did not do what it was asked, or the active one did not reach
	// it: that one keeps the lock then. unread is the same of the router.
	unwell, unread time.Time
	// able is since when each of the two could work, zero if it cannot.
	able [2]time.Time
	// broken is since when packets do not reach a client that was promised a port.
	broken map[nat.Key]time.Time
}

// tally counts what happened, to see that it did.
type tally struct {
	daemons, terms, losses, handovers, writes int
	refused                                   int // writes, before they began
	stopped                                   int // packets, at the router's connection
	aborted                                   int // connections with something in the kernel
	strikes                                   [17]int
}

func (t *tally) add(o tally) {
	t.daemons, t.terms, t.losses, t.handovers, t.writes = t.daemons+o.daemons, t.terms+o.terms, t.losses+o.losses, t.handovers+o.handovers, t.writes+o.writes
	t.refused, t.stopped, t.aborted = t.refused+o.refused, t.stopped+o.stopped, t.aborted+o.aborted
	for i, n := range o.strikes {
		t.strikes[i] += n
	}
}

// String says it.
func (t *tally) String() string {
	return fmt.Sprintf("%d daemons, %d terms, %d of them lost, %d stops in order, %d writes, refused: %d at the beginning, %d at the connection, %d with the connection; strikes %v",
		t.daemons, t.terms, t.losses, t.handovers, t.writes, t.refused, t.stopped, t.aborted, t.strikes)
}

// taken notes that somebody took the lock: only that one may write from now on.
func (p *pair) taken(x *daemon) {
	p.note("%s takes the lock", x)
	p.holder, p.takenAt = x, p.day.now
}

// wrote checks a write when it arrives. What was sent to the gateway before the lock was given away may
// still be under way, as long as the network is slow; what went to the router went before the lock did.
func (p *pair) wrote(x *daemon, sent role, a nat.Action) {
	p.writes++
	late := sent == active && x.role == released
	if p.holder != x && !late {
		p.day.fail("(w) %s writes in the term of %s: %T %+v", x, p.holder, a, a)
	}
}

// disturbed notes that something else than what was asked for happens: the checks that hold for one
// doublenat have their patience with it.
func (p *pair) disturbed() {
	p.day.router.surprise()
	p.day.gateway.upset = p.day.now
}

// pulse looks every few seconds at what holds at any time.
func (p *pair) pulse() {
	d := p.day
	if p.ended || d.failed != nil {
		return
	}
	// What went wrong may have been over before this look, while what the gateway refused lasts.
	p.unread, p.unwell = later(p.unread, earlier(d.router.until, d.now)), later(p.unwell, earlier(d.gateway.until, d.now))
	if d.gateway.latency > 200*time.Millisecond ||
		p.front != nil && p.front.role == active && p.front.host.cutOff(toGateway) {
		p.unwell = d.now
	}
	// What the core tries in vain it tries again after half a minute at most, or when a refusal is over,
	// and it may wait two minutes for the router's table.
	well := !recent(d, p.unwell, time.Minute+d.gateway.lasting) && !recent(d, p.unread, 3*time.Minute) && !p.down.After(d.now) && d.now.Sub(p.booted) > p.lease
	if p.troubled.After(d.now) {
		p.disturbed()
	}
	for i, h := range p.hosts {
		works := well && h.runs != nil && !h.runs.stops && !h.stopped && !h.cutOff(toRouter) && !h.cutOff(toGateway) && !h.until.After(d.now)
		switch {
		case !works:
			p.able[i] = time.Time{}
		case p.able[i].IsZero():
			p.able[i] = d.now
		}
	}
	p.reaches()
	wait := 2 * time.Second
	if p.calm != nil && len(p.broken) == 0 {
		wait = 20 * time.Second
	}
	d.after(wait, p.pulse)
}

// reaches checks that no mapping is gone for longer than a takeover takes while one of the two
// could keep it.
func (p *pair) reaches() {
	d := p.day
	if p.broken == nil {
		p.broken = make(map[nat.Key]time.Time)
	}
	for i := range d.clients {
		key := d.clients[i].key
		promised, ok := d.watch.told[key]
		if !ok || !promised.until.After(d.now) || p.arrives(key, promised.port) {
			delete(p.broken, key)
			continue
		}
		if _, known := p.broken[key]; !known {
			p.broken[key] = d.now
		}
		for _, since := range p.able {
			// What a box with UPnP forgets is noticed at the next look, and who took the lock and is stopped at
			// once has it for a lease.
			from := later(later(since, p.broken[key]), later(d.gateway.lost.Add(look), p.takenAt))
			if !since.IsZero() && d.now.Sub(from) > p.lease+2*time.Second {
				d.fail("(l) %v has not had its port %d for %v, and one could have seen to it for %v: rules %+v, leases %v", key, promised.port, d.now.Sub(p.broken[key]), d.now.Sub(since), d.router.rules, d.gateway.leases)
			}
		}
	}
}

// arrives says whether packets for a client's port reach it, as far as that is not what somebody else
// did to the rules, or the gateway to its ports.
func (p *pair) arrives(key nat.Key, port uint16) bool {
	d := p.day
	if d.router.untidy() || recent(d, d.gateway.moved, reconciled) {
		return true
	}
	for _, r := range d.router.rules {
		if r.Key != key || r.Altered {
			continue
		}
		l, ok := d.gateway.standing(slot{key.Protocol, r.InnerPort})
		arrives := r.InnerPort
		if d.cfg.Delivery == nat.DeliverExternal {
			arrives = port
		}
		to, leads := d.router.target(key.Protocol, arrives)
		return ok && l.external == port && leads && to == key
	}
	return false
}

// remembered forgets of what clients were promised what the next one cannot know, which is what it was
// promised of a rule that somebody took away shortly before, or while nobody was active.
func (p *pair) remembered() {
	d, w := p.day, &p.day.watch
	meddled := recent(d, d.router.meddled, reconciled+10*time.Minute)
	for key, t := range w.told {
		if slices.ContainsFunc(d.router.rules, func(r nat.Rule) bool { return r.Key == key }) {
			continue
		}
		if meddled {
			delete(w.told, key)
			continue
		}
		t.held = time.Time{}
		w.told[key] = t
	}
}

// one checks that one of the two is active, and the other one stands by.
func (p *pair) one() {
	n := 0
	for _, h := range p.hosts {
		if h.runs == nil || h.runs.role > active {
			p.day.fail("(o) nothing runs on %s: %+v", h.name, h.runs)
			return
		}
		if h.runs.role == active {
			n++
			if p.front != h.runs || p.holder != h.runs {
				p.day.fail("(o) %s is active, and clients ask %s", h.runs, p.front)
			}
		}
	}
	if n != 1 {
		p.day.fail("(o) %d are active", n)
	}
}

// kept checks that what clients were promised stands after both stopped.
func (p *pair) kept() {
	d := p.day
	for _, h := range p.hosts {
		if h.runs != nil {
			d.fail("(k) %s has not stopped", h.runs)
		}
	}
	if _, held := p.holding(); held {
		d.fail("(k) both have stopped, and the lock is not free")
	}
	for i := range d.clients {
		key := d.clients[i].key
		// What the table tells is up to half a lease longer than the lease that stands, which somebody
		// active would renew by then. Shorter ones than this have run out.
		if t, ok := d.watch.told[key]; ok && t.until.After(d.now.Add(stopsFor)) && !p.arrives(key, t.port) {
			d.fail("(k) both have stopped, and %v has lost its port %d", key, t.port)
		}
	}
}

// doubled checks after each change that no mapping has two rules.
func (p *pair) doubled() {
	d := p.day
	if d.router.untidy() {
		return
	}
	seen := make(map[nat.Key]bool, len(d.router.rules))
	for _, r := range d.router.rules {
		if seen[r.Key] {
			d.fail("(2) two rules for %v", r.Key)
		}
		seen[r.Key] = true
	}
}
