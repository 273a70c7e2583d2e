package nat_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

// narrow leaves so many inner ports, from 20000.
func narrow(ports uint16) func(*nat.Config) {
	return func(c *nat.Config) { c.FirstInnerPort, c.LastInnerPort = 20000, 20000+ports-1 }
}

// wantRefused fails the test unless a client is refused for this reason, and nothing is done.
func (d *desk) wantRefused(key nat.Key, reason nat.Reason) error {
	d.t.Helper()
	err := d.answer(d.ask(key, time.Hour)).Err
	wantReason(d.t, err, reason)
	none[nat.LeaseAction](d, "it was refused")
	return err
}

// One inner port is a range, too. Both protocols of a client share it, and it is nobody
// else's until both are gone.
func TestOneInnerPort(t *testing.T) {
	t.Parallel()
	d := atDesk(t, narrow(1))
	for _, key := range []nat.Key{tcp(alice, 80), udp(alice, 80)} {
		if rule := d.mapped(key); rule.InnerPort != 20000 {
			t.Errorf("%v has inner port %d", key, rule.InnerPort)
		}
	}
	for _, key := range []nat.Key{tcp(alice, 80), udp(alice, 80)} {
		_ = d.wantRefused(tcp(bob, 80), nat.ReasonResources)
		d.end(key)
		d.says(nil, nil)
		d.out = nil
	}
	if rule := d.mapped(tcp(bob, 80)); rule.InnerPort != 20000 {
		t.Errorf("inner port %d", rule.InnerPort)
	}
}

// The second protocol gets the inner port of the first, also where a new mapping would begin
// with another.
func TestSecondProtocolHasTheSameInnerPort(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	derived := d.mapped(tcp(alice, 80)).InnerPort
	d.end(tcp(alice, 80))
	d.says(nil, nil)
	d.look(taking(derived))
	d.out = nil
	first := d.mapped(tcp(alice, 80))
	d.look(having(first))
	if second := d.mapped(udp(alice, 80)); first.InnerPort == derived || second.InnerPort != first.InnerPort {
		t.Errorf("inner ports %d and %d; %d was somebody's for a while", first.InnerPort, second.InnerPort, derived)
	}
}

// Rules of others that leave no inner port are named: in the status, and to who asks.
func TestNoInnerPortIsLeft(t *testing.T) {
	t.Parallel()
	for taken, blocker := range map[uint16]string{20001: "", 20002: "*7 (web)"} {
		d := atDesk(t, narrow(3))
		var ports []uint16
		for port := uint16(20000); port <= taken; port++ {
			ports = append(ports, port)
		}
		d.look(taking(ports...))
		if by := d.Status().TakenBy; by != blocker {
			t.Errorf("up to %d: taken by %q, want %q", taken, by, blocker)
		}
		if blocker == "" {
			if rule := d.mapped(tcp(alice, 80)); rule.InnerPort != 20002 {
				t.Errorf("inner port %d", rule.InnerPort)
			}
			continue
		}
		var who *nat.TakenError
		if err := d.wantRefused(tcp(alice, 80), nat.ReasonResources); !errors.As(err, &who) || who.Rule != blocker {
			t.Errorf("refused with %v", err)
		}
	}
}

// A mapping whose inner port somebody takes, and that finds no other, is no mapping: its
// client is told whose rule is in the way, and that it is there again when the rule has gone.
func TestMappingThatCannotMove(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { narrow(2)(c); holding(c) })
	rule := d.mapped(tcp(alice, 80))
	d.mapped(tcp(bob, 81))
	taken := taking(rule.InnerPort)
	taken.Rules = []nat.Rule{rule}
	ask := func() error {
		ticket := d.ask(rule.Key, time.Hour)
		d.obey()
		return d.answer(ticket).Err
	}
	if err := ask(); err != nil {
		t.Errorf("before: %v", err)
	}
	d.look(taken)
	d.obey()
	if by := d.Status().TakenBy; by != "*7 (web)" {
		t.Errorf("taken by %q", by)
	}
	var who *nat.TakenError
	if err := ask(); !errors.As(err, &who) || who.Rule != "*7 (web)" {
		t.Errorf("told %v", err)
	}
	d.look(having(rule))
	d.obey()
	if by := d.Status().TakenBy; by != "" {
		t.Errorf("taken by %q, and nobody is there any more", by)
	}
	if err := ask(); err != nil {
		t.Errorf("after: %v", err)
	}
}

// A mapping gives way three times within an hour. Who comes after it a fourth time chases it:
// that is a feud, and it stays where it is until the hour is over.
func TestChasedMapping(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { holding(c); c.ReconcileInterval = 24 * time.Hour })
	d.life = 2 * time.Hour
	rule := d.mapped(tcp(alice, 80))
	d.ask(rule.Key, 2*time.Hour)
	d.obey()
	inner := func() uint16 {
		m, _ := d.Mapping(rule.Key)
		return m.InnerPort
	}
	chase := func() (moved bool) {
		before := inner()
		taken := taking(before)
		m, _ := d.Mapping(rule.Key)
		rule.InnerPort, rule.Match, rule.ExternalPort = before, nat.MatchPorts{before}, m.ExternalPort
		taken.Rules = []nat.Rule{rule}
		d.look(taken)
		d.obey()
		return inner() != before
	}
	for i, want := range []bool{true, true, true, false, false, false, false, false, false, false, false} {
		d.pass(5 * time.Minute)
		if moved := chase(); moved != want {
			t.Errorf("at the time %d it moved: %v", i+1, moved)
		}
		if since := d.Status().ContestedSince; since.IsZero() != want {
			t.Errorf("at the time %d contested since %v", i+1, since)
		}
	}
	if d.logged(settled) != "" {
		t.Error("said to be over")
	}
	d.pass(10 * time.Minute)
	if !chase() {
		t.Error("an hour after the first time it does not move")
	}
}

