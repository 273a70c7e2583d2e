package model_test

import (
	"errors"
	"iter"
	"slices"
	"time"

	"doublenat/internal/lock"
)

// machine is one on which a doublenat runs, one process after the other.
type machine struct {
	pair *pair
	name string
	// speed is how fast its clocks run; 1 is right.
	speed float64
	// slept is what its monotonic clock missed, set by how much its wall clock was set.
	slept, set time.Duration
	setAt      time.Time // when that was last
	// stopped is that no process runs: a signal stopped it, or the machine is suspended. What
	// would have happened waits in queue.
	stopped bool
	queue   []func()
	// cut is until when no packet comes from or to each of the two ends.
	cut [2]time.Time
	// slow is what packets take longer until then.
	slow  time.Duration
	until time.Time
	// arrives is when the last packet to the gateway does.
	arrives time.Time
	runs    *daemon // nil while none runs
	// wanted is the process of which the next start is planned, so that there is one start.
	starts int
}

// end is where packets go.
type end int

const (
	toRouter end = iota
	toGateway
)

// instant reads the host's clocks.
func (h *machine) instant() lock.Instant {
	passed := time.Duration(float64(h.pair.day.now.Sub(h.pair.day.begin)) * h.speed)
	return lock.Instant{Mono: passed - h.slept, Wall: h.pair.day.begin.Add(passed + h.set)}
}

// real returns how long it takes until so much has passed on the host's clocks.
func (h *machine) real(d time.Duration) time.Duration { return time.Duration(float64(d) / h.speed) }

// cutOff says whether packets to an end are lost now.
func (h *machine) cutOff(to end) bool {
	return h.cut[to].After(h.pair.day.now) || h.pair.down.After(h.pair.day.now)
}

// delay draws how long a packet takes.
func (h *machine) delay() time.Duration {
	d := h.pair.day
	most := 2 * time.Millisecond
	if h.until.After(d.now) {
		most = h.slow
	}
	return d.between(100*time.Microsecond, most)
}

// later does something on the host when so much has passed on its clock, unless the process is
// gone then. What should have happened while it was stopped happens afterwards.
func (x *daemon) later(wait time.Duration, do func()) {
	x.pair.day.after(max(x.host.real(wait), 0), func() { x.here(do) })
}

// here does something in the process, now or when it runs again.
func (x *daemon) here(do func()) {
	switch {
	case x.gone:
	case x.host.stopped:
		x.host.queue = append(x.host.queue, func() { x.here(do) })
	default:
		do()
	}
}

// stop stops whatever runs on the host.
func (h *machine) stop(lasts time.Duration, suspended bool) {
	if h.stopped {
		return
	}
	d := h.pair.day
	h.stopped = true
	if suspended && h.runs != nil && h.runs.conn != nil && len(h.runs.conn.pending) > 0 {
		h.runs.conn.die() // See docs/simulation.md: what a kernel sends first when it wakes up is nobody's to fence.
	}
	h.pair.silent(h.runs)
	d.after(lasts, func() {
		h.stopped = false
		if suspended {
			h.slept += time.Duration(float64(lasts) * h.speed)
		}
		// What was due goes on in any order: nobody knows which thread runs first.
		queue := h.queue
		h.queue = nil
		d.rng.Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
		for _, do := range queue {
			do()
		}
	})
}

// conn is a connection of a daemon to the router. It keeps the order of what is sent.
type conn struct {
	of   *daemon
	boot int // of the router with which it was made
	dead bool
	// pending are packets that the kernel tries to deliver, since the first was written.
	pending []func()
	since   time.Time
	pumps   bool
	arrives time.Time
	returns time.Time
	waits   map[int]func()
	last    int
}

var (
	errSilent  = errors.New("no reply in time")
	errBroken  = errors.New("the connection broke")
	errOther   = errors.New("another connection")
	errGone    = errors.New("the process is gone")
	errRefused = errors.New("not in our term")
)

// send lets the kernel deliver a packet.
func (c *conn) send(arrive func()) {
	if len(c.pending) == 0 {
		c.since = c.of.pair.day.now
	}
	c.pending = append(c.pending, arrive)
	if !c.pumps {
		c.pump()
	}
}

// pump delivers what waits in the kernel, which goes on while the process is stopped and after it
// was killed.
func (c *conn) pump() {
	h, d := c.of.host, c.of.pair.day
	c.pumps = false
	switch {
	case c.dead:
		c.pending = nil
	case c.boot != c.of.pair.boots:
		c.die()
	case h.cutOff(toRouter) && d.now.Sub(c.since) > h.real(c.of.pair.patience()):
		c.die()
	case h.cutOff(toRouter):
		c.pumps = true
		d.after(d.between(50*time.Millisecond, 600*time.Millisecond), c.pump)
	default:
		for _, arrive := range c.pending {
			c.arrives = later(c.arrives, d.now.Add(h.delay()))
			d.agenda.plan(c.arrives, func() {
				if c.boot == c.of.pair.boots && !c.of.pair.down.After(d.now) {
					arrive()
				}
			})
		}
		c.pending = nil
	}
}

