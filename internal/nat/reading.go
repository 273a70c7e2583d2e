package nat

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// readTimeout bounds one look at the router.
const readTimeout = 2 * time.Minute

// maxStrays is how many rules that no mapping needs are removed after one look. A router
// that shows more of them is looked at again at once.
const maxStrays = 256

// readState is how far a comparison with the router has come.
type readState uint8

const (
	// readIdle is none under way.
	readIdle readState = iota
	// readAsked is a look under way, and readAgain one behind which another is wanted.
	readAsked
	readAgain
	// readChanging is that what was found otherwise is being changed, and readChangingAgain
	// the same with another look wanted behind it.
	readChanging
	readChangingAgain
)

// reader compares the table with the router at the start, every interval and when it is
// asked to; while the router is out of reach it tries more often.
type reader struct {
	state readState
	op    OpID // of the look under way
	// number is that of the last look that was begun.
	number uint64
	// at is when the next one begins.
	at time.Time
	// failures counts looks in a row that failed, or whose changes did.
	failures int
	comparison
	restored restored
	presence presence
	// forwards are the rules of others that forward to LAN clients.
	forwards []Forward
	feud     feud
	// attempt and success are when looks began and when one last ended well; last is what
	// the last one met, total how many rules were changed so far.
	attempt, success time.Time
	last             error
	total            uint64
}

// comparison is what has come of the last look so far.
type comparison struct {
	// pending counts the changes of this round that are under way, changed those that
	// worked; errs are the failures.
	pending int
	changed uint64
	errs    []error
	// strays is how many rules that no mapping needs it found.
	strays int
}

// reading says whether a look is under way.
func (r *reader) reading() bool { return r.state == readAsked || r.state == readAgain }

// look asks for a comparison now.
func (e *Engine) look() {
	switch r := &e.reader; r.state {
	case readIdle:
		r.at = e.now
	case readAsked:
		r.state = readAgain
	case readChanging:
		r.state = readChangingAgain
	case readAgain, readChangingAgain:
	}
}

// lookSoon asks for a comparison now, unless the router fails: then when it is tried again.
func (e *Engine) lookSoon() {
	if e.reader.failures == 0 {
		e.look()
	}
}

// lookFor asks for a look that shows how the rule of a mapping stands, unless such a one is
// under way. A client that waits for it does not wait for a router that failed before.
func (e *Engine) lookFor(m *mapping) {
	r := &e.reader
	switch {
	case r.state == readAsked && r.number > m.rule.formed:
	case m.wish.state == wishAsked:
		e.look()
	default:
		e.lookSoon()
	}
}

// mayRead says whether a look can begin: none is under way, and a stop wants one only.
func (e *Engine) mayRead() bool {
	return e.reader.state == readIdle && (e.phase < phaseStopping || e.phase == phaseStopping && e.stop.state == stopBegun)
}

// read begins a look whose time has come.
func (e *Engine) read() {
	r := &e.reader
	if !e.mayRead() || r.at.IsZero() || r.at.After(e.now) {
		return
	}
	r.state, r.at = readAsked, time.Time{}
	r.number++
	r.attempt, r.comparison = e.now, comparison{}
	if e.phase == phaseStopping {
		e.stop.state = stopReading
	}
	e.lastOp++
	r.op = e.lastOp
	e.do(ReadAction{Op: r.op, Deadline: e.until(readTimeout)})
}

// readDone takes in what the router has.
func (e *Engine) readDone(in ReadDone) {
	r := &e.reader
	switch r.state {
	case readAgain:
		r.state = readChangingAgain
	case readAsked:
		r.state = readChanging
	case readIdle, readChanging, readChangingAgain:
		return
	}
	switch {
	case e.phase == phaseStopping:
		e.readAtStop(in)
	case in.Err != nil:
		r.errs = append(r.errs, in.Err)
		e.unread(in.Err)
	default:
		e.learn(in.Snapshot)
		all := e.all()
		e.compare(in.Snapshot, all)
		e.giveWay(all)
	}
}

// unread answers the clients that wait for a look that failed.
func (e *Engine) unread(err error) {
	for _, m := range e.all() {
		if m.wish.state == wishAsked && m.rule.state == ruleDoubtful {
			e.fail(m, err)
		}
	}
}

// inRound notes that a command began in the course of a comparison.
func (e *Engine) inRound(m *mapping) {
	r := &e.reader
	if m.rule.round == r.number && (r.state == readChanging || r.state == readChangingAgain) {
		r.pending++
	} else {
		m.rule.round = 0
	}
}

// countInRound notes the end of such a command.
func (e *Engine) countInRound(m *mapping, err error) {
	round := m.rule.round
	m.rule.round = 0
	if round == 0 || round != e.reader.number {
		return
	}
	e.reader.pending--
	if err != nil {
		e.reader.errs = append(e.reader.errs, err)
	} else {
		e.reader.changed++
	}
}

