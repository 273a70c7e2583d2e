package nat

import (
	"cmp"
	"log/slog"
	"time"
)

// carryOutLease begins what decide wants of a lease.
func (e *Engine) carryOutLease(m *mapping, step leaseStep) {
	switch step {
	case leaseAsk:
		e.askLease(m)
	case leaseGiveBack:
		m.lease.state, m.lease.op, m.lease.nextAt = leaseReturning, e.op(m), e.now
		e.do(ReleaseAction{
			Op: m.lease.op, Protocol: m.key.Protocol, Inner: m.inner, Deadline: e.until(releaseTime(m)), For: m.urgency(),
		})
	case leaseLapse:
		m.lease.released()
	case leaseWait:
	}
}

// releaseTime returns how long a release may take: some gateways serve one request after
// the other, and whoever waits for it cannot wait for long.
func releaseTime(m *mapping) time.Duration {
	if m.lease.failures > 0 && m.wish.state == wishNone {
		return refreshTimeout
	}
	return undoTimeout
}

// urgency says whether a client waits for the mapping.
func (m *mapping) urgency() Urgency {
	if len(m.queue) > 0 {
		return Foreground
	}
	return Background
}

// until returns when an action that may take so long has to end. At the stop it is the
// stop's end.
func (e *Engine) until(d time.Duration) time.Time {
	if e.phase == phaseStopping {
		return e.stop.deadline
	}
	return e.now.Add(d)
}

// askLease asks the gateway for a mapping's lease.
func (e *Engine) askLease(m *mapping) {
	l, w := &m.lease, &m.wish
	lifetime, deadline := e.cfg.clamp(w.requested), e.now.Add(refreshTimeout)
	if w.state == wishAsked {
		deadline = w.deadline
	}
	if w.policy == PolicyHold && w.stands() && !m.waitedFor() {
		lifetime = min(lifetime, w.until.Sub(e.now)).Truncate(time.Second)
	}
	if lifetime < time.Second {
		l.nextAt = time.Time{} // What is left is not worth a lease.
		return
	}
	if l.tries > 0 {
		m.echo = 0 // Another port is wanted: what moves with it is no echo.
	}
	external := cmp.Or(l.suggested, l.external)
	if other := m.other(); w.state == wishAsked && w.cause == 0 && l.tries == 0 && other != nil && other.wish.stands() {
		external = other.lease.external // RFC 6886 §3.3
	}
	l.state, l.op, l.asking, l.nextAt = leaseAsked, e.op(m), lifetime, time.Time{}
	m.unit.asking, m.unit.asked, m.unit.next = m, e.now, m.key.Protocol.Other().index()
	e.do(LeaseAction{
		Op: l.op, Deadline: deadline, For: m.urgency(),
		Request: LeaseRequest{
			Protocol: m.key.Protocol, InnerPort: m.inner, ExternalPort: external, Lifetime: lifetime,
			Renewal: w.stands() || w.cause != 0,
		},
	})
}

// leaseDone takes in what the gateway said to a request for a lease.
func (e *Engine) leaseDone(in LeaseDone) {
	m := e.done(in.Op)
	if m == nil {
		return
	}
	m.unit.asking = nil
	if in.Err == nil {
		m.unit.took = e.now.Sub(m.unit.asked)
	}
	l := &m.lease
	got := in.Lease.within(l.asking)
	if got.longer > 0 {
		e.raised = max(e.raised, min(in.Lease.Lifetime, e.cfg.MaxLifetime))
	}
	switch {
	case in.Err != nil:
		e.leaseFailed(m, in.Err)
	case !m.wish.wanted():
		l.settle(e.now, true)
		l.mayLive = later(l.mayLive, got.mayLive(e.now))
	default:
		if cause := e.claim(m, got.ExternalPort); cause != nil {
			e.cannotUse(m, got, cause)
		} else {
			e.leased(m, got)
			e.part(m)
			if m.unit.asked.Before(e.recovery.lost) { // It may have been granted before that.
				l.doubt(e.now)
				l.nextAt = e.now
			}
		}
		if m.missed() {
			e.fail(m, &Error{Hop: HopGateway, Reason: ReasonPort, Err: errOtherPort})
		}
	}
	if e.phase == phaseStopping {
		l.nextAt = e.now // What may be left is given back at once.
	}
	e.proceed(m)
}

// leased notes a lease that was granted.
func (e *Engine) leased(m *mapping, got Lease) {
	l, w := &m.lease, &m.wish
	old := l.external
	if old != got.ExternalPort && old != 0 {
		e.ports.unclaim(m.key, old)
		if w.stands() {
			// Packets for the old port may come as long as its lease would have stood.
			e.ports.moved(m, former{old, l.until})
			m.news = news(old)
		}
	}
	l.grant(got, e.now)
	if old != got.ExternalPort {
		e.doubtOther(m, got.ExternalPort)
	}
	m.echo = 0
	if !w.stands() {
		return // Until both layers stand nothing is promised.
	}
	granted := got.Lifetime
	if w.policy.holds() && !m.waitedFor() {
		granted = 0 // Nobody hears of it: who asked was answered from the table.
	}
	w.confirm(e.now, granted)
	l.nextAt = e.nextAsk(m)
}

