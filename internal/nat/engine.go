package nat

import (
	"net/netip"
	"slices"
	"time"
)

// Engine is the whole of the core: the table of mappings and everything that may happen
// to one. It is a state machine: [Engine.Step] is the only way in, and it does no I/O,
// starts no goroutine, takes no lock and reads no clock. What is to be done comes out as
// actions, and their outcomes go in as inputs. The same inputs give the same actions.
//
// Make one with [NewEngine]. It is not safe for use by several goroutines at once.
type Engine struct {
	cfg   Config
	now   time.Time
	out   []Action
	phase phase

	mappings
	ports ports

	// touched are the units that something happened to and that were not looked at since.
	touched []*unit
	timers  timers
	// ops says for which mapping an action is under way, lastOp is the number of the last.
	ops    map[OpID]*mapping
	lastOp OpID

	reader   reader
	recovery recovery
	stop     stop
	learned
	// waiting are mappings that wait for others to make room at the gateway.
	waiting []*mapping
}

// mappings has all mappings, by client port.
type mappings struct {
	// units has all client ports with a mapping or something left of one, hosts the
	// clients that have them.
	units map[ClientPort]*unit
	hosts map[netip.Addr]*host
	// size is how many mappings count against the limit.
	size int
}

// learned is what clients and the gateway have shown of themselves.
type learned struct {
	// expired says until when a client that asks for an expired mapping proves that it does
	// not renew in time.
	expired map[Key]time.Time
	// raised is the longest lease that the gateway granted to who asked for a shorter one: it
	// may have granted one of which nothing was heard for as long.
	raised time.Duration
}

// phase is how far the engine has come.
type phase uint8

const (
	// phaseStarting is before the first look at the router: nobody knows which mappings
	// there are and which ports are free.
	phaseStarting phase = iota
	// phaseRunning is the long part.
	phaseRunning
	// phaseStopping takes everything down.
	phaseStopping
	// phaseStopped is the end.
	phaseStopped
)

// NewEngine checks the configuration and returns an engine to which nothing has happened.
// It uses neither Router nor Gateway nor Logger nor OnEvent of the configuration.
func NewEngine(cfg Config) (*Engine, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	return &Engine{
		cfg: cfg, mappings: mappings{units: make(map[ClientPort]*unit), hosts: make(map[netip.Addr]*host)},
		ports: newPorts(&cfg), ops: make(map[OpID]*mapping), stop: stop{state: stopNone}, learned: learned{expired: make(map[Key]time.Time)},
	}, nil
}

// Step takes in what happened at a time, which never goes back, and returns what is to be
// done, in this order. The list is valid until the next step.
func (e *Engine) Step(now time.Time, in Input) []Action {
	e.now, e.out = now, e.out[:0]
	switch in := in.(type) {
	case Ask:
		e.ask(in)
	case End:
		e.end(in)
	case LeaseDone:
		e.leaseDone(in)
	case ReleaseDone:
		e.releaseDone(in)
	case RuleDone:
		e.ruleDone(in)
	case ReadDone:
		e.readDone(in)
	case Signal:
		e.signal(in)
	case PoolChanged:
		e.poolChanged(in.Pool)
	case Stop:
		e.begin(in)
	}
	e.settle()
	return e.out
}

// Next returns when to step with a [Tick] if nothing happens before; zero for never.
func (e *Engine) Next() time.Time {
	next := e.timers.next()
	next = sooner(next, e.recovery.at)
	if e.mayRead() {
		next = sooner(next, e.reader.at)
	}
	if e.phase == phaseStopping && len(e.ops) == 0 && !e.stop.waits() {
		next = sooner(next, e.stop.deadline)
	}
	return next
}

func (e *Engine) signal(s Signal) {
	if e.phase == phaseStopped {
		return // The router and the gateway may be heard of for a moment more.
	}
	switch s {
	case Tick:
		e.tick()
	case Start, Look:
		e.look()
	case StateLost:
		e.loseState("the gateway lost its state, asking for all leases again", time.Duration(e.cfg.Random()*float64(recreateSpread)))
	case ClockStood:
		e.loseState("our clock stood still, asking for all leases again", 0)
	case GatewayBack:
		e.gatewayBack()
	case RouterBack:
		e.routerBack()
	case RulesGone:
		e.rulesGone()
	}
}

// tick looks at everything whose time has come.
func (e *Engine) tick() {
	for m := e.timers.first(); m != nil && !m.timer.at.After(e.now); m = e.timers.first() {
		e.timers.set(m, time.Time{})
		e.touch(m.unit)
	}
	if at := e.recovery.at; !at.IsZero() && !at.After(e.now) {
		e.recover()
	}
}

// touch notes that something happened to a unit.
func (e *Engine) touch(u *unit) {
	if u.queued == unqueued {
		u.queued = inQueue
		e.touched = append(e.touched, u)
	}
}