// back brings a reply to the process.
func (c *conn) back(took time.Duration, do func()) {
	h, d := c.of.host, c.of.pair.day
	c.returns = later(c.returns, d.now.Add(took+h.delay()))
	d.agenda.plan(c.returns, func() {
		switch {
		case c.dead || c.boot != c.of.pair.boots:
		case h.cutOff(toRouter): // The router tries again.
			d.after(d.between(100*time.Millisecond, time.Second), func() { c.back(0, do) })
		default:
			c.of.here(do)
		}
	})
}

// die ends the connection, and what waits for replies from it. Nothing of what is in the kernel is
// delivered any more.
func (c *conn) die() {
	if len(c.pending) > 0 {
		c.of.pair.aborted++
	}
	c.dead, c.pending = true, nil
	all := c.waits
	c.waits = make(map[int]func())
	var order []int
	for i := range all {
		order = append(order, i)
	}
	slices.Sort(order)
	for _, i := range order {
		c.of.later(0, all[i])
	}
}

// command sends a command to the router, over one connection if on is not nil, and calls then with
// its reply. The router does what at says, and sends no reply to what returns nil.
func (x *daemon) command(on *conn, limit time.Duration, at func() (took time.Duration, reply any), then func(reply any, err error)) {
	over, forget := false, func() {}
	finish := func(reply any, err error) {
		if !over {
			over = true
			forget()
			then(reply, err)
		}
	}
	x.later(limit, func() { finish(nil, errSilent) })
	var try func()
	try = func() {
		c := x.conn
		switch {
		case over:
		case on != nil && (on != c || c.dead):
			finish(nil, errOther)
		case c == nil || c.dead: // It takes a round trip to make one.
			x.later(x.pair.day.between(time.Millisecond, 300*time.Millisecond), func() {
				if !over && !x.host.cutOff(toRouter) && (x.conn == nil || x.conn.dead) && x.sends() == nil {
					x.conn = &conn{of: x, boot: x.pair.boots, waits: make(map[int]func())}
				}
				try()
			})
		case x.sends() != nil:
			c.die()
			finish(nil, errRefused)
		default:
			c.last++
			id := c.last
			c.waits[id] = func() { finish(nil, errBroken) }
			forget = func() { delete(c.waits, id) }
			c.send(func() {
				if took, reply := at(); reply != nil {
					c.back(took, func() { finish(reply, nil) })
				}
			})
		}
	}
	try()
}

// datagram sends a request to the gateway again and again until its reply comes or it is over.
func (x *daemon) datagram(over func() bool, at func(sent role) (took time.Duration, reply func()), wait time.Duration) {
	if over() || x.sends() != nil {
		return
	}
	d, h := x.pair.day, x.host
	lost := func() bool {
		if !h.cutOff(toGateway) && !d.percent(2) {
			return false
		}
		d.gateway.upset = d.now
		return true
	}
	if !lost() {
		// Packets keep their order, as on one link: a deletion that came after the next mapping's
		// request would end that, and nobody could know.
		sent := x.role
		h.arrives = later(h.arrives, d.now.Add(h.delay()))
		d.agenda.plan(h.arrives, func() {
			if h.cutOff(toGateway) {
				return
			}
			if took, reply := at(sent); reply != nil {
				d.after(took+h.delay(), func() {
					if !lost() {
						x.here(reply)
					}
				})
			}
		})
	}
	x.later(wait, func() { x.datagram(over, at, 2*wait) })
}

// flow is something that goes on beside the rest, and waits in between.
type flow struct {
	next  func() (struct{}, bool)
	end   func()
	yield func(struct{}) bool
	over  bool
}

// flow begins one. It is ended before the process is gone.
func (x *daemon) flow(body func(*flow)) *flow {
	f := new(flow)
	f.next, f.end = iter.Pull(func(yield func(struct{}) bool) { f.yield = yield; body(f) })
	x.later(0, func() {
		if !f.over {
			f.next()
		}
	})
	return f
}

// stop ends it. It is not called by itself.
func (f *flow) stop() {
	if f != nil && !f.over {
		f.over = true
		f.end()
	}
}

// wait waits until wake is called. False is that the flow has to end.
func (f *flow) wait(begin func(wake func())) bool {
	woken, waits := false, false
	begin(func() {
		woken = true
		if waits && !f.over {
			waits = false
			f.next()
		}
	})
	if woken {
		return !f.over
	}
	waits = true
	return f.yield(struct{}{})
}
