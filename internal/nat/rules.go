package nat

import (
	"log/slog"
	"slices"
	"time"
)

// ruleOf returns the rule as it should be for a mapping.
func (e *Engine) ruleOf(m *mapping) Rule {
	former := m.former.port
	if !m.former.until.After(e.now) || e.ports.outer[outerPort{m.key.Protocol, former}] != (Key{}) {
		former = 0
	}
	want := Rule{
		Key: m.key, InnerPort: m.inner, ExternalPort: m.lease.external, Lifetime: m.rule.have.Lifetime,
		Match: e.ports.match(m.key, m.inner, m.lease.external, former), Remote: m.wish.remote,
	}
	if m.wish.asker.way == IGD {
		want.By = IGD
	}
	if m.rule.have == (Rule{}) || m.rule.have.By != want.By || want.By == IGD && want.Lifetime < m.wish.requested {
		// What another protocol asked for is not how long it is held.
		want.Lifetime = m.wish.requested
	}
	return want
}

// carryOutRule begins what decide wants of a rule.
func (e *Engine) carryOutRule(m *mapping, step ruleStep) {
	r := &m.rule
	switch step {
	case ruleAdd:
		e.addRule(m)
	case ruleChange:
		r.state, r.op, r.to, r.mendAt = ruleChanging, e.op(m), withID(e.ruleOf(m), r.have.ID), time.Time{}
		e.inRound(m)
		e.do(ChangeAction{Op: r.op, Found: r.have, Want: r.to, Deadline: e.now.Add(changeTime), For: m.urgency()})
	case ruleRead:
		e.lookFor(m)
	case ruleRemove:
		r.state, r.op = ruleRemoving, e.op(m)
		e.inRound(m)
		e.do(RemoveAction{Op: r.op, Forms: r.all(), Deadline: e.until(removeTimeout), For: m.urgency()})
	case ruleWait:
	}
}

func (e *Engine) addRule(m *mapping) {
	r := &m.rule
	if m.wish.state == wishAsked {
		r.have = Rule{} // What it was asked for before does not count.
	}
	deadline := e.now.Add(changeTime)
	if m.wish.state == wishAsked {
		deadline = later(m.wish.deadline, e.now.Add(ruleTime))
	}
	r.state, r.op, r.to = ruleAdding, e.op(m), e.ruleOf(m)
	e.inRound(m)
	e.do(AddAction{Op: r.op, Rule: r.to, Deadline: deadline, For: m.urgency()})
}

// ruleDone takes in what the router did to a rule.
func (e *Engine) ruleDone(in RuleDone) {
	m := e.done(in.Op)
	if m == nil {
		return
	}
	r := &m.rule
	was := r.state
	e.countInRound(m, in.Err)
	switch {
	case was == ruleRemoving:
		e.removed(m, in.Err)
	case in.Err == nil:
		r.stand(in.Rule, e.reader.number, e.now)
		if was == ruleAdding && m.wish.stands() {
			e.tell(EventRuleRestored, m)
			e.reader.restored.note(m)
		}
	case was == ruleAdding:
		e.addFailed(m, in.Err)
	default:
		r.doubt(in.Err, e.reader.number)
		e.warn("", "changing the ports of a rule", m, "rule_id", r.have.ID, "inner_port", r.to.InnerPort, "external_port", r.to.ExternalPort, "error", in.Err)
		e.lookSoon()
		switch {
		case m.wish.state == wishStanding:
			e.served(m)
		case m.wish.state == wishAsked && r.state == ruleStanding && e.unmatched(m):
			e.fail(m, in.Err)
		}
	}
}

func (e *Engine) addFailed(m *mapping, err error) {
	r := &m.rule
	r.err = err
	switch {
	case ambiguous(err):
		r.doubt(err, e.reader.number)
		r.have = Rule{}
		e.lookSoon()
	case m.wish.stands():
		r.state = ruleMissing
	default:
		r.state = ruleAbsent
	}
	if m.wish.state == wishAsked {
		e.debug("undoing a half made mapping", m, "inner_port", m.inner, "error", err)
		e.fail(m, err)
	}
}

