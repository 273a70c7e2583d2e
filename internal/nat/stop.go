package nat

import (
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// stopState is how far the stop has come.
type stopState uint8

const (
	// stopNone is that nobody wants one.
	stopNone stopState = iota
	// stopBegun waits for the look at the router, and stopReading for its outcome: the
	// rules that go are those that the router has, so that none is left of which the
	// outcome was unknown. If it does not say, they are those that are known of.
	stopBegun
	stopReading
	// stopRemoving takes down what there is.
	stopRemoving
)

// stop is the taking down of everything, side by side and within a bounded time.
type stop struct {
	state    stopState
	deadline time.Time
	// before is the last action that was begun before the stop.
	before OpID
	// mappings is how many are taken down.
	mappings int
	// rules and leases have one entry for each that was tried: nil, or why it is left.
	rules, leases []error
}

// waits says whether the rules wait for the look at the router.
func (s *stop) waits() bool { return s.state == stopBegun || s.state == stopReading }

// begin begins the stop. What is kept for the next start are the mappings: what was being
// taken back when the stop came still is, for the next start would take it for a mapping.
func (e *Engine) begin(in Stop) {
	if e.phase >= phaseStopping {
		return
	}
	e.phase, e.recovery = phaseStopping, recovery{}
	e.stop = stop{state: stopRemoving, deadline: in.Deadline, before: e.lastOp}
	kept := 0
	for _, m := range e.all() {
		if e.stopOne(m) {
			kept++
		}
	}
	e.reader.at = time.Time{}
	if e.stop.state == stopBegun {
		e.reader.at = e.now
	}
	if e.reader.reading() {
		e.do(InterruptAction{Op: e.reader.op})
	}
	if e.cfg.KeepOnShutdown {
		e.do(LogAction{Level: slog.LevelInfo, Text: "leaving rules and leases in place for the next start", Args: []any{"mappings", kept}})
	}
}

// stopOne begins the stop for one mapping and says whether it is kept. What is under way
// is interrupted: what has to be taken down is tried once more.
func (e *Engine) stopOne(m *mapping) (kept bool) {
	m.queue = slices.DeleteFunc(m.queue, func(t ticket) bool {
		if t.kind == ticketMap {
			e.answer(&t, Grant{}, &Error{Reason: ReasonUnreachable, Err: errStopped})
		}
		return t.kind == ticketMap
	})
	e.touch(m.unit)
	if m.lease.busy() {
		e.do(InterruptAction{Op: m.lease.op})
	}
	if m.rule.busy() {
		e.do(InterruptAction{Op: m.rule.op})
	}
	m.unit.move = nil
	switch {
	case m.wish.stands() && e.cfg.KeepOnShutdown:
		return true
	case m.wish.stands():
		e.endWish(m, EventShutdown)
		e.stop.mappings++
	case m.wish.state == wishAsked:
		e.fail(m, errStopped)
	case m.wish.state == wishEnding:
		e.stop.mappings++
	}
	m.lease.nextAt, m.rule.retryAt = e.now, e.now
	if m.rule.state != ruleAbsent && !e.cfg.KeepOnShutdown {
		e.stop.state = stopBegun
	}
	return false
}

// readAtStop takes in which rules there are to be removed. Those with our mark may be
// another doublenat's in a feud.
func (e *Engine) readAtStop(in ReadDone) {
	e.reader.state = readIdle
	if e.stop.state != stopReading {
		if e.stop.state == stopBegun {
			e.reader.at = e.now // That was the look before the stop.
		}
		return
	}
	e.stop.state = stopRemoving
	var rules []Rule
	for _, r := range in.Snapshot.Rules {
		if !r.Alien || e.reader.feud.since.IsZero() {
			rules = append(rules, r)
		}
	}
	for _, m := range e.all() {
		e.touch(m.unit)
		if m.rule.busy() || m.rule.state == ruleAbsent || in.Err != nil {
			continue
		}
		i := slices.IndexFunc(rules, func(r Rule) bool { return r.Key == m.key }) // Of several all go.
		if i < 0 {
			m.rule = rule{}
			continue
		}
		m.rule.see(rules[i], e.reader.number)
		m.rule.forms = nil
		rules = slices.Delete(rules, i, i+1)
	}
	for _, r := range rules {
		m := e.leave(r.Key, 0)
		m.rule = rule{state: ruleStanding, have: r}
	}
}

// noteRemoval notes what came of the removal of a rule during the stop, and says whether
// it is given up: a router that says no is asked once, one that fails now and then as long
// as there is time.
func (e *Engine) noteRemoval(m *mapping, err error) (givenUp bool) {
	if e.phase != phaseStopping {
		return false
	}
	if err != nil && m.rule.op <= e.stop.before {
		m.rule.failures = -1 // It was interrupted, and is tried now.
		return false
	}
	if err != nil && unreachable(err) && e.now.Add(e.backoff(m.rule.failures+1)).Before(e.stop.deadline) {
		return false
	}
	e.stop.rules = append(e.stop.rules, err)
	return err != nil
}

// noteRelease is the same for a lease. Some gateways serve one request after the other,
// and a stop asks for everything at once: one that takes its time is asked again, one that
// says no or is not there is not.
func (e *Engine) noteRelease(m *mapping, err error) (givenUp bool) {
	if e.phase != phaseStopping {
		return false
	}
	if err != nil && m.lease.op <= e.stop.before {
		return false // It was interrupted, and is tried now.
	}
	if err != nil && unreachable(err) && e.now.Sub(m.lease.nextAt) >= time.Second && e.now.Before(e.stop.deadline) {
		return false
	}
	e.stop.leases = append(e.stop.leases, err)
	return err != nil
}

// finish ends the stop when nothing is left, or no time.
func (e *Engine) finish() {
	if e.phase != phaseStopping || e.stop.state != stopRemoving || len(e.ops) > 0 || e.reader.reading() {
		return
	}
	late := !e.now.Before(e.stop.deadline)
	for _, m := range e.all() {
		if m.wish.stands() {
			continue // It is kept.
		}
		left := m.rule.state != ruleAbsent || m.lease.state != leaseAbsent
		if left && !late {
			return
		}
		e.giveUp(m)
	}
	e.phase = phaseStopped
	rules, leases := several("rules not removed", e.stop.rules), several("leases not released", e.stop.leases)
	if !e.cfg.KeepOnShutdown {
		e.do(LogAction{Level: slog.LevelInfo, Text: "took down all mappings", Args: []any{"mappings", e.stop.mappings, "complete", rules == nil && leases == nil}})
	}
	err := rules
	switch {
	case rules != nil && leases != nil:
		err = fmt.Errorf("%w; %w", rules, leases)
	case rules == nil:
		err = leases
	}
	e.do(StoppedAction{Err: err})
}

// giveUp notes what is left of a mapping at the end.
func (e *Engine) giveUp(m *mapping) {
	if m.rule.state != ruleAbsent {
		e.stop.rules = append(e.stop.rules, orLate(m.rule.err))
	}
	if m.lease.state != leaseAbsent {
		e.stop.leases = append(e.stop.leases, orLate(m.lease.err))
	}
	if m.wish.state == wishEnding {
		e.ended(m)
	}
	for i := range m.queue {
		e.answer(&m.queue[i], Grant{}, &Error{Reason: ReasonUnreachable, Err: errStopped})
	}
	m.queue = nil
}

func orLate(err error) error {
	if err == nil {
		return &Error{Reason: ReasonUnreachable, Err: errStopped}
	}
	return err
}
