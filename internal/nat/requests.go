package nat

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// MapRequest asks for a mapping or for the renewal of one.
type MapRequest struct {
	// Key says for whom; the client is the source of the request (RFC 6886 §3.3).
	Key Key
	// SuggestedPort is the external port that the client would like; 0 for any. It
	// is a hint: a mapping that exists keeps its port whatever is suggested.
	SuggestedPort uint16
	// Exact is set if nothing but SuggestedPort, not 0, will do: another one is
	// [ReasonPort], and changes nothing.
	Exact bool
	// Filter is what becomes of who may send to the mapping. The zero value changes nothing;
	// more remotes than a mapping can have are [ReasonRemotes], and change nothing either.
	Filter Filter
	// Lifetime is what the client asks for, more than 0. It is cut to [Config.MaxLifetime],
	// and by [IGD] to [MaxHeld].
	Lifetime time.Duration
	// By is the protocol in which it asks, zero for none.
	By Way
	// Description is a text that it gave the mapping, for people; "" for none. 64 bytes of it
	// are kept, without control characters.
	Description string
	// Arrived is when the request came in, if that was before now; the time that it may wait
	// begins then. The zero value is now.
	Arrived time.Time
}

// Grant is what a client is told about its mapping.
type Grant struct {
	// ExternalPort is the port at the gateway's public address, never 0.
	ExternalPort uint16
	// Lifetime is how long the mapping lasts without a renewal: at least a second,
	// in whole seconds, never more than what was asked for.
	Lifetime time.Duration
}

var (
	errInvalidKey     = errors.New("a mapping needs an IPv4 client, a protocol and an internal port, 0 only with ZERO_PORT=external")
	errStopped        = errors.New("shutting down")
	errNoRouter       = errors.New("the router's rules have not been read yet")
	errOtherPort      = errors.New("the gateway granted another port than the one that was asked for")
	errLate           = errors.New("the client port's turn did not come in time")
	errForeignForward = errors.New("a rule that doublenat did not make forwards this port")
)

func (c *Config) valid(k Key) bool {
	return k.Client.Is4() && (k.Protocol == UDP || k.Protocol == TCP) && (k.InternalPort != 0 || c.ZeroPort)
}

// clamp cuts a lifetime to the configured maximum and to whole seconds. The whole
// 32-bit range is legal in a request, and some gateways overflow (RFC 6886 §3.3).
func (c *Config) clamp(d time.Duration) time.Duration {
	return max(min(d, c.MaxLifetime).Truncate(time.Second), time.Second)
}

// ask takes in a request for a mapping.
func (e *Engine) ask(in Ask) {
	req := in.Request
	t := ticket{
		id: in.Ticket, kind: ticketMap, state: ticketQueued, by: in.by, lifetime: e.cfg.clampHeld(req.Lifetime, req.By), suggested: req.SuggestedPort,
		came: e.now, asker: askerOf(req), filter: req.Filter,
	}
	if req.Exact {
		t.only = req.SuggestedPort
	}
	if !req.Arrived.IsZero() {
		t.came = earlier(e.now, req.Arrived)
	}
	switch {
	case !e.cfg.valid(req.Key) || req.Lifetime <= 0:
		e.answer(&t, Grant{}, &Error{Reason: ReasonDenied, Err: errInvalidKey})
		return
	case e.phase >= phaseStopping:
		e.answer(&t, Grant{}, &Error{Reason: ReasonUnreachable, Err: errStopped})
		return
	}
	t.deadline = t.came.Add(e.cfg.CreateTimeout)
	m := e.current(req.Key)
	m.queue = append(m.queue, t)
	e.touch(m.unit)
}