// A move for which the gateway does not confirm that the old leases are given back does not
// take place: what may be gone is asked for again at once, because one protocol may be
// reached as it is. All is free when the mappings have ended.
func TestMoveThatTheGatewayDoesNotConfirm(t *testing.T) {
	t.Parallel()
	for _, confirmed := range []bool{false, true} {
		d := atDesk(t, func(c *nat.Config) { narrow(3)(c); holding(c) })
		first, second := d.mapped(tcp(alice, 80)), d.mapped(udp(alice, 80))
		taken := taking(first.InnerPort)
		taken.Rules = []nat.Rule{first, second}
		d.look(taken)
		releases := every[nat.ReleaseAction](d)
		if len(releases) != 2 {
			t.Fatalf("%d releases, want one for each protocol", len(releases))
		}
		var lease error
		if !confirmed {
			lease = lost(nat.HopGateway)
		}
		d.step(nat.ReleaseDone{Op: releases[0].Op, Err: lease})
		d.step(nat.ReleaseDone{Op: releases[1].Op})
		did := d.obey()
		slices.Sort(did)
		if diff := cmp.Diff(map[bool][]string{false: {"lease", "lease"}, true: {"change", "change", "lease", "lease"}}[confirmed], did); diff != "" {
			t.Errorf("confirmed %v: done (-want +got):\n%s", confirmed, diff)
		}
		for _, key := range []nat.Key{first.Key, second.Key} {
			if m, _ := d.Mapping(key); (m.InnerPort != first.InnerPort) != confirmed || m.ExternalPort != first.ExternalPort {
				t.Errorf("confirmed %v: %+v", confirmed, m)
			}
			d.end(key)
			d.obey()
		}
		d.look(nat.Snapshot{})
		d.out = nil
		for port := range uint16(3) {
			d.mapped(tcp(bob, 1+port))
		}
	}
}

// The inner port that a mapping has left is nobody else's while its rule takes the packets there.
func TestInnerPortThatARuleStillMatches(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { narrow(2)(c); holding(c) })
	rule := d.mapped(tcp(alice, 80))
	taken := taking(rule.InnerPort)
	taken.Rules = []nat.Rule{rule}
	d.look(taken)
	d.released()
	d.granted()
	d.step(nat.RuleDone{Op: want[nat.ChangeAction](d).Op, Err: refusal(nat.HopRouter)})
	d.pass(20 * time.Second)
	d.look(having(rule)) // The port is free again.
	remove := want[nat.RemoveAction](d)
	_ = d.wantRefused(tcp(bob, 80), nat.ReasonResources)
	d.step(nat.RuleDone{Op: remove.Op})
	d.added()
	d.ask(tcp(bob, 80), time.Hour)
	if got := want[nat.LeaseAction](d).Request.InnerPort; got != rule.InnerPort {
		t.Errorf("inner port %d", got)
	}
}

// What is left of a mapping, a lease that may live on an inner port that was somebody's for a
// while, is taken over by the next one of its client: it is not given back under its feet.
func TestLeftoverIsTakenOver(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.ask(tcp(alice, 80), time.Hour)
	ask := want[nat.LeaseAction](d)
	d.step(nat.LeaseDone{Op: ask.Op, Err: lost(nat.HopGateway)})
	d.look(taking(ask.Request.InnerPort))
	if rule := d.mapped(tcp(alice, 80)); rule.InnerPort == ask.Request.InnerPort {
		t.Fatalf("inner port %d is somebody's", rule.InnerPort)
	}
	d.end(tcp(alice, 80))
	d.says(nil, nil)
	d.look(nat.Snapshot{})
	if rule := d.mapped(tcp(alice, 80)); rule.InnerPort != ask.Request.InnerPort {
		t.Errorf("inner port %d, want %d, to which a lease may lead", rule.InnerPort, ask.Request.InnerPort)
	}
	d.pass(30 * time.Second)
	none[nat.ReleaseAction](d, "the lease is the mapping's")
}

// A rule of which nobody knows whether it was made takes the packets for its external port, too: as
// long as that is unknown the port is no inner port for anybody else.
func TestDoubtfulRuleKeepsBothPorts(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { narrow(2)(c); c.Delivery = nat.DeliverBoth })
	failed := d.ask(tcp(alice, 80), time.Hour)
	lease := want[nat.LeaseAction](d)
	other := 40001 - lease.Request.InnerPort
	d.grant(lease, other)
	d.step(nat.RuleDone{Op: want[nat.AddAction](d).Op, Err: lost(nat.HopRouter)})
	if d.answer(failed).Err == nil {
		t.Error("a mapping without a rule was granted")
	}
	d.released()
	refused := d.ask(tcp(bob, 80), time.Hour)
	none[nat.LeaseAction](d, "one rule may take both ports")
	if d.answer(refused).Err == nil {
		t.Error("a port was granted whose packets another rule may take")
	}
	d.shown(nat.Snapshot{}) // It was not made.
	d.ask(tcp(bob, 80), time.Hour)
	want[nat.LeaseAction](d)
}
