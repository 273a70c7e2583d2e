package model_test

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"time"

	"doublenat/internal/nat"
)

// length is how long a day is before everything is healed and has to settle.
const length = 24 * time.Hour

// stormy is how many steps within a second are too many: something is tried again and
// again without a wait.
const stormy = 400

// Day is a day of the engine between its models.
type Day struct {
	seed    uint64
	rng     *rand.Rand
	begin   time.Time
	now     time.Time
	agenda  agenda
	engine  *nat.Engine
	cfg     nat.Config
	router  router
	gateway gateway
	watch   watch
	clients []client
	// pair is two doublenats instead of one; engine is the active one's then.
	pair *pair

	lastTicket nat.TicketID
	// life counts engines: outcomes of an earlier one's actions reach nobody.
	life int
	// ops are the actions under way, with what ends them early.
	ops map[nat.OpID]func()
	// healed is set in the evening: nothing goes wrong any more.
	healed bool
	// stopping is set while a stop takes its time, stopped when the engine has stopped.
	stopping, stopped bool

	steps int
	// storm counts the steps within a second.
	second int64
	storm  int
	input  func(nat.Input)
	digest func(nat.Action)
	failed error
}

// newDay makes the day of a seed.
func newDay(seed uint64) *Day {
	d := draw(seed)
	if d.percent(15) {
		d.gateway.pool = d.newPool()
		d.cfg.Pool, d.cfg.Delivery = d.gateway.pool, nat.DeliverInternal
	}
	d.drawKind()
	d.settle()
	return d
}

// draw draws what a day has before anything happens.
func draw(seed uint64) *Day {
	rng := rand.New(rand.NewPCG(seed, 0x646f75626c65))
	d := &Day{seed: seed, rng: rng, begin: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), digest: func(nat.Action) {}}
	d.now = d.begin
	d.watch = watch{day: d, told: make(map[nat.Key]promise), tickets: make(map[nat.TicketID]ticket), busy: make(map[slot]int), asking: make(map[uint16]nat.Protocol), adopted: make(map[nat.Key]time.Time), openings: make(map[nat.Key]*opening)}
	d.gateway = gateway{
		day: d, leases: make(map[slot]grant), latency: d.between(0, 40*time.Millisecond), shares: d.percent(50),
		life: pick(d, 0, time.Minute, 10*time.Minute, 10*time.Minute, 30*time.Minute, 30*time.Minute, time.Hour, time.Hour, time.Hour), room: pick(d, 0, 0, 5, 9), wanders: pick(d, 0, 0, 0, 2, 20),
	}
	d.router = router{day: d, latency: d.between(0, 20*time.Millisecond)}
	d.cfg = nat.Config{
		Policy:   pick(d, nat.PolicyClient, nat.PolicyHold, nat.PolicyAuto),
		Delivery: pick(d, nat.DeliverInternal, nat.DeliverInternal, nat.DeliverBoth, nat.DeliverExternal),
		Random:   d.rng.Float64,
		OnEvent:  nil,
		HoldOver: 10 * time.Minute,
		// Few inner ports, so that clients get in each other's way.
		FirstInnerPort: 20000, LastInnerPort: 20023,
		// Looks at the router are most of a quiet day.
		ReconcileInterval: 5 * time.Minute,
		Companion:         false,
	}
	return d
}

// newPool returns a pool: of a number of ports, each of which may have one protocol, and may
// arrive at another port than its own.
func (d *Day) newPool() *nat.Pool {
	var list []nat.PoolPort
	shift := pick(d, uint16(0), 0, 500)
	for port := range uint16(1 + d.rng.IntN(12)) {
		if p := 30000 + 2*port + uint16(d.rng.IntN(2)); d.percent(80) {
			list = append(list, nat.PoolPort{External: p, Inner: p + shift, Protocol: pick(d, nat.Protocol(0), 0, 0, nat.UDP, nat.TCP)})
		}
	}
	pool, err := nat.NewPool(list)
	if err != nil {
		d.fail("%v", err)
	}
	return pool
}

