package model_test

import (
	"maps"
	"slices"
	"time"

	"doublenat/internal/lock"
	"doublenat/internal/nat"
)

// role is what a daemon is among those that share its lock.
type role uint8

const (
	standby role = iota
	active
	lost     // its term is over
	released // it gave the lock away
)

// daemon is one process of doublenat: it has one term at most.
type daemon struct {
	pair   *pair
	host   *machine
	number int
	role   role
	span   lock.Span
	store  store
	conn   *conn
	keeps  *flow
	wake   func() // ends a pause of who stands by; nil while there is none
	engine *nat.Engine
	ticks  int // of the engine, as they were planned: only the last counts
	ends   int // of the term, in the same way
	ops    map[nat.OpID]*op
	// stops is set when it was told to stop; gone when there is no process any more.
	stops, gone bool
	ended       func() // what comes after the engine's stop
}

// op is an action under way.
type op struct {
	in     nat.Input // what the engine hears if nobody answers
	finish func(nat.Input)
	writes bool
}

// mine is nil as long as the lock is surely ours, as [lock.Keeper.Mine].
func (x *daemon) mine() error {
	if x.role != active {
		return errRefused
	}
	if err := x.span.Check(x.host.instant()); err != nil {
		x.lose()
		return err
	}
	return nil
}

// sends is nil as long as bytes may leave, as [lock.Keeper.Sends].
func (x *daemon) sends() error {
	if x.role == standby || x.role == released {
		return nil
	}
	return x.mine()
}

// keep waits for the lock, is active, and renews it.
func (x *daemon) keep(f *flow) {
	for !x.takes(f) {
		if x.gone || !x.rest(f) {
			return
		}
	}
	x.activate()
	for wait := x.span.Rests(x.host.instant()); x.pause(f, wait) && x.role == active; {
		wait = lock.RetryEvery(x.pair.lease)
		if x.mine() != nil {
			return
		}
		sent := x.host.instant()
		switch err := x.renewed(f, plus(sent, lock.RenewEvery(x.pair.lease))); {
		case x.gone || f.over || x.role != active:
			return
		case err == lock.ErrLost: //nolint:errorlint // it is not wrapped
			x.lose()
			return
		case err == nil && x.mine() == nil:
			x.span = lock.NewSpan(sent, x.pair.lease)
			if wait = x.span.Rests(x.host.instant()); x.pair.quiet() {
				wait = x.dream(f)
			}
		}
	}
}

// takes asks for the lock once.
func (x *daemon) takes(f *flow) bool {
	sent := x.host.instant()
	mine, err := x.acquire(f, plus(sent, lock.RenewEvery(x.pair.lease)))
	if err != nil || !mine || f.over {
		return false
	}
	span := lock.NewSpan(sent, x.pair.lease)
	if span.Check(x.host.instant()) != nil {
		return false
	}
	x.span = span
	return true
}

// forEver is longer than any day.
const forEver = 1000 * time.Hour

// dream lets time pass in which nothing happens but renewals, until something is about to go wrong.
// Then it is as if the last renewal had been a while ago. It returns how long it is to the next one.
func (x *daemon) dream(f *flow) time.Duration {
	p, d := x.pair, x.pair.day
	x.span = lock.NewSpan(x.host.instant(), forEver)
	p.entry.until = d.now.Add(forEver)
	f.wait(func(wake func()) { p.calm = wake })
	p.calm = nil
	ago := d.between(0, lock.RenewEvery(p.lease))
	sent := plus(x.host.instant(), -ago)
	x.span = lock.NewSpan(sent, p.lease)
	p.entry.until = p.lasts().Add(-ago)
	x.store.kept.until = plus(sent, p.lease-early)
	x.store.ours = x.store.kept.until
	x.expires()
	return lock.RenewEvery(p.lease) - ago
}

// rest waits until it is time to ask for the lock again. As long as somebody else surely has it the
// replies do not matter, so they are not asked for: that saves most of a quiet day.
func (x *daemon) rest(f *flow) bool {
	d := x.pair.day
	wait := lock.PollEvery(d.rng.Float64())
	if e, held := x.pair.holding(); held && e.of != x && !x.host.cutOff(toRouter) {
		wait *= time.Duration(1 + d.rng.IntN(40))
		if x.pair.calm != nil {
			wait = forEver
		}
	}
	defer func() { x.wake = nil }()
	return f.wait(func(wake func()) {
		x.wake = wake
		x.later(wait, wake)
	})
}

// activate begins the term.
func (x *daemon) activate() {
	p, d := x.pair, x.pair.day
	engine, err := nat.NewEngine(d.cfg)
	if err != nil {
		d.fail("%v", err)
		return
	}
	x.role, x.engine, x.ops = active, engine, make(map[nat.OpID]*op)
	p.terms++
	p.front, d.engine = x, engine
	p.disturbed()
	d.life++
	d.gateway.restarted()
	d.watch.restarted()
	p.remembered()
	x.expires()
	x.step(nat.Start)
}

// expires ends the term when its span does.
func (x *daemon) expires() {
	x.ends++
	n := x.ends
	x.later(x.span.Left(x.host.instant()), func() {
		if n == x.ends && x.role == active && x.mine() == nil {
			x.expires()
		}
	})
}

// lose ends the term: what is under way is cut short, and what the kernel has is thrown away. Then the
// process takes down what it may, and another daemon stands by.
func (x *daemon) lose() {
	if x.role != active {
		return
	}
	x.role = lost
	x.pair.losses++
	x.pair.silent(x)
	for _, id := range slices.Sorted(maps.Keys(x.ops)) {
		if o := x.ops[id]; o.writes {
			x.later(0, func() { o.finish(o.in) })
		}
	}
	d := x.pair.day
	x.later(d.between(0, 5*time.Millisecond), func() {
		if x.conn != nil {
			x.conn.die()
		}
	})
	if !x.stops {
		x.later(d.between(0, 10*time.Millisecond), x.stop)
	}
}