// end takes in a request to end a mapping. A renewal that is under way is interrupted; it
// may come to the gateway after the release all the same, which is then done once more.
func (e *Engine) end(in End) {
	t := ticket{id: in.Ticket, kind: ticketEnd, state: ticketQueued, deadline: e.now.Add(endTimeout)}
	m := e.mapping(in.Key)
	switch {
	case !e.cfg.valid(in.Key):
		e.answer(&t, Grant{}, &Error{Reason: ReasonDenied, Err: errInvalidKey})
		return
	case e.phase >= phaseStopping:
		e.answer(&t, Grant{}, &Error{Reason: ReasonUnreachable, Err: errStopped})
		return
	case m == nil && e.phase == phaseStarting:
		m = e.current(in.Key) // A former run's mapping may be adopted yet.
	case m == nil:
		e.answer(&t, Grant{}, e.foreign(in.Key))
		return
	}
	m.queue = append(m.queue, t)
	e.touch(m.unit)
	if m.wish.stands() && m.lease.state == leaseAsked {
		m.lease.again = e.now.Add(e.cfg.clamp(m.wish.requested))
		e.do(InterruptAction{Op: m.lease.op})
	}
}

// foreign returns an error if a rule of somebody else forwards the port.
func (e *Engine) foreign(key Key) error {
	// A mapping for port 0 and a rule for all ports have one key, and nothing else in common.
	if key.InternalPort != 0 && slices.ContainsFunc(e.reader.forwards, func(f Forward) bool { return f.Key == key || f.Key == key.Port().all(key.Protocol) }) {
		return &Error{Hop: HopRouter, Reason: ReasonDenied, Err: errForeignForward}
	}
	return nil
}

// takeTurns begins the requests whose turn has come. Requests for a mapping share what is
// done for them, up to the next one that ends it.
func (e *Engine) takeTurns(m *mapping) {
	e.dropLate(m)
	if e.phase == phaseStarting || len(m.queue) == 0 {
		return
	}
	if m.queue[0].kind == ticketEnd {
		e.beginEnd(m)
		return
	}
	for i := 0; i < len(m.queue) && m.queue[i].kind == ticketMap; {
		turn := e.beginMap(m, &m.queue[i])
		switch {
		case turn == turnWaits:
			return
		case turn == turnOver, e.drop(m, &m.queue[i], false): // It may have come late already.
			m.queue = slices.Delete(m.queue, i, i+1)
		default:
			i++
		}
	}
}

// turn is what came of a request's turn.
type turn uint8

const (
	turnWaits turn = iota // it has not come
	turnBegun             // the layers are being changed
	turnOver              // it was answered
)

// beginMap begins a request for a mapping, unless something of the mapping is being taken
// back: that ends first.
func (e *Engine) beginMap(m *mapping, t *ticket) turn {
	switch {
	case t.state == ticketBegun:
		return turnBegun
	case !m.wish.wanted() && m.goes():
		return turnWaits
	case !m.wish.wanted():
		return e.beginMaking(m, t)
	case m.wish.stands() && t.misses(m.lease.external):
		e.answer(t, Grant{ExternalPort: m.lease.external}, nil)
		return turnOver
	}
	remote, err := e.refilter(m, t)
	if err != nil {
		e.answer(t, Grant{}, err)
		return turnOver
	}
	m.wish.remote = remote
	if m.wish.state == wishAsked {
		e.join(m, t)
		return turnBegun
	}
	m.wish.asker.ask(t.asker)
	m.wish.policy = e.policyFor(m)
	if grant, ok := e.prolong(m, t); ok {
		m.agree(t)
		e.answer(t, grant, nil)
		return turnOver
	}
	m.wish.renew(e.now, t)
	m.wish.state, t.state, t.tableAt = wishRenewing, ticketBegun, t.came.Add(e.cfg.AnswerBudget)
	if m.lease.state != leaseAsked {
		m.lease.nextAt = e.now
	}
	return turnBegun
}

// join has a request share the making of a mapping that was asked for before it.
func (e *Engine) join(m *mapping, t *ticket) {
	if t.by == originClient {
		m.wish.origin = originClient
	}
	m.wish.asker.ask(t.asker)
	m.wish.policy = e.policyFor(m)
	if t.asker.way == IGD { // It hears of no shorter time.
		m.wish.requested = max(m.wish.requested, t.lifetime)
	}
	t.state = ticketBegun
}