// pick returns one of the values.
func pick[T any](d *Day, values ...T) T { return values[d.rng.IntN(len(values))] }

// percent is true in so many of a hundred cases.
func (d *Day) percent(n int) bool { return d.rng.IntN(100) < n }

// between returns a time between two.
func (d *Day) between(low, high time.Duration) time.Duration {
	return low + time.Duration(d.rng.Int64N(int64(high-low)+1))
}

// after plans something.
func (d *Day) after(wait time.Duration, do func()) { d.agenda.plan(d.now.Add(wait), do) }

// settle makes the clients and plans what goes wrong.
func (d *Day) settle() {
	for host := range byte(3) {
		for port := range uint16(2) {
			for _, p := range nat.Protocols() {
				if d.percent(60) {
					d.clients = append(d.clients, newClient(d, nat.Key{
						Client: netip.AddrFrom4([4]byte{192, 168, 88, 10 + host}), Protocol: p, InternalPort: 6881 + port,
					}))
				}
			}
		}
	}
	for i := range d.clients {
		d.clients[i].later(d.between(0, time.Hour))
	}
	for range *flagBad * d.rng.IntN(12) {
		d.after(d.between(0, length), d.mishap)
	}
	d.after(length, d.heal)
	d.after(time.Hour, d.watch.leases)
}

// mishap is something that goes wrong for a while.
func (d *Day) mishap() {
	if d.healed {
		return
	}
	if d.pair != nil && d.percent(70) {
		d.pair.mishap()
		return
	}
	lasts := d.now.Add(d.between(0, pick(d, 2*time.Second, time.Minute, 20*time.Minute)))
	bad := pick(d, silent, deaf, refuses, full, away)
	if d.gateway.pool != nil && d.percent(30) {
		d.gateway.change(d.newPool())
		return
	}
	switch d.rng.IntN(9) {
	case 0, 1:
		d.gateway.mood, d.gateway.until, d.gateway.upset = bad, lasts, d.now
	case 2, 3:
		d.router.mood, d.router.until, d.router.upset = bad, lasts, d.now
		d.router.meets = pick(d, reads|writes, reads|writes, writes, reads)
	case 4:
		d.gateway.lose()
	case 5, 6:
		d.router.meddle()
		if d.percent(30) {
			d.after(d.between(0, time.Minute), func() { d.step(nat.Look) })
		}
	case 7:
		d.gateway.latency, d.gateway.upset = d.between(0, pick(d, 40*time.Millisecond, 10*time.Second)), d.now
	case 8:
		d.restart()
	}
}

// restart ends the engine, in good order or not, and begins another one.
func (d *Day) restart() {
	if d.pair != nil {
		d.pair.mishap()
		return
	}
	if d.stopping {
		return
	}
	begin := func() {
		d.cfg.KeepOnShutdown = d.percent(50)
		d.life++
		d.gateway.restarted()
		d.ops = make(map[nat.OpID]func())
		d.watch.restarted()
		d.start()
	}
	if d.percent(40) { // It crashes.
		if len(d.ops) > 0 { // Its last command may arrive after the first look of the next run.
			d.router.meddled = d.now
			d.router.surprise()
		}
		begin()
		return
	}
	d.stopping, d.stopped = true, false
	d.step(nat.Stop{Deadline: d.now.Add(7 * time.Second)})
	d.after(7*time.Second+time.Millisecond, func() {
		d.stopping = false
		if !d.stopped {
			d.fail("the stop is not over after its time")
		}
		begin()
	})
}

// start begins an engine.
func (d *Day) start() {
	engine, err := nat.NewEngine(d.cfg)
	if err != nil {
		d.fail("%v", err)
		return
	}
	d.engine = engine
	d.step(nat.Start)
}

// heal ends everything that goes wrong.
func (d *Day) heal() {
	d.healed = true
	d.gateway.until, d.router.until, d.router.used = time.Time{}, time.Time{}, nil
	d.gateway.latency, d.gateway.wanders, d.gateway.room = 30*time.Millisecond, 0, 0
}