// endRound ends a comparison when nothing of it is under way.
func (e *Engine) endRound() {
	r := &e.reader
	again := r.state == readChangingAgain
	if r.state != readChanging && !again || r.pending > 0 {
		return
	}
	again = again || len(r.errs) == 0 && r.strays > maxStrays // The rest has its turn.
	r.state = readIdle
	r.total += r.changed
	r.last = errors.Join(r.errs...)
	if r.last != nil {
		r.failures++
		r.at = e.now.Add(min(e.cfg.ReconcileInterval, backoff(r.failures)))
	} else {
		r.failures, r.success = 0, e.now
		r.at = e.now.Add(e.cfg.ReconcileInterval)
	}
	e.tellRestored()
	if again || e.stop.state == stopBegun { // A stop does not wait for a router that failed before.
		r.at = e.now
	}
}

// learn notes which ports others use, settles which rules in doubt do not stand and,
// the first time, adopts the rules that a former run left.
func (e *Engine) learn(snap Snapshot) {
	e.ports.learn(snap)
	e.reader.forwards = snap.Forwards
	first := e.phase == phaseStarting
	if first {
		e.phase = phaseRunning
		e.adopt(snap.Rules)
		e.do(ReadyAction{})
	}
	for _, m := range e.all() {
		if first {
			e.touch(m.unit) // Its requests waited for this.
		}
		if m.wish.stands() {
			e.learnPlace(m, snap.Used[m.key.Protocol].Has(m.inner))
		}
		e.settleDoubt(m, snap.Rules)
	}
}

// learnPlace notes whether somebody else takes a mapping's inner port, and says so once.
func (e *Engine) learnPlace(m *mapping, taken bool) {
	switch {
	case !taken:
		m.place = placeFree
	case m.place == placeFree:
		m.place = placeTaken
		e.warn("", "a rule or service of the router that is not ours uses the inner port of a mapping", m,
			"inner_port", m.inner, "rule", e.ports.taker(m.key.Protocol, m.inner))
	}
}

// settleDoubt notes what a look shows of a rule that nobody wants and that may be there.
func (e *Engine) settleDoubt(m *mapping, rules []Rule) {
	r := &m.rule
	if m.wish.state != wishNone || r.state != ruleDoubtful || r.formed >= e.reader.number {
		return
	}
	e.touch(m.unit)
	if i := slices.IndexFunc(rules, func(f Rule) bool { return f.Key == m.key && f.InnerPort == m.inner }); i >= 0 {
		r.have, r.forms, r.retryAt = rules[i], nil, e.now
		return
	}
	*r = rule{}
}

// adopt puts the rules of a former run into the table: their leases are asked
// for again at once with the ports that they had, and they live on until their
// clients had time to come back. A second rule for one key, or one whose ports
// are taken, is not adopted and is removed by the comparison that follows.
func (e *Engine) adopt(rules []Rule) {
	for i, r := range e.certainFirst(rules) {
		if i >= e.cfg.MaxMappings {
			return // More than there may be.
		}
		external := e.externalOf(r)
		owner, taken := e.ports.owner[r.InnerPort]
		m := e.mapping(r.Key)
		have := m != nil && m.wish.stands()
		free := !taken || owner == r.Key.Port()
		if !have && free && e.adoptable(r.Key) {
			m = e.current(r.Key)
			if e.ports.inherit(m.key, external) == nil || e.hearsay(r) {
				e.adoptOne(m, r, external)
				continue
			}
			e.touch(m.unit)
		}
		if !taken || free && (!have || m.inner != r.InnerPort) { // Its lease may live.
			e.oweLease(r)
		}
	}
}

// oweLease notes that the lease of a rule that is not adopted may live; of two such rules for one
// inner port that is one lease.
func (e *Engine) oweLease(r Rule) {
	mayLive := e.now.Add(e.cfg.clamp(r.Lifetime))
	for _, l := range e.unitOf(r.Key.Port()).left {
		if l.key == r.Key && l.inner == r.InnerPort {
			l.lease.mayLive = later(l.lease.mayLive, mayLive)
			return
		}
	}
	e.leave(r.Key, r.InnerPort).lease = lease{state: leaseDoubtful, external: r.ExternalPort, mayLive: mayLive, nextAt: e.now.Add(retryFirst)}
}

// hearsay says whether the external port in a rule's comment is no reason to give up a mapping
// whose comment names one that another's does too: of a port that changed a comment tells late,
// and no packet depends on it. The gateway says which port the mapping has; of a pool that is
// another one now, the inner port to which it moves.
func (e *Engine) hearsay(r Rule) bool {
	gone := !e.ports.pool.allows(r.Key.Protocol, r.InnerPort)
	return e.cfg.Delivery == DeliverInternal && (e.ports.pool == nil || gone) && r.Key.InternalPort != 0
}

// externalOf returns the external port of a rule that was found: what a pool passes on to its
// inner port, whatever its comment still says of the time before it moved, and else the comment's.
func (e *Engine) externalOf(r Rule) uint16 {
	if external, ok := e.ports.pool.External(r.Key.Protocol, r.InnerPort); ok {
		return external
	}
	return r.ExternalPort
}