// stop stops in order.
func (x *daemon) stop() {
	if x.stops {
		return
	}
	x.stops = true
	d := x.pair.day
	if x.engine == nil {
		x.later(0, x.handOver)
		return
	}
	x.ended = func() { x.ended = nil; x.later(0, x.handOver) }
	x.step(nat.Stop{Deadline: d.now.Add(7 * time.Second)})
	x.later(8*time.Second, func() {
		x.later(time.Second, func() { // Who was stopped itself has much to do at once.
			if x.ended != nil {
				d.fail("the stop of %s is not over after its time", x)
			}
		})
	})
}

// handOver gives the lock away, if it was not lost, when nothing else is under way, and exits.
func (x *daemon) handOver() {
	x.keeps.stop()
	if x.role == lost {
		x.exit()
		return
	}
	x.pair.silent(x)
	x.role = released
	x.keeps = x.flow(func(f *flow) {
		x.release(f, plus(x.host.instant(), 2*time.Second))
		if !f.over {
			x.later(0, x.exit)
		}
	})
	x.later(3*time.Second, x.exit)
}

// exit ends the process. What its kernel has to deliver is delivered.
func (x *daemon) exit() {
	if x.gone {
		return
	}
	x.pair.silent(x)
	x.keeps.stop()
	x.gone = true
	if x.host.runs == x {
		x.host.runs = nil
	}
	if x.role == lost { // The process goes on: it stands by again.
		x.host.start(0)
	} else if x.host.starts == 0 {
		x.host.start(x.pair.day.between(0, pick(x.pair.day, time.Second, time.Minute, 10*time.Minute)))
	}
}

// kill ends the process at once.
func (h *machine) kill() {
	x := h.runs
	if x == nil {
		return
	}
	h.pair.silent(x)
	x.keeps.stop()
	x.gone, h.runs = true, nil
	h.start(h.pair.day.between(0, pick(h.pair.day, time.Second, time.Minute, 10*time.Minute)))
}

// start starts a daemon after a time, which stands by at first.
func (h *machine) start(wait time.Duration) {
	if h.pair.ended {
		return
	}
	h.starts++
	n := h.starts
	h.pair.day.after(wait, func() {
		if n != h.starts || h.runs != nil {
			return
		}
		h.starts = 0
		if h.stopped {
			h.start(time.Second)
			return
		}
		h.pair.daemons++
		x := &daemon{pair: h.pair, host: h, number: h.pair.daemons}
		h.runs = x
		x.keeps = x.flow(x.keep)
	})
}

// step lets the engine take in what happened, and begins what it wants done.
func (x *daemon) step(in nat.Input) {
	d := x.pair.day
	if x.gone || x.engine == nil || d.failed != nil || !d.count(in) {
		return
	}
	for _, a := range x.engine.Step(d.now, in) {
		d.digest(a)
		x.begun(a)
	}
	x.ticks++
	n := x.ticks
	next := x.engine.Next()
	if in == nat.Tick && !next.IsZero() && !next.After(d.now) {
		d.fail("the engine wants to be stepped for ever")
	}
	if !next.IsZero() {
		d.after(max(next.Sub(d.now), 0), func() {
			x.here(func() {
				if n == x.ticks {
					x.step(nat.Tick)
				}
			})
		})
	}
}

// begun carries an action out. Who is not asked by clients any more is heard by nobody.
func (x *daemon) begun(a nat.Action) {
	p, d := x.pair, x.pair.day
	p.acting, p.action = x, a
	switch a := a.(type) {
	case nat.StoppedAction:
		if x.ended != nil {
			x.ended()
		}
	case nat.AnswerAction:
		if _, asked := d.watch.tickets[a.Ticket]; asked && p.front == x {
			d.watch.answered(a)
		}
	case nat.TellAction:
		if p.front == x && x.role == active && a.Event.Kind != nat.EventShutdown { // What a stop leaves still stands.
			d.watch.happened(a.Event)
		}
	case nat.InterruptAction:
		if o := x.ops[a.Op]; o != nil {
			x.later(0, func() { o.finish(o.in) })
		}
	case nat.LeaseAction, nat.ReleaseAction:
		if p.front == x {
			d.begun(a)
			return
		}
		x.begunLate(a)
	default:
		d.begun(a)
	}
}

// begunLate carries out what a daemon wants of the gateway that is not the active one any more, and
// of which the watch knows nothing.
func (x *daemon) begunLate(a nat.Action) {
	d, gone := x.pair.day, fault(nat.HopGateway, nat.ReasonUnreachable, true)
	switch a := a.(type) {
	case nat.LeaseAction:
		x.pair.carry(a.Op, a.Deadline, func(limit time.Duration) (time.Duration, nat.Input) {
			took, got, err := d.gateway.lease(a.Request, limit)
			return took, nat.LeaseDone{Op: a.Op, Lease: got, Err: err}
		}, nat.LeaseDone{Op: a.Op, Err: gone}, nothing)
	case nat.ReleaseAction:
		x.pair.carry(a.Op, a.Deadline, func(limit time.Duration) (time.Duration, nat.Input) {
			took, err := d.gateway.release(slot{a.Protocol, a.Inner}, limit)
			return took, nat.ReleaseDone{Op: a.Op, Err: err}
		}, nat.ReleaseDone{Op: a.Op, Err: gone}, nothing)
	}
}