// run lives the day, its evening and its end, and returns what went wrong.
func (d *Day) run() error {
	if d.pair != nil {
		return d.pair.live()
	}
	d.ops = make(map[nat.OpID]func())
	d.start()
	d.until(d.begin.Add(length + 25*time.Minute))
	d.watch.agree()
	for i := range d.clients {
		d.clients[i].gone = true
	}
	d.until(d.now.Add(5 * time.Hour))
	d.watch.empty()
	d.stopped = false
	d.step(nat.Stop{Deadline: d.now.Add(7 * time.Second)})
	d.until(d.now.Add(8 * time.Second))
	if !d.stopped {
		d.fail("the last stop does not end")
	}
	return d.failed
}

// until lets time pass.
func (d *Day) until(end time.Time) {
	for d.failed == nil {
		next, due := d.agenda.next(), d.due()
		tick := !due.IsZero() && (next.IsZero() || !due.After(next))
		if tick {
			next = due
		}
		if next.IsZero() || next.After(end) {
			break
		}
		d.now = later(d.now, next)
		if !tick {
			d.agenda.pop()()
			continue
		}
		d.step(nat.Tick)
		if again := d.engine.Next(); !again.IsZero() && !again.After(d.now) {
			d.fail("the engine wants to be stepped for ever")
		}
	}
	d.now = later(d.now, end)
}