// part answers those who cannot do with the port that the gateway granted to a mapping that is
// being made, if others can: it is theirs alone, as if nobody else had asked.
func (e *Engine) part(m *mapping) {
	misses := func(t ticket) bool { return t.state == ticketBegun && t.misses(m.lease.external) }
	if m.wish.state != wishAsked || m.missed() || !slices.ContainsFunc(m.queue, misses) {
		return
	}
	for i := range m.queue {
		if misses(m.queue[i]) {
			e.answer(&m.queue[i], Grant{ExternalPort: m.lease.external}, nil)
		}
	}
	m.queue = slices.DeleteFunc(m.queue, misses)
	first := &m.queue[0]
	m.wish.origin, m.wish.asker, m.wish.requested = first.by, first.asker, first.lifetime
	for i := range m.queue {
		if m.queue[i].kind == ticketMap && m.queue[i].state == ticketBegun {
			e.join(m, &m.queue[i])
		}
	}
}

// beginMaking begins to make a mapping. What is left of an earlier one of the key is taken over.
func (e *Engine) beginMaking(m *mapping, t *ticket) turn {
	remote, err := e.refilter(m, t)
	if err == nil {
		err = e.admit(m)
	}
	if err == nil {
		var detached bool
		if detached, err = e.reserve(m, t); detached {
			return turnWaits // The new mapping has the requests now.
		}
	}
	if err != nil {
		e.answer(t, Grant{}, err)
		return turnOver
	}
	l := &m.lease
	if m.wish.state != wishEnding {
		l.suggested = t.suggested
	}
	m.wish = wish{
		state: wishAsked, origin: t.by, asker: t.asker, cause: m.wish.cause,
		requested: t.lifetime, asked: e.now, deadline: t.deadline, remote: remote,
	}
	m.wish.policy = e.policyFor(m)
	l.since, l.nextAt, l.tries, l.failures, l.err, l.again = time.Time{}, e.now, 0, 0, nil, time.Time{}
	m.rule.err, m.rule.round = nil, 0
	if m.rule.state == ruleAbsent {
		m.rule = rule{}
	}
	t.state = ticketBegun
	return turnBegun
}

// prolong answers a renewal from the table if the gateway was asked lately: the mapping
// lasts as long as is asked for now, and the gateway hears of it with the next renewal. It
// says whether that was the case.
func (e *Engine) prolong(m *mapping, t *ticket) (Grant, bool) {
	l, w := &m.lease, &m.wish
	asking := !l.nextAt.IsZero() && !l.nextAt.After(e.now) || m.unit.asking != nil // The lease or its port is in doubt.
	if w.state != wishStanding || w.origin == originFormer || l.failures > 0 || asking || l.state != leaseHeld ||
		!e.fresh(m, t) || m.unit.move != nil || m.forgotten(t) || e.unmatched(m) || e.broken(m) != nil {
		return Grant{}, false
	}
	grant := Grant{ExternalPort: l.external, Lifetime: min(l.granted, t.lifetime)}
	if !w.policy.holds() {
		grant.Lifetime = min(l.until.Sub(e.now).Truncate(time.Second), t.lifetime)
	}
	w.renew(e.now, t)
	w.state = wishRenewing
	w.confirm(e.now, grant.Lifetime)
	w.told, w.promised = l.external, time.Time{}
	l.nextAt = e.nextAsk(m)
	return grant, true
}

// fresh says whether the lease is so new that a renewal need not go to the gateway: in its
// first half if doublenat renews it, and if the client does, when doublenat has just done so
// ahead of it.
func (e *Engine) fresh(m *mapping, t *ticket) bool {
	l := &m.lease
	if e.now.Sub(l.since) >= l.granted/2 {
		return false
	}
	grantsMore := t.lifetime > l.granted && l.granted >= l.asking
	return m.wish.policy.holds() || !grantsMore && l.since.Sub(m.wish.asked) > l.granted/8
}

// beginEnd begins a request to end a mapping, once what is being made is made.
func (e *Engine) beginEnd(m *mapping) {
	t := &m.queue[0]
	if t.state == ticketBegun || m.lease.state == leaseAsked || m.rule.state == ruleAdding || m.rule.state == ruleChanging {
		return
	}
	t.state = ticketBegun
	switch m.wish.state {
	case wishEnding:
		m.rule.retryAt = e.now
	case wishRenewing, wishStanding:
		e.endWish(m, EventDeleted)
	case wishNone:
		e.answer(t, Grant{}, e.foreign(m.key))
		m.queue = slices.Delete(m.queue, 0, 1)
		e.touch(m.unit)
	case wishAsked:
	}
}

