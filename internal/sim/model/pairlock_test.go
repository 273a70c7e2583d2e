package model_test

import (
	"errors"
	"time"

	"doublenat/internal/lock"
)

// early is how much sooner than it was told to the router may drop an entry: it counts seconds.
const early = time.Second

// entry is the lock on the router: it runs out by itself.
type entry struct {
	id    int
	of    *daemon
	until time.Time
}

// holding returns the entry if there is one.
func (p *pair) holding() (entry, bool) {
	return p.entry, p.entry.of != nil && p.entry.until.After(p.day.now)
}

// lasts is until when an entry lives that is set now, by the router's clock.
func (p *pair) lasts() time.Time {
	d := p.day
	until := d.now.Add(time.Duration(float64(p.lease)/p.speed) - d.between(0, early))
	d.agenda.plan(until, func() {
		if _, held := p.holding(); !held {
			p.freed()
		}
	})
	return until
}

// freed tells whoever stands by that the lock may be free.
func (p *pair) freed() {
	for _, h := range p.hosts {
		if x := h.runs; x != nil && x.role == standby && x.wake != nil && !h.cutOff(toRouter) {
			x.later(p.day.between(time.Millisecond, lock.PollEvery(1)), x.wake)
		}
	}
}

// seen is the reply to a look at the lock.
type seen struct {
	entry
	held bool
	left time.Duration // in whole seconds
	up   time.Duration
	on   *conn
	sent lock.Instant
}

// errTaken is the router's to an add of what it has.
var (
	errTaken  = errors.New("already have such entry")
	errNoItem = errors.New("no such item")
)

// kept is an entry as its holder knows it.
type kept struct {
	id    int
	on    *conn
	until lock.Instant // when it may be gone at the earliest
}

// before says whether an instant is before another on both clocks.
func before(a, b lock.Instant) bool { return a.Mono < b.Mono && a.Wall.Before(b.Wall) }

func plus(a lock.Instant, d time.Duration) lock.Instant {
	return lock.Instant{Mono: a.Mono + d, Wall: a.Wall.Add(d)}
}

// sure says whether the entry surely stands.
func (x *daemon) sure(k kept) bool { return k.on != nil && before(x.host.instant(), k.until) }

// store is how a daemon keeps its lock on the router, as router.Lock does.
type store struct {
	kept kept
	adds int
	// ours is until when nobody else can have had the lock, unless an entry says so.
	ours lock.Instant
}

// pause waits for a time on the host's clock.
func (x *daemon) pause(f *flow, wait time.Duration) bool {
	return f.wait(func(wake func()) { x.later(wait, wake) })
}

// do sends a command to the router and waits for the reply.
func (x *daemon) do(f *flow, on *conn, deadline lock.Instant, at func() any) (any, error) {
	var reply any
	var err error
	now := x.host.instant()
	limit := min(x.pair.lease/5, deadline.Mono-now.Mono, deadline.Wall.Sub(now.Wall))
	if limit <= 0 {
		return nil, errSilent
	}
	ok := f.wait(func(wake func()) {
		x.command(on, limit, func() (time.Duration, any) { return 0, at() }, func(r any, e error) {
			reply, err = r, e
			wake()
		})
	})
	if !ok {
		return nil, errGone
	}
	if no, is := reply.(error); is {
		return nil, no
	}
	return reply, err
}

// look reads the entry.
func (x *daemon) look(f *flow, deadline lock.Instant) (seen, error) {
	p := x.pair
	for {
		s, on := seen{sent: x.host.instant()}, x.conn
		if on != nil && on.dead {
			on = nil
		}
		reply, err := x.do(f, on, deadline, func() any {
			e, held := p.holding()
			left := time.Duration(float64(e.until.Sub(p.day.now)) * p.speed).Truncate(time.Second)
			return seen{entry: e, held: held, left: left, up: time.Duration(float64(p.day.now.Sub(p.booted)) * p.speed)}
		})
		switch {
		case errors.Is(err, errOther) || err == nil && on == nil:
			continue // There is another one now.
		case err != nil:
			return s, err
		}
		got, _ := reply.(seen)
		got.on, got.sent = on, s.sent
		return got, nil
	}
}