// certainFirst returns the rules in the order in which they are adopted: with a pool, those whose
// inner port it has come first, for what the others say of external ports may be over; and those
// that do what they say before those that do not, for of two of one mapping the former stay.
func (e *Engine) certainFirst(rules []Rule) []Rule {
	rank := func(r Rule) int {
		switch {
		case !e.ports.pool.allows(r.Key.Protocol, r.InnerPort):
			return 2
		case r.Altered:
			return 1
		default:
			return 0
		}
	}
	rules = slices.Clone(rules)
	slices.SortStableFunc(rules, func(a, b Rule) int { return cmp.Compare(rank(a), rank(b)) })
	return rules
}

func (e *Engine) adoptOne(m *mapping, r Rule, external uint16) {
	life := e.cfg.clampHeld(r.Lifetime, r.By)
	m.wish = wish{
		state: wishRenewing, origin: originFormer, asker: asker{way: r.By}, policy: e.cfg.Policy, requested: life, asked: e.now, until: e.now.Add(life),
		remote: r.Remote, agreed: r.Remote,
	}
	if r.By == IGD {
		m.wish.policy = PolicyHold
	}
	if !m.wish.policy.holds() {
		m.wish.until = e.now.Add(min(life, e.cfg.HoldOver))
	}
	m.inner, m.created, m.packets = r.InnerPort, e.now, r.Packets
	e.ports.use(m.inner, r.Key.Port())
	m.lease = lease{state: leaseDoubtful, external: external, until: e.now, mayLive: e.now.Add(e.cfg.clamp(r.Lifetime)), nextAt: e.now}
	m.rule = rule{state: ruleStanding, have: r, standing: e.reader.number - 1}
	if external != r.ExternalPort {
		m.news = news(r.ExternalPort) // It moved while nobody was there to tell of it.
	}
	e.touch(m.unit)
	e.tell(EventAdopted, m)
}

// adoptable says whether the settings of this run allow a former run's mapping.
func (e *Engine) adoptable(key Key) bool { return e.cfg.valid(key) && !e.occupied(key.Port()) }

// compare notes what of the rules that were found is otherwise than it should be. It
// says nothing about the keys to which something happened while the router was read.
func (e *Engine) compare(snap Snapshot, all []*mapping) {
	var want, found []Rule
	for _, m := range all {
		if e.comparable(m) {
			want = append(want, withID(e.ruleOf(m), m.rule.have.ID))
		}
	}
	for _, r := range snap.Rules {
		if e.concerns(r) && !e.beingRemoved(r) {
			found = append(found, r)
		}
	}
	for _, c := range e.contest(Plan(want, found), found) {
		if c.Kind == RemoveRule {
			e.reader.strays++
		}
		if c.Kind != RemoveRule || e.reader.strays <= maxStrays {
			e.note(c)
		}
	}
}

// concerns says whether the look that has just ended tells something of a rule: also one of a
// mapping that is being taken down, if the router has it under another id since it restarted.
func (e *Engine) concerns(r Rule) bool {
	m := e.mapping(r.Key)
	if m == nil || e.comparable(m) {
		return true
	}
	switch old := &m.rule; {
	case m.wish.wanted():
		return false
	case old.state == ruleAbsent:
		return m.wish.state == wishNone || old.have.ID != r.ID
	default:
		return old.standing < e.reader.number && old.have.ID != "" && old.have.ID != r.ID
	}
}

// comparable says whether the look that has just ended tells how a mapping's rule stands.
func (e *Engine) comparable(m *mapping) bool {
	r := &m.rule
	switch {
	case r.busy() || m.moving() || m.unit.current[m.key.Protocol.index()] != m:
		return false
	case m.wish.state == wishAsked: // It was being taken down when its client asked again.
		return r.state == ruleDoubtful && m.granted() && r.formed < e.reader.number
	default:
		return m.wish.stands() && r.standing < e.reader.number
	}
}

func (e *Engine) beingRemoved(r Rule) bool {
	u := e.units[r.Key.Port()]
	return u != nil && slices.ContainsFunc(u.left, func(m *mapping) bool { return m.rule.state == ruleRemoving && m.rule.have.ID == r.ID })
}

// note takes over one difference between the router and the table. What has to be done
// about it is decided as everything else is.
func (e *Engine) note(c Change) {
	m := e.mapping(c.Want.Key)
	switch c.Kind {
	case RemoveRule:
		m = e.leave(c.Found.Key, 0)
		m.rule = rule{state: ruleStanding, have: c.Found}
		e.ports.vacated[outerPort{m.key.Protocol, c.Found.InnerPort}] = m
	case AddRule:
		m.rule.state = ruleAbsent
	case UpdateRule:
		m.rule.see(c.Found, e.reader.number)
		m.rule.mendAt = e.now
		if c.CommentOnly() {
			m.rule.mendAt = later(e.now, m.rule.written.Add(commentInterval))
		}
	case TrackRule:
		m.rule.see(c.Found, e.reader.number)
		m.packets = c.Found.Packets
		e.touch(m.unit)
		return
	}
	m.rule.round = e.reader.number
	e.touch(m.unit)
}