// endWish ends a mapping: from now on its layers are taken down.
func (e *Engine) endWish(m *mapping, cause EventKind) {
	e.remember(m, cause)
	m.wish.state, m.wish.cause, m.wish.promised = wishEnding, cause, time.Time{}
	m.lease.nextAt, m.lease.failures, m.lease.suggested = e.now, 0, 0
	m.rule.retryAt, m.rule.failures, m.news, m.place = e.now, 0, 0, placeFree
	e.touch(m.unit)
}

// expire ends a mapping that was not renewed. A renewal that is under way comes first.
func (e *Engine) expire(m *mapping) {
	if e.phase == phaseRunning && m.wish.stands() && m.lease.state != leaseAsked && !m.waitedFor() && !m.ends().After(e.now) {
		e.endWish(m, EventExpired)
	}
}

// ends returns when a mapping ends if nobody renews it. One that is held for its client
// keeps its last lease to the end: some programs renew at the very last moment.
func (m *mapping) ends() time.Time {
	if m.wish.policy == PolicyAuto && m.lease.state == leaseHeld {
		return later(m.wish.until, m.lease.until)
	}
	return m.wish.until
}

// waitedFor says whether a request for the mapping waits.
func (m *mapping) waitedFor() bool { return len(m.queue) > 0 && m.queue[0].kind == ticketMap }

// begun says whether the request that has its turn is of the kind, and is being carried out.
func (m *mapping) begun(kind ticketKind) bool {
	return len(m.queue) > 0 && m.queue[0].kind == kind && m.queue[0].state == ticketBegun
}

// late returns until when a mapping can be made for the client that waits for it. What
// the gateway took is not held against the router.
func (m *mapping) late() time.Time {
	if m.granted() {
		return later(m.wish.deadline, m.lease.since.Add(ruleTime))
	}
	return m.wish.deadline
}

// dropLate answers the requests that waited too long. A deletion stays in the queue: its
// client does not hear of it, and it is done all the same.
func (e *Engine) dropLate(m *mapping) {
	if m.wish.state == wishAsked && !m.lease.busy() && !m.rule.busy() && !m.late().After(e.now) {
		e.fail(m, cmp.Or[error](m.lease.err, m.rule.err, &Error{Reason: ReasonUnreachable, Err: errLate}))
	}
	for i, ending := 0, false; i < len(m.queue); {
		t := &m.queue[i]
		ending = ending || t.kind == ticketEnd
		if e.drop(m, t, ending) {
			m.queue = slices.Delete(m.queue, i, i+1)
			e.touch(m.unit) // Its mapping may be over when nobody waits for it any more.
		} else {
			i++
		}
	}
}

// drop answers a request if it waited too long, and says whether it did. Ending is set
// behind a request that ends the mapping.
func (e *Engine) drop(m *mapping, t *ticket, ending bool) bool {
	over := !t.deadline.IsZero() && !t.deadline.After(e.now)
	due := !t.tableAt.IsZero() && !t.tableAt.After(e.now)
	switch {
	case over && e.phase == phaseStarting:
		e.answer(t, Grant{}, &Error{Hop: HopRouter, Reason: ReasonUnreachable, Err: errNoRouter})
		return true
	case !ending && m.wish.stands() && (due || over):
		return e.fromTable(m, t, over)
	case !over:
		return false
	case t.kind == ticketMap && t.state == ticketBegun: // What is under way for it has an end of its own.
		t.deadline = time.Time{}
		return false
	}
	e.answer(t, Grant{}, &Error{Reason: ReasonUnreachable, Err: errLate})
	t.id, t.deadline = 0, time.Time{}
	return t.kind == ticketMap
}

// fromTable answers a renewal for which the gateway takes too long, if the table has an
// answer, and says whether it did. Over is when it can wait no longer.
func (e *Engine) fromTable(m *mapping, t *ticket, over bool) bool {
	if !over && m.forgotten(t) {
		return false
	}
	grant, ok := e.tableGrant(m, t.lifetime, nil)
	ok = ok && m.fits(t)
	switch {
	case ok:
		m.agree(t)
		e.answer(t, grant, nil)
	case over:
		e.withdraw(m, t)
		e.answer(t, Grant{}, cmp.Or(m.lease.err, error(&Error{Reason: ReasonUnreachable, Err: errLate})))
	}
	return ok || over
}

