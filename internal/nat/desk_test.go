package nat_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"doublenat/internal/nat"
)

// desk is an engine with a hand-made clock. The test is its gateway, its router and its
// clients: it looks at what the engine wants done, and says what came of it.
type desk struct {
	*nat.Engine

	t   *testing.T
	now time.Time
	// out is what the engine wanted and the test did not look at yet.
	out []nat.Action
	// life is for how long the gateway grants a lease at most.
	life    time.Duration
	tickets nat.TicketID
	rules   int // made so far
}

// atDesk returns an engine that has begun, with a router that has no rules of ours.
func atDesk(t *testing.T, change func(*nat.Config)) *desk {
	t.Helper()
	return restarted(t, change, nat.Snapshot{})
}

// restarted is atDesk with a router that has something.
func restarted(t *testing.T, change func(*nat.Config), snap nat.Snapshot) *desk {
	t.Helper()
	over := inTime(t)
	t.Cleanup(func() { over() })
	cfg := nat.Config{Random: func() float64 { return 0 }}
	if change != nil {
		change(&cfg)
	}
	engine, err := nat.NewEngine(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{Engine: engine, t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), life: time.Minute}
	d.step(nat.Start)
	d.shown(snap)
	return d
}

// step lets something happen now.
func (d *desk) step(in nat.Input) { d.out = append(d.out, d.Step(d.now, in)...) }

// pass lets time pass, with a tick whenever the engine wants one.
func (d *desk) pass(duration time.Duration) {
	d.t.Helper()
	for end := d.now.Add(duration); ; {
		at := d.Next()
		if at.IsZero() || at.After(end) {
			d.now = end
			return
		}
		if at.After(d.now) {
			d.now = at
		}
		d.step(nat.Tick)
		if at := d.Next(); !at.IsZero() && !at.After(d.now) {
			d.t.Fatalf("after a tick at %v the engine wants one at %v: its clock would not rest", d.now, at)
		}
	}
}

// want returns the first action of a kind, which there has to be.
func want[A nat.Action](d *desk) (found A) {
	d.t.Helper()
	for i, a := range d.out {
		if found, ok := a.(A); ok {
			d.out = slices.Delete(d.out, i, i+1)
			return found
		}
	}
	d.t.Fatalf("no %T among %s", found, d.outline())
	return found
}

// every returns the actions of a kind.
func every[A nat.Action](d *desk) (found []A) {
	d.out = slices.DeleteFunc(d.out, func(a nat.Action) bool {
		one, ok := a.(A)
		if ok {
			found = append(found, one)
		}
		return ok
	})
	return found
}

// none fails the test if there is an action of a kind.
func none[A nat.Action](d *desk, why string) {
	d.t.Helper()
	for _, a := range every[A](d) {
		d.t.Errorf("%s, and yet %T %+v", why, a, a)
	}
}

func (d *desk) outline() string {
	names := make([]string, len(d.out))
	for i, a := range d.out {
		names[i] = fmt.Sprintf("%T", a)
	}
	return fmt.Sprint(names)
}

// ask has a client ask for a mapping, and returns under which ticket.
func (d *desk) ask(key nat.Key, lifetime time.Duration) nat.TicketID {
	d.tickets++
	d.step(nat.Ask{Ticket: d.tickets, Request: nat.MapRequest{Key: key, Lifetime: lifetime}})
	return d.tickets
}

// end has a client end a mapping, and returns under which ticket.
func (d *desk) end(key nat.Key) nat.TicketID {
	d.tickets++
	d.step(nat.End{Ticket: d.tickets, Key: key})
	return d.tickets
}

// answer returns what a client was told.
func (d *desk) answer(ticket nat.TicketID) nat.AnswerAction {
	d.t.Helper()
	a := want[nat.AnswerAction](d)
	if a.Ticket != ticket {
		d.t.Fatalf("ticket %d has an answer, and not %d", a.Ticket, ticket)
	}
	return a
}

// granted has the gateway grant the lease that was asked for last.
func (d *desk) granted() nat.LeaseAction {
	d.t.Helper()
	a := want[nat.LeaseAction](d)
	port := a.Request.ExternalPort
	if port == 0 {
		port = 20000 + a.Request.InnerPort
	}
	d.grant(a, port)
	return a
}