// inTheMaking is how much later a mapping may end than its lease because its rule took so long.
const inTheMaking = 10 * time.Second

// nextAsk returns when the lease is to be asked for again without the client: never, or
// at half of its lifetime (RFC 6886 §3.3) and a little jitter, so that the leases
// made at once do not stay in step. If the client keeps the mapping, that is for a promise, for
// a lease that was lost and is shorter now than the client was told, and with a gateway that
// takes long.
func (e *Engine) nextAsk(m *mapping) time.Time {
	l, w := &m.lease, &m.wish
	end := w.until
	if !w.policy.holds() {
		if at := e.ahead(m); !at.IsZero() {
			return at
		}
		if w.until.Sub(l.until) < inTheMaking {
			end = w.promised
		}
	}
	if !l.until.Before(end) {
		return time.Time{}
	}
	half := l.granted / 2
	return l.since.Add(half - time.Duration(e.cfg.Random()*float64(half)/10))
}

// ahead returns when to ask for a lease shortly before its client does, zero for not at all.
// If the gateway takes longer than a renewal may wait, the client would be told each time
// what is left of the last lease, and ask the more often. Asked ahead, once for each time
// that the client asked, the gateway has granted a new lease by then.
func (e *Engine) ahead(m *mapping) time.Time {
	w := &m.wish
	if m.unit.took <= e.cfg.AnswerBudget {
		return time.Time{}
	}
	end := w.until
	if !w.promised.IsZero() {
		end = w.promised
	}
	half := end.Sub(w.asked) / 2
	at := w.asked.Add(half - half/8 - 2*m.unit.took)
	if !at.After(m.lease.since) {
		return time.Time{}
	}
	return at
}

// maxEchoes bounds how often a changed port makes the other protocol's lease be asked for,
// whose change makes this one's be asked for, and so on: some gateways change the port with
// each request.
const maxEchoes = 2

// doubtOther asks for the other protocol's lease again, because the gateway granted this
// one another external port, be it one that cannot be used: a gateway that gives both
// protocols one port has moved both (RFC 6886 §3.3), and the rule that is wrong now cannot
// wait for the client.
func (e *Engine) doubtOther(m *mapping, external uint16) {
	other := m.other()
	if other == nil || !other.wish.stands() || other.lease.external == external || m.echo >= maxEchoes {
		return
	}
	other.lease.nextAt, other.echo = e.now, m.echo+1
}

// leaseFailed notes a request without success. A mapping that stands does so as long as
// it would have: a gateway that is out of reach may be back before, and one that says no
// now may still hold the lease that it granted.
func (e *Engine) leaseFailed(m *mapping, err error) {
	l, w := &m.lease, &m.wish
	if e.yield(m, err) {
		return
	}
	said := !l.deniedAt.IsZero()
	l.fail(err, e.now, max(l.asking, e.raised))
	l.settle(e.now, w.stands() || w.state == wishEnding)
	switch {
	case w.state == wishAsked && e.makeRoom(m, err):
	case w.state == wishAsked:
		e.fail(m, err)
	case w.stands():
		if !said && !l.deniedAt.IsZero() {
			e.warn("renewal_refused", "gateway refused to renew the lease, retrying", m, "external_port", l.external, "error", err)
		}
		waited := m.waitedFor()
		e.answerMaps(m, err)
		e.loseRefused(m, waited)
	}
}

// loseRefused ends a mapping without a lease to which the gateway goes on saying no:
// nothing stands behind its rule, and nobody holds it.
func (e *Engine) loseRefused(m *mapping, waited bool) {
	l := &m.lease
	if !waited && !m.wish.policy.holds() && !l.deniedAt.IsZero() && e.now.Sub(l.deniedAt) >= refusalGrace && !l.until.After(e.now) {
		e.endWish(m, EventLost)
	}
}

// cannotUse notes a lease whose port is somebody else's. It is given back, and for the
// gateway that was the mapping's only one; another one is asked for, a few times.
func (e *Engine) cannotUse(m *mapping, got Lease, cause error) {
	l := &m.lease
	if m.wish.state == wishAsked {
		e.warn("grant_refused", "the gateway granted a port that cannot be used", m, "external_port", got.ExternalPort, "error", cause)
	}
	if m.wish.stands() && l.tries == 0 {
		e.doubtOther(m, got.ExternalPort)
	}
	l.tries++
	l.err = refusedGrant(cause)
	l.state, l.until, l.mayLive = leaseRefused, time.Time{}, got.mayLive(e.now)
}