// due returns when the engine wants to be stepped, zero for never. Those of a pair plan that.
func (d *Day) due() time.Time {
	if d.pair != nil {
		return time.Time{}
	}
	return d.engine.Next()
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// step lets the engine take in what happened, and begins what it wants done.
func (d *Day) step(in nat.Input) {
	if d.pair != nil {
		d.pair.hear(in)
		return
	}
	if !d.count(in) {
		return
	}
	for _, a := range d.engine.Step(d.now, in) {
		d.digest(a)
		d.begun(a)
	}
}

// count counts a step. False is that there are too many.
func (d *Day) count(in nat.Input) bool {
	d.steps++
	if at := d.now.Unix(); at != d.second {
		d.second, d.storm = at, 0
	}
	if d.storm++; d.storm > stormy {
		d.fail("%d steps within a second", d.storm)
		return false
	}
	if d.input != nil {
		d.input(in)
	}
	return true
}

// begun carries an action out.
func (d *Day) begun(a nat.Action) {
	switch a := a.(type) {
	case nat.LeaseAction:
		key := slot{a.Request.Protocol, a.Request.InnerPort}
		d.watch.begins(key)
		d.watch.asks(key)
		if d.gateway.latency > 200*time.Millisecond {
			d.gateway.upset = d.now // Whoever waits for it is answered from the table.
		}
		d.carry(a.Op, a.Deadline, d.gateway.latency, func(limit time.Duration) (time.Duration, nat.Input) {
			took, got, err := d.gateway.lease(a.Request, limit)
			return took, nat.LeaseDone{Op: a.Op, Lease: got, Err: err}
		}, nat.LeaseDone{Op: a.Op, Err: fault(nat.HopGateway, nat.ReasonUnreachable, true)}, func() {
			d.watch.ends(key)
			d.watch.asked(key.inner)
		})
	case nat.ReleaseAction:
		key := slot{a.Protocol, a.Inner}
		d.watch.begins(key)
		d.watch.releases(key)
		d.carry(a.Op, a.Deadline, d.gateway.latency, func(limit time.Duration) (time.Duration, nat.Input) {
			took, err := d.gateway.release(key, limit)
			return took, nat.ReleaseDone{Op: a.Op, Err: err}
		}, nat.ReleaseDone{Op: a.Op, Err: fault(nat.HopGateway, nat.ReasonUnreachable, true)}, func() { d.watch.ends(key) })
	case nat.InterruptAction:
		if end := d.ops[a.Op]; end != nil {
			end()
		}
	case nat.AnswerAction:
		d.watch.answered(a)
	case nat.TellAction:
		d.watch.happened(a.Event)
	case nat.StoppedAction:
		d.stopped = true
		d.watch.stopped(a.Err)
	case nat.ReadyAction:
		d.watch.forgotten()
		d.gateway.learned()
	case nat.LogAction:
	default:
		d.begunRule(a)
	}
}

// begunRule carries an action for the router out.
func (d *Day) begunRule(a nat.Action) {
	lost := fault(nat.HopRouter, nat.ReasonUnreachable, true)
	switch a := a.(type) {
	case nat.AddAction:
		d.carry(a.Op, a.Deadline, d.router.latency, func(limit time.Duration) (time.Duration, nat.Input) {
			took, rule, err := d.router.add(a.Rule, limit)
			d.watch.ruled()
			return took, nat.RuleDone{Op: a.Op, Rule: rule, Err: err}
		}, nat.RuleDone{Op: a.Op, Err: lost}, nothing)
	case nat.ChangeAction:
		d.carry(a.Op, a.Deadline, d.router.latency, func(limit time.Duration) (time.Duration, nat.Input) {
			took, err := d.router.change(a.Found, a.Want, limit)
			d.watch.ruled()
			return took, nat.RuleDone{Op: a.Op, Rule: a.Want, Err: err}
		}, nat.RuleDone{Op: a.Op, Err: lost}, nothing)
	case nat.RemoveAction:
		d.carry(a.Op, a.Deadline, d.router.latency, func(limit time.Duration) (time.Duration, nat.Input) {
			took, err := d.router.remove(a.Forms, limit)
			return took, nat.RuleDone{Op: a.Op, Err: err}
		}, nat.RuleDone{Op: a.Op, Err: lost}, nothing)
	case nat.ReadAction:
		d.carry(a.Op, a.Deadline, d.router.latency, func(limit time.Duration) (time.Duration, nat.Input) {
			took, snap, err := d.router.read(limit)
			return took, nat.ReadDone{Snapshot: snap, Err: err}
		}, nat.ReadDone{Err: fault(nat.HopRouter, nat.ReasonUnreachable, false)}, nothing)
	}
}

func nothing() {}

// carry does what an action wants at some moment of its way, and brings the outcome back.
// If it is interrupted the outcome comes at once, and what it wants may be done all the same:
// then it is under way, and what is sent after it arrives after it.
func (d *Day) carry(op nat.OpID, deadline time.Time, latency time.Duration,
	do func(limit time.Duration) (time.Duration, nat.Input), interrupted nat.Input, done func(),
) {
	if d.pair != nil {
		d.pair.carry(op, deadline, do, interrupted, done)
		return
	}
	life, over, arrived := d.life, false, false
	finish := func(in nat.Input) {
		if over || life != d.life {
			return
		}
		over = true
		delete(d.ops, op)
		done()
		d.step(in)
	}
	out := min(time.Duration(d.rng.Float64()*float64(latency)/2), deadline.Sub(d.now))
	arrive := func() (time.Duration, nat.Input) {
		arrived = true
		return do(max(deadline.Sub(d.now), 0))
	}
	d.ops[op] = func() {
		if !arrived && d.percent(50) {
			arrive()
		}
		d.after(0, func() { finish(interrupted) })
	}
	d.after(max(out, 0), func() {
		if over || arrived {
			return
		}
		took, in := arrive()
		d.after(max(took-out, 0), func() { finish(in) })
	})
}

// fail notes what went wrong first.
func (d *Day) fail(format string, args ...any) {
	if d.failed == nil {
		d.failed = fmt.Errorf("seed %d at %v: %s", d.seed, d.now.Sub(d.begin), fmt.Sprintf(format, args...))
	}
}

// hashed returns a digest of all actions, each as text.
func hashed(d *Day) func() uint64 {
	h := fnv.New64a()
	d.digest = func(a nat.Action) {
		if tell, ok := a.(nat.TellAction); ok {
			tell.Event.At = time.Time{}
		}
		fmt.Fprintf(h, "%d %T %+v\n", d.now.Sub(d.begin), a, a)
	}
	return h.Sum64
}
