package nat

import (
	"errors"
	"time"
)

// admit says whether one more mapping may be made. What is left of others counts: it
// keeps an inner port from everybody else for as long as a lease may live.
func (e *Engine) admit(m *mapping) error {
	h := e.hosts[m.key.Client]
	switch {
	case e.occupied(m.key.Port()):
		return &Error{Reason: ReasonResources, Err: errSymmetric}
	case m.unit.counts(m.key.Protocol):
		return nil // It counts already.
	case e.size >= e.cfg.MaxMappings:
		return &Error{Reason: ReasonResources, Err: errTableFull}
	case h.counted >= e.cfg.MaxMappingsPerClient:
		return &Error{Reason: ReasonResources, Err: ErrClientFull}
	}
	return nil
}

// counts says whether the mapping of a protocol, or what is left of one, counts against
// the limits.
func (u *unit) counts(p Protocol) bool {
	if m := u.current[p.index()]; m != nil && (m.wish.state != wishNone || m.inner != 0) {
		return true
	}
	for _, m := range u.left {
		if m.key.Protocol == p && m.inner != 0 {
			return true
		}
	}
	return false
}

// recount puts a unit's mappings into the sums.
func (e *Engine) recount(u *unit) {
	n := 0
	for _, p := range Protocols() {
		if u.counts(p) {
			n++
		}
	}
	e.size += n - u.counted
	if h := e.hosts[u.port.Client]; h != nil {
		h.counted += n - u.counted
	}
	u.counted = n
}

// occupied says whether another client port has the one symmetric mapping, gets it, or
// had it and its rule may still be there.
func (e *Engine) occupied(port ClientPort) bool {
	if !e.cfg.Symmetric {
		return false
	}
	for _, u := range e.units {
		for _, m := range u.current {
			if u.port != port && m != nil && (m.wish.state != wishNone || m.rule.state != ruleAbsent) {
				return true
			}
		}
	}
	return false
}

// reserve chooses the inner port for a mapping that is to be made, from memory. If what is
// left of the mapping stands on a port that it cannot have any more, it is left alone and a
// new mapping gets the requests: then detached is true.
func (e *Engine) reserve(m *mapping, t *ticket) (detached bool, err error) {
	port := m.key.Port()
	if m.inner != 0 {
		if m.wish.state == wishEnding || e.ports.usable(m.inner, port, m.key.Protocol) {
			return false, nil
		}
		u := m.unit
		fresh := &mapping{key: m.key, unit: u, queue: m.queue}
		u.current[m.key.Protocol.index()], m.queue = fresh, nil
		u.left = append(u.left, m)
		e.touch(u)
		return true, nil
	}
	var have uint16
	if other := m.other(); other != nil && other.wish.state != wishNone {
		have = other.inner
	}
	for _, l := range m.unit.left {
		if l.key == m.key && l.inner != 0 && e.ports.usable(l.inner, port, m.key.Protocol) {
			e.takeOver(m, l)
			return false, nil
		}
	}
	inner, ok := e.ports.take(m.key, have, e.ports.pool.inner(m.key.Protocol, t.suggested), e.ports.same(m.key, t))
	if !ok {
		return false, &Error{Reason: ReasonResources, Err: e.ports.noInnerPort(m.key)}
	}
	m.inner = inner
	return false, nil
}

// takeOver gives a new mapping what is left of an earlier one of its key: its lease may live.
func (e *Engine) takeOver(m, left *mapping) {
	m.inner, m.lease, m.rule = left.inner, left.lease, left.rule
	left.inner, left.lease, left.rule = 0, lease{}, rule{}
}

// makeRoom ends the mapping that is held for nobody for the longest, if the gateway has no
// port left for somebody new, and says whether it did.
func (e *Engine) makeRoom(m *mapping, failure error) bool {
	err, ok := errors.AsType[*Error](failure)
	if !ok || err.Reason != ReasonResources || e.cfg.Policy != PolicyAuto {
		return false
	}
	var oldest *mapping
	for _, other := range e.all() {
		if other.wish.policy == PolicyAuto && other.wish.state == wishStanding && !other.waitedFor() &&
			e.now.Sub(other.wish.asked) > other.lease.granted && (oldest == nil || other.wish.asked.Before(oldest.wish.asked)) {
			oldest = other
		}
	}
	if oldest == nil {
		return false
	}
	e.endWish(oldest, EventEvicted)
	m.lease.nextAt = time.Time{}
	e.waiting = append(e.waiting, m)
	return true
}

// roomMade asks again for those for whom there was no room.
func (e *Engine) roomMade() {
	for _, m := range e.waiting {
		if m.wish.state == wishAsked && !m.lease.busy() && !m.granted() {
			m.lease.nextAt = e.now
			e.touch(m.unit)
		}
	}
	e.waiting = e.waiting[:0]
}

// provenFor is how long doublenat remembers that a client does not renew in time, since it
// last proved it.
const provenFor = 24 * time.Hour

// policyFor returns who keeps the mapping that its client asks for now.
func (e *Engine) policyFor(m *mapping) LeasePolicy {
	if m.wish.asker.way == IGD {
		return PolicyHold
	}
	if e.cfg.Policy != PolicyAuto {
		return e.cfg.Policy
	}
	h := e.hosts[m.key.Client]
	if e.expired[m.key].After(e.now) {
		h.proven = e.now.Add(provenFor)
		delete(e.expired, m.key)
	}
	if h.proven.After(e.now) {
		return PolicyAuto
	}
	return PolicyClient
}

// forgetProven bounds how many clients without a mapping are remembered.
func (e *Engine) forgetProven() {
	if len(e.hosts) < 2*e.cfg.MaxMappings {
		return
	}
	for addr, h := range e.hosts {
		if len(h.units) == 0 {
			delete(e.hosts, addr)
		}
	}
}

// remember notes a mapping that expired although its client had asked for longer.
func (e *Engine) remember(m *mapping, cause EventKind) {
	until := m.wish.asked.Add(m.wish.requested)
	if e.cfg.Policy != PolicyAuto || cause != EventExpired || m.wish.policy.holds() || !until.After(e.now) {
		return
	}
	if len(e.expired) >= 2*e.cfg.MaxMappings {
		for key, over := range e.expired {
			if !over.After(e.now) {
				delete(e.expired, key)
			}
		}
	}
	if len(e.expired) < 2*e.cfg.MaxMappings {
		e.expired[m.key] = until
	}
}