// claim notes that the gateway granted a port to the mapping, unless it is somebody else's:
// also one that was, whose rule still takes the packets for it. As the gateway has given it
// away, nobody sends to that any more: it takes them no longer, and the port can be had soon.
func (e *Engine) claim(m *mapping, external uint16) error {
	if holder := e.ports.lately(outerPort{m.key.Protocol, external}); holder != nil && holder != m {
		holder.former.until, holder.rule.mendAt = e.now, e.now
		e.touch(holder.unit)
		return errPortConflict
	}
	return e.ports.claim(m.key, external)
}

// releaseDone takes in what the gateway said to a release.
func (e *Engine) releaseDone(in ReleaseDone) {
	m := e.done(in.Op)
	if m == nil {
		return
	}
	l := &m.lease
	stopped := e.noteRelease(m, in.Err)
	switch {
	case in.Err == nil && l.again.After(e.now):
		l.released()
		l.state, l.mayLive, l.nextAt, l.again = leaseDoubtful, l.again, e.now.Add(retryFirst), time.Time{}
	case in.Err == nil || stopped:
		l.released()
	default:
		l.state = leaseDoubtful
		l.failures++
		l.nextAt = e.now
		if e.phase != phaseStopping {
			l.nextAt = e.now.Add(backoff(l.failures))
		}
	}
	if in.Err != nil {
		e.debug("releasing a lease", m, "error", in.Err)
	}
	if l.tries > 0 && m.wish.wanted() {
		e.askForAnother(m)
	}
	if m.unit.move != nil {
		e.vacated(m, in.Err)
	}
	e.roomMade()
	e.proceed(m)
}

// askForAnother asks for another external port after one that could not be used, or gives
// up.
func (e *Engine) askForAnother(m *mapping) {
	l := &m.lease
	if l.tries < grantTries {
		l.nextAt, l.suggested = e.now, e.anyPort()
		return
	}
	l.tries = 0
	e.leaseFailed(m, l.err)
}

// anyPort returns a port from 1024 up to suggest.
func (e *Engine) anyPort() uint16 { return uint16(1024 + e.cfg.Random()*(65535-1024)) }

// recovery is how all leases are asked for again after the gateway lost its state: one
// after the other (RFC 6886 §3.7).
type recovery struct {
	// lost is when the gateway lost its state last.
	lost time.Time
	// at is when it begins; zero for never, or while it is under way.
	at time.Time
	// list are the mappings whose leases are still to be asked for; asking is the one for
	// which that is under way.
	list   []*mapping
	asking *mapping
}

// loseState notes that no lease is known to stand any more, whatever end it was granted:
// a mapping whose lease is refused now has none. The mappings themselves live on as long
// as they would have. A stop asks for no lease.
func (e *Engine) loseState(text string, wait time.Duration) {
	if e.phase >= phaseStopping {
		return
	}
	list := e.all()
	e.recovery = recovery{lost: e.now, at: e.now.Add(wait)}
	for _, m := range list {
		if !m.wish.wanted() {
			continue
		}
		m.lease.doubt(e.now)
		e.touch(m.unit)
		if m.wish.stands() {
			e.recovery.list = append(e.recovery.list, m)
		}
	}
	e.do(LogAction{Level: slog.LevelWarn, Text: text, Args: []any{"mappings", len(e.recovery.list)}})
	if wait == 0 {
		e.recover()
	}
}

// recover asks for the next lease.
func (e *Engine) recover() {
	r := &e.recovery
	r.at, r.asking = time.Time{}, nil
	for len(r.list) > 0 && r.asking == nil {
		m := r.list[0]
		r.list = r.list[1:]
		if m.wish.stands() {
			r.asking, m.lease.nextAt = m, e.now
			e.touch(m.unit)
		}
	}
}

// proceed goes on with the recovery when the mapping was its present one. If the gateway
// is out of reach all others have their turns as it allows.
func (e *Engine) proceed(m *mapping) {
	r := &e.recovery
	if r.asking != m || m.lease.busy() || m.lease.state == leaseRefused {
		return
	}
	if m.lease.failures == 0 || !unreachable(m.lease.err) {
		e.recover()
		return
	}
	for _, m := range r.list {
		if m.wish.stands() {
			m.lease.nextAt = sooner(m.lease.nextAt, e.now.Add(retryFirst))
			e.touch(m.unit)
		}
	}
	e.recovery = recovery{lost: r.lost}
}

// gatewayBack tries the requests that failed at once, and not when their waits are over.
func (e *Engine) gatewayBack() {
	for _, m := range e.all() {
		if m.wish.stands() && m.lease.failures > 0 && !m.lease.busy() {
			m.lease.nextAt = sooner(m.lease.nextAt, e.now)
			e.touch(m.unit)
		}
	}
}