// acquire takes the lock if nobody has it.
func (x *daemon) acquire(f *flow, deadline lock.Instant) (mine bool, err error) {
	p, s := x.pair, &x.store
	saw, err := x.look(f, deadline)
	switch {
	case err != nil:
		return false, err
	case saw.held && saw.of != x:
		s.ours = lock.Instant{}
		return false, nil
	case saw.held:
		s.kept = kept{saw.id, saw.on, plus(saw.sent, saw.left-early)}
		err := x.extend(f, deadline)
		return err == nil, err
	}
	if saw.up < p.lease && !before(x.host.instant(), s.ours) {
		return false, errors.New("the router was restarted")
	}
	sent := x.host.instant()
	s.adds++
	reply, err := x.do(f, nil, deadline, func() any {
		if _, held := p.holding(); held {
			return errTaken
		}
		if !p.reuses {
			p.lastID++
		}
		p.entry = entry{p.lastID, x, p.lasts()}
		p.taken(x)
		p.ambushes(x)
		return p.lastID
	})
	if err != nil {
		return false, err
	}
	saw, err = x.look(f, deadline)
	if err != nil || !saw.held || saw.of != x || saw.id != reply {
		return false, err
	}
	s.kept = kept{saw.id, saw.on, plus(sent, p.lease-early)}
	s.ours = s.kept.until
	return true, nil
}

// renewed renews the lock.
func (x *daemon) renewed(f *flow, deadline lock.Instant) error {
	if !x.known() {
		if err := x.find(f, deadline); err != nil {
			return err
		}
	}
	err := x.extend(f, deadline)
	if errors.Is(err, errOther) {
		if err = x.find(f, deadline); err == nil {
			err = x.extend(f, deadline)
		}
	}
	return err
}

// known says whether the id of our entry is surely ours.
func (x *daemon) known() bool {
	return x.sure(x.store.kept) && x.conn == x.store.kept.on && !x.conn.dead && !x.pair.reuses
}

// find looks for our entry.
func (x *daemon) find(f *flow, deadline lock.Instant) error {
	x.store.kept = kept{}
	saw, err := x.look(f, deadline)
	switch {
	case err != nil:
		return err
	case !saw.held || saw.of != x:
		return lock.ErrLost
	}
	x.store.kept = kept{saw.id, saw.on, plus(saw.sent, saw.left-early)}
	x.store.ours = x.store.kept.until
	return nil
}

// extend sets the timeout of what we have.
func (x *daemon) extend(f *flow, deadline lock.Instant) error {
	p, had := x.pair, x.store.kept
	if before(had.until, deadline) {
		deadline = had.until
	}
	sent := x.host.instant()
	_, err := x.do(f, had.on, deadline, func() any {
		if e, held := p.holding(); !held || e.id != had.id {
			return errNoItem
		}
		p.entry.until = p.lasts()
		p.ambushes(x)
		return true
	})
	switch {
	case errors.Is(err, errNoItem):
		x.store.kept = kept{}
		return lock.ErrLost
	case err != nil:
		return err
	case x.sure(had) && !p.reuses:
		x.store.kept.until = plus(sent, p.lease-early)
		x.store.ours = x.store.kept.until
		return nil
	default:
		return x.find(f, deadline)
	}
}

// release gives the lock away.
func (x *daemon) release(f *flow, deadline lock.Instant) {
	p := x.pair
	if x.store.adds == 0 {
		return
	}
	for range 2 {
		if !x.known() && x.find(f, deadline) != nil {
			return
		}
		id := x.store.kept.id
		_, err := x.do(f, x.store.kept.on, deadline, func() any {
			if e, held := p.holding(); !held || e.id != id {
				return errNoItem
			}
			p.entry = entry{}
			p.freed()
			return true
		})
		if !errors.Is(err, errOther) {
			return
		}
	}
}
