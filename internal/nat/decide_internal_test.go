package nat

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// situation is one column of a table: what is wanted, and how things stand beside it.
type situation struct {
	name string
	set  func(e *Engine, m *mapping)
}

// decided returns a mapping in a situation with its engine.
func decided(t *testing.T, s situation) (*Engine, *mapping) {
	t.Helper()
	e, err := NewEngine(Config{})
	if err != nil {
		t.Fatal(err)
	}
	e.now, e.phase = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), phaseRunning
	m := e.current(clientPort(1, 80).With(TCP))
	m.inner = 20000
	m.wish = wish{state: wishStanding, requested: time.Hour, until: e.now.Add(time.Hour)}
	m.lease = lease{external: 40000, since: e.now, until: e.now.Add(time.Minute)}
	m.rule.have = e.ruleOf(m)
	s.set(e, m)
	return e, m
}

// table writes what decide says in each situation, one row for each state.
func table[S fmt.Stringer](t *testing.T, what string, states []S, situations []situation, say func(*Engine, *mapping, S) string) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |", what)
	for _, s := range situations {
		fmt.Fprintf(&b, " %s |", s.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(situations)) + "\n")
	for _, state := range states {
		fmt.Fprintf(&b, "| %v |", state)
		for _, s := range situations {
			e, m := decided(t, s)
			fmt.Fprintf(&b, " %s |", say(e, m, state))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// TestTables: docs/design.md has what decide does in each state, as decide does it.
func TestTables(t *testing.T) {
	t.Parallel()
	leases := table(t, "lease", []leaseState{leaseAbsent, leaseAsked, leaseHeld, leaseDoubtful, leaseRefused, leaseReturning}, []situation{
		{"wanted, a request is due", func(e *Engine, m *mapping) { m.lease.nextAt = e.now }},
		{"wanted, none is due", func(*Engine, *mapping) {}},
		{"wanted, the port moves", func(e *Engine, m *mapping) { m.lease.nextAt, m.unit.move = e.now, &move{} }},
		{"wanted, the other protocol asks", func(e *Engine, m *mapping) { m.lease.nextAt, m.unit.asking = e.now, &mapping{} }},
		{"not wanted", func(_ *Engine, m *mapping) { m.wish.state = wishEnding }},
		{"not wanted, tried, waits", func(e *Engine, m *mapping) {
			m.wish.state, m.lease.failures, m.lease.nextAt = wishNone, 1, e.now.Add(time.Second)
		}},
		{"not wanted, tried, over", func(e *Engine, m *mapping) {
			m.wish.state, m.lease.failures, m.lease.until = wishNone, 1, e.now
		}},
	}, func(e *Engine, m *mapping, state leaseState) string {
		m.lease.state = state
		step, _ := e.decide(m)
		return step.String()
	})
	rules := table(t, "rule", []ruleState{ruleAbsent, ruleAdding, ruleStanding, ruleChanging, ruleMeddled, ruleMissing, ruleDoubtful, ruleRemoving}, []situation{
		{"asked for, no lease yet", func(_ *Engine, m *mapping) { m.wish.state, m.lease.since = wishAsked, time.Time{} }},
		{"wanted, as it should be", func(*Engine, *mapping) {}},
		{"wanted, packets miss it", func(_ *Engine, m *mapping) { m.rule.have.Match = MatchPorts{1} }},
		{"wanted, its comment is old", func(_ *Engine, m *mapping) { m.rule.have.ExternalPort = 1 }},
		{"not wanted", func(_ *Engine, m *mapping) { m.wish.state = wishEnding }},
		{"not wanted, never seen", func(_ *Engine, m *mapping) { m.wish.state, m.rule.have = wishNone, Rule{} }},
	}, func(e *Engine, m *mapping, state ruleState) string {
		m.rule.state = state
		m.lease.state = leaseHeld
		_, step := e.decide(m)
		return step.String()
	})
	text, err := os.ReadFile("../../docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"leases": leases, "rules": rules} {
		if !strings.Contains(string(text), want) {
			t.Errorf("docs/design.md does not have the table of %s:\n%s", name, want)
		}
	}
}

// A mapping that has to leave its port and has no lease to give back moves all the same.
func TestMoveWithoutALease(t *testing.T) {
	t.Parallel()
	e, m := decided(t, situation{set: func(e *Engine, m *mapping) {
		e.ports.use(m.inner, m.key.Port())
		taken := new(PortSet)
		taken.Add(m.inner)
		e.ports.used = map[Protocol]*PortSet{TCP: taken}
	}})
	e.displace(m.unit)
	if m.unit.move != nil || m.inner == 20000 || m.lease.nextAt != e.now {
		t.Errorf("move %+v, inner port %d, asks at %v", m.unit.move, m.inner, m.lease.nextAt)
	}
}