// grant has the gateway grant a port.
func (d *desk) grant(a nat.LeaseAction, port uint16) {
	d.step(nat.LeaseDone{Op: a.Op, Lease: nat.Lease{ExternalPort: port, Lifetime: min(d.life, a.Request.Lifetime)}})
}

// added has the router make the rule that is to be made.
func (d *desk) added() nat.Rule {
	d.t.Helper()
	a := want[nat.AddAction](d)
	d.rules++
	a.Rule.ID = fmt.Sprintf("*%X", d.rules)
	d.step(nat.RuleDone{Op: a.Op, Rule: a.Rule})
	return a.Rule
}

// mapped makes a mapping for an hour, and returns its rule. The test has done with what was
// wanted before and on the way.
func (d *desk) mapped(key nat.Key) nat.Rule {
	d.t.Helper()
	d.out = nil
	ticket := d.ask(key, time.Hour)
	d.granted()
	rule := d.added()
	if a := d.answer(ticket); a.Err != nil {
		d.t.Fatalf("%v: %v", key, a.Err)
	}
	d.out = nil
	return rule
}

// released and removed have the next release and the next removal succeed.
func (d *desk) released() nat.ReleaseAction {
	d.t.Helper()
	a := want[nat.ReleaseAction](d)
	d.step(nat.ReleaseDone{Op: a.Op})
	return a
}

func (d *desk) removed() nat.RemoveAction {
	d.t.Helper()
	a := want[nat.RemoveAction](d)
	d.step(nat.RuleDone{Op: a.Op})
	return a
}

// look shows the router to the engine.
func (d *desk) look(snap nat.Snapshot) {
	d.t.Helper()
	d.step(nat.Look)
	d.shown(snap)
}

// shown ends the look that is under way.
func (d *desk) shown(snap nat.Snapshot) {
	d.t.Helper()
	want[nat.ReadAction](d)
	d.step(nat.ReadDone{Snapshot: snap})
}

// having is a router with rules of ours.
func having(rules ...nat.Rule) nat.Snapshot { return nat.Snapshot{Rules: rules} }

// taking is a router on which somebody else's rule takes ports, for TCP.
func taking(ports ...uint16) nat.Snapshot {
	used := new(nat.PortSet)
	for _, port := range ports {
		used.Add(port)
	}
	return nat.Snapshot{
		Used:   map[nat.Protocol]*nat.PortSet{nat.TCP: used},
		Takers: []nat.Taker{{Name: "*7 (web)", Takes: func(p nat.Protocol, port uint16) bool { return p == nat.TCP && used.Has(port) }}},
	}
}

func holding(c *nat.Config) { c.Policy = nat.PolicyHold }

// refusal is that a hop says no.
func refusal(hop nat.Hop) *nat.Error { return &nat.Error{Hop: hop, Reason: nat.ReasonDenied} }

// lost is that it did not answer, so that the outcome is unknown.
func lost(hop nat.Hop) *nat.Error {
	return &nat.Error{Hop: hop, Reason: nat.ReasonUnreachable, Ambiguous: true}
}

// absent is that it is not there.
func absent(hop nat.Hop) *nat.Error { return &nat.Error{Hop: hop, Reason: nat.ReasonUnreachable} }

// obey has gateway and router do all that they are asked, until they are asked nothing more,
// and returns what that was.
func (d *desk) obey() (did []string) {
	d.t.Helper()
	for i := 0; i < len(d.out); {
		switch d.out[i].(type) {
		case nat.LeaseAction:
			d.granted()
			did = append(did, "lease")
		case nat.ReleaseAction:
			d.released()
			did = append(did, "release")
		case nat.AddAction:
			d.added()
			did = append(did, "add")
		case nat.ChangeAction:
			a := want[nat.ChangeAction](d)
			d.step(nat.RuleDone{Op: a.Op, Rule: a.Want})
			did = append(did, "change")
		case nat.RemoveAction:
			d.removed()
			did = append(did, "remove")
		default:
			i++
			continue
		}
		i = 0
	}
	return did
}

// logged returns what a line of the log says, "" if there is none with this text.
func (d *desk) logged(text string) string {
	for _, a := range d.out {
		if l, ok := a.(nat.LogAction); ok && l.Text == text {
			return strings.TrimSpace(fmt.Sprintln(l.Args...))
		}
	}
	return ""
}