// removed notes what came of a removal.
func (e *Engine) removed(m *mapping, err error) {
	r := &m.rule
	stray := m.inner == 0 && e.phase != phaseStopping // The next look finds it again, if there is one.
	stopped := e.noteRemoval(m, err)
	switch {
	case err == nil || stray || stopped:
		if stray && err == nil {
			e.log("rule_removed", slog.LevelInfo, "rule removed that no mapping needs", m, "inner_port", r.have.InnerPort, "rule_id", r.have.ID)
		}
		if c := e.mapping(m.key); stray && err != nil && c != nil && c.begun(ticketEnd) {
			c.queue[0].stays = err
		}
		*r = rule{have: r.have, err: err}
	default:
		r.state, r.err = ruleDoubtful, err
		r.failures++
		r.retryAt = e.now.Add(e.backoff(r.failures))
	}
}

// unmatched says whether packets for the mapping would pass its rule by, or go to a port of
// the client that is not the mapping's any more: the rule should match the port on which they
// arrive and could not be changed yet. Or the rule lets in others than the mapping does.
func (e *Engine) unmatched(m *mapping) bool {
	if !m.rule.letsIn(m.wish.remote) {
		return true
	}
	external, have, want := m.lease.external, m.rule.have, e.ruleOf(m)
	missed := func(port uint16) bool {
		return slices.Contains(want.Match[:], port) && !slices.Contains(have.Match[:], port)
	}
	return e.cfg.Delivery != DeliverInternal && missed(external) || e.cfg.Delivery != DeliverExternal && missed(m.inner) ||
		m.key.InternalPort == 0 && have.Target() != external
}

// forgotten says whether what a client of [IGD] asks for is not in the mapping's rule yet,
// from which the next start knows it.
func (m *mapping) forgotten(t *ticket) bool {
	return t.asker.way == IGD && forgets(m.rule.have, Rule{By: IGD, Lifetime: t.lifetime})
}

// broken returns why a mapping cannot be had although it stands: its rule is missing, or a
// rule of somebody else takes its packets, and there is no port to which it could move.
func (e *Engine) broken(m *mapping) error {
	if m.rule.gone() {
		return &Error{Hop: HopRouter, Reason: ReasonUnreachable, Err: errRuleGone}
	}
	if !e.stuck(m) {
		return nil
	}
	err := errCovered
	if name := e.ports.taker(m.key.Protocol, m.inner); name != "" {
		err = &TakenError{Rule: name, Protocol: m.key.Protocol}
	}
	return &Error{Hop: HopRouter, Reason: ReasonResources, Err: err}
}

// rulesGone notes that the router has no rule of ours any more, because there is no place
// for them. Mappings stand as long as they would have, and clients that ask hear that
// they do not work.
func (e *Engine) rulesGone() {
	for _, m := range e.all() {
		if m.wish.stands() && !m.rule.busy() {
			// A look that is under way may have seen it before.
			m.rule.state, m.rule.standing = ruleMissing, e.reader.number
		}
	}
}

// warn, log and debug write a line about a mapping.
func (e *Engine) warn(kind, text string, m *mapping, args ...any) {
	e.log(kind, slog.LevelWarn, text, m, args...)
}

func (e *Engine) debug(text string, m *mapping, args ...any) {
	e.log("", slog.LevelDebug, text, m, args...)
}

func (e *Engine) log(kind string, level slog.Level, text string, m *mapping, args ...any) {
	all := append([]any{"client", m.key.Client.String(), "proto", m.key.Protocol.String(), "internal_port", m.key.InternalPort}, args...)
	e.do(LogAction{Kind: kind, Level: level, Text: text, Args: all})
}

// backoff is the wait before the next try of background work, which is shorter while the
// stop waits for it.
func (e *Engine) backoff(failures int) time.Duration {
	if failures < 1 {
		return 0
	}
	if e.phase == phaseStopping {
		return min(125*time.Millisecond<<min(failures, 3), time.Second)
	}
	return backoff(failures)
}
