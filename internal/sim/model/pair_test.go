package model_test

import (
	"errors"
	"fmt"
	"time"

	"doublenat/internal/lock"
	"doublenat/internal/nat"
)

// pair is two doublenats at one router and one gateway, of which one is active: the one that has
// the lock on the router.
type pair struct {
	day   *Day
	lease time.Duration
	hosts [2]*machine
	// front is the daemon that became active last: the clients' redirect leads to it.
	front *daemon

	// The router: how fast its clock runs, since when it is up, and until when it is down.
	speed  float64
	booted time.Time
	boots  int
	reuses bool // it gives the id of an entry that is gone to the next one
	down   time.Time
	entry  entry
	lastID int

	// acting and action are what is being carried out.
	acting *daemon
	action nat.Action

	// ambush is set when somebody waits for a request for the lock.
	ambush bool
	// calm ends a time in which nothing goes wrong, see [daemon.dream]; nil in any other.
	calm func()

	// holder is who took the lock last: nobody else may write.
	holder *daemon
	fairly
	tally
	// ended is set when no daemon is started any more.
	ended bool
	note  func(format string, args ...any)
}

// newPair makes the day of a seed with two doublenats.
func newPair(seed uint64) *Day {
	d := draw(seed)
	d.drawKind()
	p := &pair{
		day: d, lease: pick(d, 6*time.Second, 15*time.Second, 15*time.Second, time.Minute),
		speed: drift(d), booted: d.begin.Add(-time.Hour), note: func(string, ...any) {},
	}
	d.pair = p
	p.reuses = d.percent(20)
	d.cfg.KeepOnShutdown = true
	// What a gateway takes away without a word is found out at the next renewal, and one that has no
	// room for what it forgot keeps it away.
	d.gateway.wanders, d.gateway.room = 0, 0
	d.gateway.latency = min(d.gateway.latency, 20*time.Millisecond)
	for i := range p.hosts {
		p.hosts[i] = &machine{pair: p, name: string(rune('A' + i)), speed: drift(d)}
		p.hosts[i].start(d.between(0, time.Minute))
	}
	d.settle()
	for range d.rng.IntN(20) {
		d.after(d.between(0, length), func() {
			if !d.healed {
				p.mishap()
			}
		})
	}
	d.after(p.lease, p.pulse)
	return d
}

// drift draws how fast a clock runs.
func drift(d *Day) float64 { return 1 + (d.rng.Float64()-0.5)/100 }

// patience is how long a kernel tries to deliver what was written, as the daemon has it.
func (p *pair) patience() time.Duration { return lock.Patience(p.lease) }

// String names a daemon.
func (x *daemon) String() string { return fmt.Sprintf("%s%d", x.host.name, x.number) }

// fails is a short or a long time for something that goes wrong.
func (p *pair) fails() time.Duration {
	return p.day.between(0, pick(p.day, 2*time.Second, p.lease, p.lease, 2*p.lease, 2*p.lease, 5*time.Minute))
}

// mishap is something that goes wrong with one of the two, or between them and the ends. Often
// another thing goes wrong at nearly the same time.
func (p *pair) mishap() {
	d := p.day
	h := p.hosts[d.rng.IntN(2)]
	if p.front != nil && d.percent(50) {
		h = p.front.host
	}
	p.strike(h)
	if d.percent(50) {
		d.after(d.between(0, p.lease), func() {
			if !d.healed {
				p.strike(pick(d, h, h, p.hosts[0], p.hosts[1]))
			}
		})
	}
}

// strike lets something go wrong with a host or the router.
func (p *pair) strike(h *machine) {
	d, lasts, what := p.day, p.fails(), p.day.rng.IntN(17)
	p.stir()
	p.struck = d.now
	p.note("strike %d at %s for %v", what, h.name, lasts)
	p.strikes[what]++
	p.troubled = later(p.troubled, d.now.Add(lasts))
	p.disturbed()
	switch what {
	case 0, 1:
		h.cut[toRouter] = d.now.Add(lasts)
	case 2:
		h.cut[toGateway] = d.now.Add(lasts)
	case 3:
		h.cut[toRouter], h.cut[toGateway] = d.now.Add(lasts), d.now.Add(lasts)
	case 4, 5:
		h.kill()
	case 6, 7:
		h.stop(lasts, false)
	case 8:
		h.stop(lasts, !recent(d, h.setAt, 3*p.lease)) // See docs/simulation.md: both at once cannot be seen.
	case 9:
		if !h.stopped {
			h.set += d.between(-p.lease, 2*p.lease)
			h.setAt = d.now
		}
	case 10:
		h.slow, h.until = d.between(time.Millisecond, p.lease/8), d.now.Add(lasts)
	case 11:
		if h.runs != nil && !h.stopped {
			p.handovers++
			h.runs.stop()
		}
	case 12:
		p.reboot(d.between(5*time.Second, time.Minute))
	case 13, 14: // What was written just now waits in the kernel of a process that cannot take it back.
		h.cut[toRouter] = d.now.Add(d.between(0, p.lease/2))
		d.after(d.between(0, time.Second), func() { h.stop(d.between(p.lease/2, 2*p.lease), false) })
	case 15, 16:
		p.ambush = true
	}
}