// settle decides for each unit that something happened to what has to be done next, and
// begins it.
func (e *Engine) settle() {
	for i := 0; i < len(e.touched); i++ {
		u := e.touched[i]
		u.queued = unqueued
		var room [4]*mapping
		for _, m := range u.members(room[:0]) {
			e.serve(m)
		}
		e.recount(u)
	}
	clear(e.touched)
	e.touched = e.touched[:0]
	e.endRound()
	e.read()
	e.finish()
}

// serve does for one mapping what has to be done next: its requests have their turns, its
// layers get what decide says, and whoever can be answered is.
func (e *Engine) serve(m *mapping) {
	e.expire(m)
	e.takeTurns(m)
	forLease, forRule := e.decide(m)
	e.carryOutLease(m, forLease)
	e.carryOutRule(m, forRule)
	e.conclude(m)
	e.timers.set(m, e.due(m))
	e.forget(m)
}

func (e *Engine) do(a Action) { e.out = append(e.out, a) }

// op begins an action for a mapping.
func (e *Engine) op(m *mapping) OpID {
	e.lastOp++
	e.ops[e.lastOp] = m
	return e.lastOp
}

// done returns the mapping for which an action was under way, nil for one that nobody
// knows of.
func (e *Engine) done(op OpID) *mapping {
	m := e.ops[op]
	if m != nil {
		delete(e.ops, op)
		e.touch(m.unit)
	}
	return m
}

// tell tells of an event.
func (e *Engine) tell(kind EventKind, m *mapping) { e.tellMore(kind, m, nil) }

func (e *Engine) tellMore(kind EventKind, m *mapping, more func(*Event)) {
	ev := Event{Kind: kind, At: e.now, Mapping: m.view()}
	if more != nil {
		more(&ev)
	}
	e.do(TellAction{Event: ev})
}

// mapping returns the mapping of a key, nil if there is none.
func (e *Engine) mapping(key Key) *mapping {
	u := e.units[key.Port()]
	if u == nil || key.Protocol != UDP && key.Protocol != TCP {
		return nil
	}
	return u.current[key.Protocol.index()]
}

// unitOf returns the unit of a client port, a new one if need be.
func (e *Engine) unitOf(port ClientPort) *unit {
	u := e.units[port]
	if u == nil {
		u = &unit{port: port, next: TCP.index()}
		e.units[port] = u
		h := e.hostOf(port.Client)
		h.units = append(h.units, u)
	}
	return u
}

// current returns the mapping of a key, a new one if need be.
func (e *Engine) current(key Key) *mapping {
	u := e.unitOf(key.Port())
	at := &u.current[key.Protocol.index()]
	if *at == nil {
		*at = &mapping{key: key, unit: u}
	}
	return *at
}

// leave makes a mapping of what is left of a key: a lease on an inner port that its
// mapping does not have, or a rule that no mapping stands behind.
func (e *Engine) leave(key Key, inner uint16) *mapping {
	u := e.unitOf(key.Port())
	m := &mapping{key: key, unit: u, inner: inner}
	if inner != 0 {
		e.ports.use(inner, key.Port())
	}
	u.left = append(u.left, m)
	e.touch(u)
	return m
}

// forget drops a mapping of which nothing is left, and its unit with the last.
func (e *Engine) forget(m *mapping) {
	if m.wish.state != wishNone || m.lease.state != leaseAbsent || m.rule.state != ruleAbsent || len(m.queue) > 0 {
		return
	}
	e.timers.set(m, time.Time{})
	e.ports.moved(m, former{})
	u := m.unit
	if m.inner != 0 {
		e.ports.leave(m.inner)
		m.inner = 0
	}
	if at := &u.current[m.key.Protocol.index()]; *at == m {
		*at = nil
	} else {
		u.left = slices.DeleteFunc(u.left, func(l *mapping) bool { return l == m })
	}
	if u.current[0] != nil || u.current[1] != nil || len(u.left) > 0 {
		return
	}
	e.recount(u)
	delete(e.units, u.port)
	h := e.hosts[u.port.Client]
	h.units = slices.DeleteFunc(h.units, func(have *unit) bool { return have == u })
	if len(h.units) == 0 && !h.proven.After(e.now) {
		delete(e.hosts, u.port.Client)
	}
}

// unordered returns all mappings, what is left of earlier ones included.
func (e *Engine) unordered() []*mapping {
	list := make([]*mapping, 0, 2*len(e.units))
	for _, u := range e.units {
		list = u.members(list)
	}
	return list
}

// all returns all mappings, ordered by key, so that a run can be repeated.
func (e *Engine) all() []*mapping {
	list := e.unordered()
	slices.SortStableFunc(list, func(a, b *mapping) int { return a.key.Compare(b.key) })
	return list
}
