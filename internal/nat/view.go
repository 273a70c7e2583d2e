package nat

import (
	"net/netip"
	"slices"
	"time"
)

// Status is how the service stands.
type Status struct {
	// Mappings is the size of the table.
	Mappings int
	// Debts counts leases and rules that ended and could not be taken back yet.
	Debts int
	// ReconcileAttempt and ReconcileSuccess are when the router was last asked for
	// its rules and when it last answered and all changes succeeded; zero for never.
	ReconcileAttempt, ReconcileSuccess time.Time
	// ReconcileError is what the last reconcile met; nil after a success.
	ReconcileError error
	// RulesChanged counts rules that reconciling added, changed or removed.
	RulesChanged uint64
	// ContestedSince is since when something else keeps changing doublenat's rules; zero
	// while nobody does.
	ContestedSince time.Time
	// TakenBy names a rule of somebody else on whose port a mapping stands that cannot
	// move, or that leaves no port for new ones; "" for none.
	TakenBy string
}

// Status returns how the engine stands.
func (e *Engine) Status() Status {
	r := &e.reader
	st := Status{
		ReconcileAttempt: r.attempt, ReconcileSuccess: r.success, ReconcileError: r.last, RulesChanged: r.total,
		ContestedSince: r.feud.since, TakenBy: e.ports.blocker,
	}
	for _, m := range e.unordered() {
		switch {
		case m.visible():
			st.Mappings++
			if e.stuck(m) {
				st.TakenBy = max(st.TakenBy, e.ports.taker(m.key.Protocol, m.inner))
			}
		case m.wish.state == wishNone && m.inner != 0 && (m.lease.state != leaseAbsent || m.rule.state != ruleAbsent):
			st.Debts++
		}
	}
	return st
}

// Mappings returns all mappings, ordered by key.
func (e *Engine) Mappings() []Mapping {
	list := make([]Mapping, 0, len(e.units))
	for _, m := range e.all() {
		if m.visible() {
			list = append(list, m.view())
		}
	}
	return list
}

// Mapping returns one mapping, and false if there is none.
func (e *Engine) Mapping(key Key) (Mapping, bool) {
	if m := e.seen(key); m != nil {
		return m.view(), true
	}
	return Mapping{}, false
}

// keysOf returns the keys of a client and protocol that have a mapping or get one.
func (e *Engine) keysOf(client netip.Addr, p Protocol) []Key {
	var keys []Key
	h := e.hosts[client]
	if h == nil {
		return nil
	}
	for _, u := range h.units {
		if m := u.current[p.index()]; m != nil && (m.visible() || len(m.queue) > 0) {
			keys = append(keys, m.key)
		}
	}
	slices.SortFunc(keys, Key.Compare)
	return keys
}

// foreignOf returns an error if a rule of somebody else forwards a port of the client.
func (e *Engine) foreignOf(client netip.Addr, p Protocol) error {
	if slices.ContainsFunc(e.reader.forwards, func(f Forward) bool { return f.Key.Client == client && f.Key.Protocol == p }) {
		return &Error{Reason: ReasonDenied, Err: errForeignForward}
	}
	return nil
}

// Status returns how the service stands.
func (s *Service) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.engine.Status()
}

// Mappings returns all mappings, ordered by key.
func (s *Service) Mappings() []Mapping {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.engine.Mappings()
}

// Mapping returns one mapping, and false if there is none.
func (s *Service) Mapping(key Key) (Mapping, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.engine.Mapping(key)
}