// ambushes strikes a host in the worst moment: when the router has carried out what its daemon wants of
// the lock, and the reply is on its way. It is stopped, and cut off from the router when it goes on.
func (p *pair) ambushes(x *daemon) {
	d, h, lasts := p.day, x.host, p.day.between(p.lease/5, 3*p.lease/4)
	if !p.ambush || d.healed {
		return
	}
	p.ambush = false
	p.troubled = later(p.troubled, d.now.Add(3*p.lease))
	d.after(0, func() { h.stop(lasts, false) })
	d.after(lasts, func() { h.cut[toRouter] = later(h.cut[toRouter], d.now.Add(d.between(0, 2*p.lease))) })
}

// quiet says whether nothing is wrong with the active one, and nothing was for a while.
func (p *pair) quiet() bool {
	x, h := p.front, p.front.host
	e, held := p.holding()
	return held && e.of == x && h.runs == x && !x.stops && !h.stopped && !h.cutOff(toRouter) && !h.until.After(p.day.now) &&
		x.store.kept.on == x.conn && !x.conn.dead && p.day.now.Sub(p.struck) > 2*p.lease
}

// stir ends a calm.
func (p *pair) stir() {
	if p.calm == nil {
		return
	}
	p.calm()
	for _, h := range p.hosts {
		if h.runs != nil && h.runs.wake != nil {
			h.runs.later(p.day.between(0, lock.PollEvery(1)), h.runs.wake)
		}
	}
}

// reboot restarts the router: its connections and the lock are gone, and its rules stay.
func (p *pair) reboot(takes time.Duration) {
	d := p.day
	p.boots++
	p.down = d.now.Add(takes)
	p.booted, p.entry, p.lastID = p.down, entry{}, 0
	p.troubled = later(p.troubled, p.down)
}

// silent notes that clients are not answered, as far as they were told of nothing yet.
func (p *pair) silent(x *daemon) {
	d := p.day
	if x == nil || x != p.front {
		return
	}
	p.disturbed()
	for _, t := range d.watch.tickets {
		if t.asked == 0 { // Nobody knows whether it is gone.
			delete(d.watch.told, t.key)
		}
	}
	d.watch.crashed()
	clear(d.watch.tickets)
	d.life++
}

// answers says whether the clients' requests are taken in.
func (p *pair) answers() bool {
	return p.front != nil && !p.front.gone && !p.front.host.stopped && p.front.role == active && !p.front.stops &&
		!p.front.host.cutOff(toRouter)
}

// listens says whether a request is heard. What comes to a process that is stopped waits in its
// socket, and is answered too late for anybody.
func (p *pair) listens(in nat.Input) bool {
	if p.answers() {
		return true
	}
	if ask, is := in.(nat.Ask); is { // Nobody would know to whom it opens a port: to everybody, if to anybody new.
		ask.Request.Filter = nat.Filter{}
		p.day.watch.opens(ticket{key: ask.Request.Key})
		in = ask
	}
	if x := p.front; x != nil && !x.gone && x.host.stopped && !x.host.cutOff(toRouter) {
		x.here(func() { x.step(in) })
	}
	switch in := in.(type) { // Nobody knows what becomes of it.
	case nat.End:
		delete(p.day.watch.told, in.Key)
	case nat.Ask:
	}
	return false
}

// hear brings an input to the active one. What the gateway lost is noticed as soon as it can be.
func (p *pair) hear(in nat.Input) {
	d := p.day
	if in != nat.StateLost {
		if p.answers() {
			p.front.step(in)
		}
		return
	}
	x := p.front
	switch {
	case x == nil || x.gone || x.role != active: // The next one asks for all leases again.
	case x.host.stopped || x.host.cutOff(toGateway):
		d.after(time.Second, func() { p.hear(in) })
	default:
		x.step(in)
	}
}