// tableGrant returns what a client can be told without the gateway: failure is what the
// gateway said, or nil when it has not said anything yet.
//
// While the gateway is out of reach a mapping outlives its lease for a while, as
// long as its client keeps asking: the gateway may well still have it, and to some
// programs an error at a renewal means hours without a port.
func (e *Engine) tableGrant(m *mapping, lifetime time.Duration, failure error) (Grant, bool) {
	l, w := &m.lease, &m.wish
	if !w.stands() || !w.until.After(e.now) || l.state == leaseReturning || !e.ports.claims(m.key, l.external) || e.unmatched(m) || e.broken(m) != nil {
		return Grant{}, false
	}
	left := min(w.until.Sub(e.now), max(l.until.Sub(e.now), 0), lifetime).Truncate(time.Second)
	if left < holdOverBelow {
		if !unreachable(failure) || e.now.After(l.until.Add(e.cfg.HoldOver)) {
			return e.promise(m, left), left > 0
		}
		left = min(holdOverLifetime, lifetime)
		w.until = later(w.until, e.now.Add(left))
	}
	return e.promise(m, left), true
}

// promise notes what a client is told about a renewal that is outstanding: a shorter lease
// that the gateway grants after that does not end the mapping earlier.
func (e *Engine) promise(m *mapping, left time.Duration) Grant {
	if left > 0 {
		m.wish.told, m.wish.promised = m.lease.external, e.now.Add(left)
	}
	return Grant{ExternalPort: m.lease.external, Lifetime: left}
}

// answer answers a request. What is another port than the very one that was asked for is
// an error.
func (e *Engine) answer(t *ticket, grant Grant, err error) {
	if err == nil && t.misses(grant.ExternalPort) {
		grant, err = Grant{}, &Error{Hop: HopGateway, Reason: ReasonPort, Err: errOtherPort}
	}
	if t.id != 0 {
		e.do(AnswerAction{Ticket: t.id, Grant: grant, Err: err})
	}
}

// misses says whether a port is not the very one that was asked for.
func (t *ticket) misses(external uint16) bool {
	return t.kind == ticketMap && t.only != 0 && t.only != external
}

// missed says whether nobody who waits for a mapping that is being made can do with the port
// that the gateway granted.
func (m *mapping) missed() bool {
	if m.wish.state != wishAsked {
		return false
	}
	n := 0
	for ; n < len(m.queue) && m.queue[n].kind == ticketMap && m.queue[n].state == ticketBegun; n++ {
		if !m.queue[n].misses(m.lease.external) {
			return false
		}
	}
	return n > 0
}

// answerMaps answers the requests for a mapping that are at the head of the queue and
// begun. With an error each may still be answered from what was promised.
func (e *Engine) answerMaps(m *mapping, err error) {
	reverted := err != nil && !m.rule.letsIn(m.wish.remote)
	if reverted {
		e.admitOnly(m, m.wish.agreed) // Who did not want it changed is served as before.
	}
	n := 0
	for ; n < len(m.queue) && m.queue[n].kind == ticketMap && m.queue[n].state == ticketBegun; n++ {
		t := &m.queue[n]
		grant, failure := e.outcome(m, t, err, reverted)
		if failure == nil {
			m.agree(t)
		}
		e.answer(t, grant, failure)
	}
	m.queue = slices.Delete(m.queue, 0, n)
	if m.wish.wanted() {
		e.admitOnly(m, m.wish.agreed)
	}
	if n > 0 && (len(m.queue) > 0 || m.other() != nil) {
		e.touch(m.unit) // Others have their turns now.
	}
}

// grantFor returns what a client is told of a lease that was granted a while ago: the
// time that the router took since is not there any more.
func (e *Engine) grantFor(m *mapping, t *ticket) Grant {
	left := min(m.lease.granted, m.wish.requested, t.lifetime) - e.now.Sub(m.lease.since)
	return Grant{ExternalPort: m.lease.external, Lifetime: min(max(left.Round(time.Second), time.Second), t.lifetime)}
}

