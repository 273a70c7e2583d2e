package nat

import "time"

// leaseStep is what has to be done next about a mapping's lease.
type leaseStep uint8

const (
	// leaseWait is nothing, now.
	leaseWait leaseStep = iota
	// leaseAsk asks for it, for the first time or again.
	leaseAsk
	// leaseGiveBack releases it.
	leaseGiveBack
	// leaseLapse is one that is over whatever the gateway says: it is given up.
	leaseLapse
)

// String returns the step in a few words.
func (s leaseStep) String() string { return [...]string{"-", "ask", "give back", "lapse"}[s] }

// ruleStep is what has to be done next about a mapping's rule.
type ruleStep uint8

const (
	// ruleWait is nothing, now.
	ruleWait ruleStep = iota
	// ruleAdd makes it.
	ruleAdd
	// ruleChange changes it in place.
	ruleChange
	// ruleRead reads the router, which shows how it stands.
	ruleRead
	// ruleRemove removes it in every form that it may have.
	ruleRemove
)

// String returns the step in a few words.
func (s ruleStep) String() string { return [...]string{"-", "add", "change", "read", "remove"}[s] }

// decide is the one place that knows what has to happen next to the layers of a mapping.
// It looks at states, never at how they came about.
func (e *Engine) decide(m *mapping) (leaseStep, ruleStep) {
	switch {
	case !m.wish.wanted():
		return e.unwantedLease(m), e.unwantedRule(m)
	case e.phase >= phaseStopping:
		return leaseWait, ruleWait // It is kept for the next start as it stands.
	default:
		return e.wantedLease(m), e.wantedRule(m)
	}
}

func (e *Engine) wantedLease(m *mapping) leaseStep {
	l, u := &m.lease, m.unit
	switch {
	case l.busy():
		return leaseWait
	case l.state == leaseRefused:
		return leaseGiveBack
	case u.move != nil && l.state == leaseAbsent:
		return leaseWait // until the other protocol's is given back too
	case u.move != nil:
		return leaseGiveBack
	case l.nextAt.IsZero() || l.nextAt.After(e.now) || !m.hasTurn():
		return leaseWait
	default:
		return leaseAsk
	}
}

// hasTurn says whether nothing is under way for the other protocol of the client port that
// its client waits for: the gateway may change the ports of both with each request.
func (m *mapping) hasTurn() bool {
	other := m.other()
	if m.unit.asking != nil || other == nil || !other.waitedFor() {
		return m.unit.asking == nil
	}
	making := other.wish.state == wishAsked && other.granted()
	return !making && !other.rule.busy() && other.news == 0
}

func (e *Engine) unwantedLease(m *mapping) leaseStep {
	l := &m.lease
	switch {
	case l.busy() || l.state == leaseAbsent:
		return leaseWait
	case l.failures > 0 && !l.lives().After(e.now):
		return leaseLapse
	case l.nextAt.After(e.now):
		return leaseWait
	default:
		return leaseGiveBack
	}
}

func (e *Engine) wantedRule(m *mapping) ruleStep {
	switch r := &m.rule; r.state {
	case ruleAbsent:
		if m.granted() && !m.unit.removing() {
			return ruleAdd
		}
	case ruleStanding:
		if e.changeDue(m) {
			return ruleChange
		}
	case ruleDoubtful:
		if m.granted() && !m.moving() { // Until then a look tells nothing of it.
			return ruleRead
		}
	case ruleMissing, ruleMeddled: // The next look decides.
	case ruleAdding, ruleChanging, ruleRemoving:
	}
	return ruleWait
}

func (e *Engine) unwantedRule(m *mapping) ruleStep {
	r := &m.rule
	switch {
	case r.busy() || r.state == ruleAbsent || e.stop.waits():
		return ruleWait
	case r.unknown() && m.wish.state == wishNone && e.phase == phaseRunning:
		return ruleRead
	case r.retryAt.After(e.now):
		return ruleWait
	default:
		return ruleRemove
	}
}

// granted says whether the gateway has granted a lease to what is wanted now.
func (m *mapping) granted() bool {
	if m.wish.state != wishAsked {
		return m.wish.stands()
	}
	return (m.lease.state == leaseHeld || m.lease.state == leaseDoubtful) && !m.lease.since.IsZero()
}

// changeDue says whether a rule that stands is to be changed now: at once if packets for
// the mapping depend on it, and else when a look said so.
func (e *Engine) changeDue(m *mapping) bool {
	r := &m.rule
	want := e.ruleOf(m)
	if !needsUpdate(r.have, want) {
		r.mendAt, r.err = time.Time{}, nil // What failed is not wanted any more.
		return false
	}
	if !m.granted() || m.lease.busy() && r.have.InnerPort != m.inner {
		return false // Both ports are written at once.
	}
	if !r.mendAt.IsZero() && !r.mendAt.After(e.now) {
		return true
	}
	// What failed is tried again after a look, and once for a client that asked: it is
	// answered before the next try, unless the mapping has to move first.
	return urgent(r.have, want) && (r.err == nil || m.wish.state == wishStanding && m.begun(ticketMap) && m.unit.move == nil)
}

// urgent says whether packets for the ports that a rule should match miss it as it is, or
// packets that it should not match do not, or the next start would not know what was promised.
func urgent(have, want Rule) bool {
	return forgets(have, want) || have.Remote != want.Remote || have.Target() != want.Target() || have.Displaced || have.Edited || !have.Match.covers(want.Match)
}

// due returns when the mapping has to be looked at without an event, zero for never. What
// waits for an event, such as a reply, is not due.
func (e *Engine) due(m *mapping) time.Time {
	var at time.Time
	for i := range m.queue {
		if t := &m.queue[i]; t.tableAt.After(e.now) { // Later it is tried with whatever happens.
			at = sooner(at, t.tableAt)
		}
		at = sooner(at, m.queue[i].deadline)
	}
	switch {
	case !m.wish.wanted():
		return sooner(at, e.dueUnwanted(m))
	case e.phase >= phaseStopping:
		return at
	default:
		return sooner(at, e.dueWanted(m))
	}
}

func (e *Engine) dueWanted(m *mapping) (at time.Time) {
	if !m.lease.busy() && m.hasTurn() && m.unit.move == nil {
		at = m.lease.nextAt
	}
	switch {
	case m.wish.state == wishAsked && (m.lease.busy() || m.rule.busy()):
	case m.wish.state == wishAsked:
		at = sooner(at, m.late())
	case m.lease.state != leaseAsked && !m.waitedFor():
		at = sooner(at, m.ends())
	}
	if m.rule.state == ruleStanding {
		at = sooner(at, m.rule.mendAt)
	}
	return at
}

func (e *Engine) dueUnwanted(m *mapping) (at time.Time) {
	if l := &m.lease; !l.busy() && l.state != leaseAbsent {
		at = l.nextAt
		if l.failures > 0 {
			at = sooner(at, l.lives())
		}
	}
	if r := &m.rule; !r.busy() && r.state != ruleAbsent && !e.stop.waits() && (!r.unknown() || m.wish.state != wishNone || e.phase != phaseRunning) {
		at = sooner(at, r.retryAt)
	}
	return at
}

// sooner returns the earlier of two times of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