// carry carries out what the daemon that acts wants of the router or the gateway.
func (p *pair) carry(id nat.OpID, deadline time.Time, do func(time.Duration) (time.Duration, nat.Input), none nat.Input, done func()) {
	x, d, engine := p.acting, p.day, p.acting.engine
	over := false
	o := &op{in: none}
	if id != 0 {
		x.ops[id] = o
	}
	o.finish = func(in nat.Input) {
		if over {
			return
		}
		over = true
		delete(x.ops, id)
		if d.engine == engine {
			done()
		}
		x.step(in)
	}
	action := p.action
	hop, reads := hopOf(action)
	if o.writes = !reads; o.writes && x.mine() != nil {
		p.refused++
		x.later(0, func() { o.finish(denied(none, hop)) })
		return
	}
	wait := deadline.Sub(d.now)
	x.later(wait, func() { o.finish(none) })
	arrives := func(sent role) (time.Duration, nat.Input) {
		if o.writes {
			p.wrote(x, sent, action)
		}
		return do(max(deadline.Sub(d.now), 0))
	}
	if hop == nat.HopGateway {
		x.datagram(func() bool { return over }, func(sent role) (time.Duration, func()) {
			took, in := arrives(sent)
			if mute(in) {
				return 0, nil
			}
			return took, func() { o.finish(in) }
		}, 250*time.Millisecond)
		return
	}
	write := func() {
		x.command(nil, wait, func() (time.Duration, any) {
			took, in := arrives(x.role)
			if mute(in) {
				return 0, nil
			}
			return took, in
		}, func(reply any, err error) {
			in, ok := reply.(nat.Input)
			switch {
			case ok:
				o.finish(in)
			case errors.Is(err, errRefused):
				p.stopped++
				o.finish(denied(none, hop))
			default:
				o.finish(none)
			}
		})
	}
	if !o.writes || d.percent(50) {
		write()
		return
	}
	// Most changes look first, and a process may be stopped between the two.
	x.command(nil, wait, func() (time.Duration, any) { return 0, true }, func(_ any, err error) {
		if err != nil {
			o.finish(none)
			return
		}
		x.later(d.between(0, 3*time.Millisecond), write)
	})
}

// hopOf returns which layer an action is for, and whether it only reads.
func hopOf(a nat.Action) (hop nat.Hop, reads bool) {
	switch a.(type) {
	case nat.LeaseAction, nat.ReleaseAction:
		return nat.HopGateway, false
	case nat.ReadAction:
		return nat.HopRouter, true
	default:
		return nat.HopRouter, false
	}
}

// failure returns the error of an outcome.
func failure(in nat.Input) error {
	switch in := in.(type) {
	case nat.LeaseDone:
		return in.Err
	case nat.ReleaseDone:
		return in.Err
	case nat.RuleDone:
		return in.Err
	case nat.ReadDone:
		return in.Err
	default:
		return nil
	}
}

// mute says whether an outcome is that there is no reply.
func mute(in nat.Input) bool {
	e, ok := errors.AsType[*nat.Error](failure(in))
	return ok && e.Reason == nat.ReasonUnreachable && (e.Ambiguous || e.Hop == nat.HopRouter)
}

// denied returns an outcome of the fence.
func denied(in nat.Input, hop nat.Hop) nat.Input {
	err := fault(hop, nat.ReasonDenied, false)
	switch in := in.(type) {
	case nat.LeaseDone:
		in.Err = err
		return in
	case nat.ReleaseDone:
		in.Err = err
		return in
	case nat.RuleDone:
		in.Err = err
		return in
	default:
		return in
	}
}

// heal ends everything that goes wrong.
func (p *pair) heal() {
	for _, h := range p.hosts {
		h.cut, h.until, h.slow = [2]time.Time{}, time.Time{}, 0
	}
}

// stopsFor is how long after the evening's stop it is looked at what is left.
const stopsFor = 12 * time.Second

// live lives the day, its evening and its end.
func (p *pair) live() error {
	d := p.day
	defer p.end()
	d.until(d.begin.Add(length))
	p.heal()
	d.until(d.begin.Add(length + 40*time.Minute))
	p.one()
	d.watch.agree()
	// Both stop, in order: what there is stands.
	p.stir()
	for _, h := range p.hosts {
		if h.runs != nil {
			h.starts++
			h.runs.stop()
		}
	}
	d.until(d.now.Add(stopsFor))
	p.kept()
	for _, h := range p.hosts {
		h.start(d.between(0, 5*time.Second))
	}
	d.until(d.now.Add(15 * time.Minute))
	p.one()
	d.watch.agree()
	for i := range d.clients {
		d.clients[i].gone = true
	}
	d.until(d.now.Add(5 * time.Hour))
	p.one()
	d.watch.empty()
	return d.failed
}

// end ends what still waits.
func (p *pair) end() {
	p.ended = true
	for _, h := range p.hosts {
		if h.runs != nil {
			h.runs.keeps.stop()
		}
	}
}