// conclude answers who can be answered, and tells of what has happened.
func (e *Engine) conclude(m *mapping) {
	switch m.wish.state {
	case wishAsked:
		if m.granted() && m.rule.state == ruleStanding && !e.unmatched(m) {
			e.made(m)
		}
	case wishStanding:
		e.served(m)
	case wishEnding:
		if m.rule.state == ruleAbsent && !m.lease.busy() {
			e.ended(m)
		}
	case wishNone, wishRenewing:
	}
	e.concludeEnd(m)
}

// made notes that both layers of a mapping stand.
func (e *Engine) made(m *mapping) {
	l, w := &m.lease, &m.wish
	m.created = l.since
	w.state, w.cause = wishStanding, 0
	// What the client is told is counted from now.
	w.until = later(w.lasts(l.since, l.granted), e.now.Add(e.grantFor(m, &m.queue[0]).Lifetime))
	l.nextAt = e.nextAsk(m)
	if l.state == leaseDoubtful { // The lease was lost while the rule was being made.
		l.nextAt = e.now
		e.touch(m.unit)
	}
	e.tell(EventCreated, m)
	e.answerMaps(m, nil)
}

// served answers renewals, unless the rule is being changed for what they are told, or has to be
// after the change that is under way, or the lease is given back for another inner port.
func (e *Engine) served(m *mapping) {
	unmatched := e.unmatched(m)
	if m.unit.move != nil || m.rule.state == ruleChanging && (unmatched || urgent(m.rule.have, m.rule.to)) {
		return
	}
	err := e.broken(m)
	if err == nil && unmatched {
		err = cmp.Or(m.rule.err, error(&Error{Hop: HopRouter, Reason: ReasonUnreachable, Err: errUnmatched}))
	}
	if m.news != 0 {
		untold := err != nil || !m.begun(ticketMap)
		e.tellMore(EventPortChanged, m, func(ev *Event) { ev.OldPort, ev.Untold = uint16(m.news), untold })
		m.news = 0
	}
	e.answerMaps(m, err)
}

// ended tells that a mapping has ended, when its rule is gone. What is left of its lease
// nobody sees.
func (e *Engine) ended(m *mapping) {
	e.tell(m.wish.cause, m)
	e.ports.unclaim(m.key, m.lease.external)
	m.wish.state, m.wish.cause = wishNone, 0
	e.ports.moved(m, former{})
}

// concludeEnd answers a request to end a mapping when both layers were tried.
func (e *Engine) concludeEnd(m *mapping) {
	if !m.begun(ticketEnd) || m.lease.busy() || m.ruleGoes() {
		return
	}
	err := m.queue[0].stays
	if m.wish.state == wishEnding || e.phase == phaseStopping { // A stop may leave the rule.
		err = cmp.Or(m.rule.err, err)
	}
	e.answer(&m.queue[0], Grant{}, err)
	m.queue = slices.Delete(m.queue, 0, 1)
	if len(m.queue) > 0 {
		e.touch(m.unit)
	}
}

// fail ends a mapping that could not be made, and answers who waited for it. What is half
// made is taken back after that: some programs give up for hours when an answer comes late.
func (e *Engine) fail(m *mapping, err error) {
	e.answerMaps(m, err)
	e.ports.unclaim(m.key, m.lease.external)
	if m.rule.state == ruleDoubtful {
		e.ports.moved(m, former{port: m.lease.external}) // It may take the packets for that port.
	}
	m.wish.state = wishNone
	switch { // It was being taken down when its client asked again.
	case m.wish.cause == 0:
	case m.rule.state == ruleAbsent:
		e.tell(m.wish.cause, m)
		m.wish.cause = 0
	default:
		m.wish.state = wishEnding
	}
	if l := &m.lease; l.state != leaseAsked {
		l.failures = 0
		l.nextAt = e.now
		if l.state == leaseDoubtful && e.phase != phaseStopping {
			l.nextAt = e.now.Add(retryFirst)
		}
	}
	m.rule.retryAt = e.now
	e.touch(m.unit)
}
