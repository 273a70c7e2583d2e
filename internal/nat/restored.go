package nat

import "log/slog"

// presence says whether the router was away.
type presence uint8

const (
	// presenceSteady is a router that was not away, or whose rules are in order again.
	presenceSteady presence = iota
	// presenceBack is one that can be used again, and no comparison has ended well since.
	presenceBack
)

// restored are the rules that were made again and of which the log does not tell yet: what
// one look at the router finds missing is one line, be it one rule or two hundred.
type restored struct {
	count int
	last  *mapping
}

// note takes in a rule that was made again.
func (r *restored) note(m *mapping) {
	r.count++
	r.last = m
}

// routerBack notes that the router can be used again, and looks at it.
func (e *Engine) routerBack() {
	if e.phase == phaseRunning {
		e.reader.presence = presenceBack
	}
	e.look()
}

// tellRestored writes the line about the rules that a comparison made again.
func (e *Engine) tellRestored() {
	const kind = "rule_restored"
	r := &e.reader
	switch n := r.restored.count; {
	case n == 0:
	case r.presence == presenceBack:
		e.do(LogAction{Kind: kind, Level: slog.LevelInfo, Text: "router is back, rules made again", Args: []any{"rules", n}})
	case n == 1:
		m := r.restored.last
		e.warn(kind, "rule restored, it was missing or changed on the router", m,
			"inner_port", m.inner, "external_port", m.lease.external, "rule_id", m.rule.have.ID)
	default:
		e.do(LogAction{Kind: kind, Level: slog.LevelWarn, Text: "rules restored, they were missing or changed on the router", Args: []any{"rules", n}})
	}
	r.restored = restored{}
	if r.last == nil {
		r.presence = presenceSteady
	}
}
