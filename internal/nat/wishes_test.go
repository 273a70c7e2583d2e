package nat_test

import (
	"slices"
	"testing"
	"time"

	"doublenat/internal/nat"
)

// With policy hold a renewal is answered from the table, at once and without a packet, as
// long as more than half of the lease is left.
func TestHeldRenewalIsAnsweredFromTheTable(t *testing.T) {
	t.Parallel()
	d := atDesk(t, holding)
	d.mapped(tcp(alice, 80))
	d.pass(29 * time.Second)
	ticket := d.ask(tcp(alice, 80), 2*time.Hour)
	none[nat.LeaseAction](d, "the lease is young")
	if a := d.answer(ticket); a.Err != nil || a.Grant.Lifetime != time.Minute {
		t.Errorf("told %+v", a)
	}
	if m, _ := d.Mapping(tcp(alice, 80)); !m.Until.Equal(d.now.Add(2 * time.Hour)) {
		t.Errorf("the mapping ends at %v, want two hours from %v", m.Until, d.now)
	}
	d.pass(time.Second)
	d.granted()
	short := d.ask(tcp(alice, 80), 40*time.Second)
	if a := d.answer(short); a.Err != nil || a.Grant.Lifetime != 40*time.Second {
		t.Errorf("told %+v, want what was asked for", a)
	}
}

// And not where something is in doubt: the gateway is asked then.
func TestHeldRenewalInDoubt(t *testing.T) {
	t.Parallel()
	for name, doubt := range map[string]func(*desk, nat.Rule){
		"the gateway lost its state": func(d *desk, _ nat.Rule) { d.step(nat.StateLost) },
		"the last renewal failed": func(d *desk, _ nat.Rule) {
			d.pass(30 * time.Second)
			d.step(nat.LeaseDone{Op: want[nat.LeaseAction](d).Op, Err: absent(nat.HopGateway)})
		},
		"the rule is missing": func(d *desk, _ nat.Rule) {
			d.look(having())
			d.step(nat.RuleDone{Op: want[nat.AddAction](d).Op, Err: refusal(nat.HopRouter)})
		},
		"the port moves": func(d *desk, rule nat.Rule) {
			taken := taking(rule.InnerPort)
			taken.Rules = []nat.Rule{rule}
			d.look(taken)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := atDesk(t, holding)
			doubt(d, d.mapped(tcp(alice, 80)))
			d.out = nil
			d.ask(tcp(alice, 80), time.Hour)
			none[nat.AnswerAction](d, name)
		})
	}
}

// What is told from the table is what the lease has: one in its second half is asked for
// again, also where nothing but the client would ask for it.
func TestHeldRenewalOfAnOldLease(t *testing.T) {
	t.Parallel()
	for age, asks := range map[time.Duration]bool{30*time.Second - time.Millisecond: false, 30 * time.Second: true, 45 * time.Second: true} {
		t.Run(age.String(), func(t *testing.T) {
			t.Parallel()
			d := atDesk(t, holding)
			d.ask(tcp(alice, 80), time.Minute)
			d.obey()
			d.pass(age)
			d.out = nil
			d.ask(tcp(alice, 80), time.Minute)
			if told := len(every[nat.AnswerAction](d)) > 0; told == asks || d.wants() != asks {
				t.Errorf("the gateway is asked: %v, the client told before that: %v", d.wants(), told)
			}
		})
	}
}

// A gateway that takes longer than a renewal may wait is asked so early that its answer is
// there when the client renews at half of its time (RFC 6886 §3.3), which is then answered
// from the table. What the gateway might still grant is asked for all the same.
func TestRenewalAheadOfTheClient(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                  string
		takes, life           time.Duration
		first, second, within time.Duration // lifetimes that are asked for, and when for the second time
		asks                  bool
	}{
		{"a minute, granted in full", time.Second, 2 * time.Hour, time.Minute, time.Minute, 30 * time.Second, false},
		{"and by a very slow one", 5 * time.Second, 2 * time.Hour, time.Minute, time.Minute, 30 * time.Second, false},
		{"an hour, of which a minute is granted", time.Second, time.Minute, time.Hour, time.Hour, 30 * time.Second, false},
		{"more than was asked for", time.Second, 2 * time.Hour, time.Minute, time.Hour, 30 * time.Second, true},
		{"again at once", time.Second, time.Minute, time.Hour, time.Hour, 5 * time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := atDesk(t, nil)
			d.life = tt.life
			d.ask(tcp(alice, 80), tt.first)
			asked, request, sent := d.now, want[nat.LeaseAction](d), d.now
			for ; d.now.Sub(asked) < tt.within; d.pass(250 * time.Millisecond) {
				switch {
				case request.Op == 0 && d.wants():
					request, sent = want[nat.LeaseAction](d), d.now
				case request.Op != 0 && d.now.Sub(sent) >= tt.takes:
					d.grant(request, 40000)
					d.obey()
					request = nat.LeaseAction{}
				}
			}
			d.out = nil
			ticket := d.ask(tcp(alice, 80), tt.second)
			if tt.asks != d.wants() {
				t.Fatalf("the gateway is asked: %v", d.wants())
			}
			if tt.asks {
				return
			}
			told := d.answer(ticket)
			if m, _ := d.Mapping(tcp(alice, 80)); told.Err != nil || told.Grant.Lifetime < 50*time.Second || d.now.Add(told.Grant.Lifetime).After(m.LeaseUntil) {
				t.Errorf("told %+v of the lease until %v, at %v", told, m.LeaseUntil, d.now)
			}
		})
	}
}

// wants says whether the gateway is asked for a lease.
func (d *desk) wants() bool {
	return slices.ContainsFunc(d.out, func(a nat.Action) bool { _, lease := a.(nat.LeaseAction); return lease })
}

// With policy hold the last word counts: who asks for less than before has less, also where
// the gateway does not hear of it at once, or does not answer.
func TestHeldMappingIsShortened(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		age  time.Duration
		away error
	}{
		{"from the table", 10 * time.Second, nil},
		{"by the gateway", 31 * time.Second, nil},
		{"with the gateway away", 31 * time.Second, absent(nat.HopGateway)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := atDesk(t, holding)
			d.mapped(tcp(alice, 80))
			d.pass(tt.age)
			d.ask(tcp(alice, 80), 2*time.Minute)
			for left := 2 * time.Minute; left > 0; left -= time.Second {
				if tt.away != nil {
					for _, a := range every[nat.LeaseAction](d) {
						d.step(nat.LeaseDone{Op: a.Op, Err: tt.away})
					}
				}
				d.obey()
				if m, ok := d.Mapping(tcp(alice, 80)); !ok || m.Closing {
					t.Fatalf("ended %v early", left)
				}
				d.pass(time.Second)
			}
			if m, ok := d.Mapping(tcp(alice, 80)); ok && !m.Closing {
				t.Errorf("%+v, want one that is over", m)
			}
		})
	}
}

// With policy hold what was adopted lasts as long as was asked for before the restart,
// however late the gateway confirms it.
func TestAdoptedHeldMappingIsConfirmedLate(t *testing.T) {
	t.Parallel()
	rule := nat.Rule{ID: "*1", Key: tcp(alice, 80), InnerPort: 20000, ExternalPort: 40000, Lifetime: time.Hour, Match: nat.MatchPorts{20000}}
	d := restarted(t, func(c *nat.Config) { holding(c); c.ReconcileInterval = 24 * time.Hour }, having(rule))
	until := d.now.Add(time.Hour)
	for range 20 {
		for _, a := range every[nat.LeaseAction](d) {
			d.step(nat.LeaseDone{Op: a.Op, Err: absent(nat.HopGateway)})
		}
		d.pass(30 * time.Second)
	}
	if got := d.granted(); got.Request.ExternalPort != 40000 || !got.Request.Renewal {
		t.Errorf("asked for %+v", got.Request)
	}
	if m, _ := d.Mapping(rule.Key); !m.Until.Equal(until) {
		t.Errorf("until %v, want %v", m.Until, until)
	}
}

// A mapping that is being taken down, and that its client asks for in vain, is still being
// taken down: people see it until its rule is gone, and hear of that once.
func TestRevivalInVain(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.closing(tcp(alice, 80))
	ticket := d.ask(tcp(alice, 80), time.Hour)
	d.step(nat.LeaseDone{Op: want[nat.LeaseAction](d).Op, Err: refusal(nat.HopGateway)})
	wantReason(t, d.answer(ticket).Err, nat.ReasonDenied)
	if m, ok := d.Mapping(tcp(alice, 80)); !ok || !m.Closing {
		t.Errorf("%+v, want a mapping that is closing", m)
	}
	d.obey()
	if told := every[nat.TellAction](d); len(told) != 1 || told[0].Event.Kind != nat.EventDeleted {
		t.Errorf("told %+v, want that it was deleted", told)
	}
	if n := d.Status().Mappings; n != 0 {
		t.Errorf("%d mappings", n)
	}
}

// A client is told of no port that its rule does not take: the rule of a mapping that could not be
// taken down is changed for the port that its client gets when it asks again, or it fails.
func TestRevivalWithAnotherPort(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { c.Delivery = nat.DeliverExternal })
	rule := d.closing(tcp(alice, 80))
	ticket := d.ask(tcp(alice, 80), time.Hour)
	d.grant(want[nat.LeaseAction](d), 40001)
	d.shown(having(rule))
	change := want[nat.ChangeAction](d)
	if !slices.Contains(change.Want.Match[:], 40001) {
		t.Errorf("the rule is to take %v", change.Want.Match)
	}
	d.step(nat.RuleDone{Op: change.Op, Err: refusal(nat.HopRouter)})
	wantReason(t, d.answer(ticket).Err, nat.ReasonDenied)
	d.obey()
	if told := every[nat.TellAction](d); len(told) != 1 || told[0].Event.Kind != nat.EventDeleted {
		t.Errorf("told %+v, want that it was deleted", told)
	}
}

// A client is told that its mapping is gone when all its rules are, also one on a former inner port
// that a look has found; or that it is not.
func TestDeletionWhileAFormerRuleGoes(t *testing.T) {
	t.Parallel()
	for _, why := range []error{nil, refusal(nat.HopRouter)} {
		d := atDesk(t, nil)
		rule := d.mapped(tcp(alice, 80))
		former := rule
		former.InnerPort, former.Match, former.ID = rule.InnerPort+1, nat.MatchPorts{rule.InnerPort + 1}, "*F"
		d.look(having(rule, former))
		removal := want[nat.RemoveAction](d)
		ticket := d.end(tcp(alice, 80))
		d.removed()
		d.released()
		none[nat.AnswerAction](d, "a rule of the mapping is being removed")
		d.step(nat.RuleDone{Op: removal.Op, Err: why})
		if a := d.answer(ticket); (a.Err == nil) != (why == nil) {
			t.Errorf("told %v, and the router said %v", a.Err, why)
		}
	}
}

// A mapping that could not be made was none: nobody sees it or hears of it.
func TestFailedCreateIsNoMapping(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	ticket := d.ask(tcp(alice, 80), time.Hour)
	d.granted()
	d.step(nat.RuleDone{Op: want[nat.AddAction](d).Op, Err: lost(nat.HopRouter)})
	wantReason(t, d.answer(ticket).Err, nat.ReasonUnreachable)
	if all := d.Mappings(); len(all) != 0 {
		t.Errorf("mappings %+v", all)
	}
	d.shown(having())
	d.obey()
	none[nat.TellAction](d, "it was never told to stand")
}

// What its client asked for last is written into a rule that is made anew, for the next start:
// not what it had asked for before it ended the mapping.
func TestLifetimeInARuleMadeAnew(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.closing(tcp(alice, 80))
	ticket := d.ask(tcp(alice, 80), 2*time.Minute)
	d.granted()
	d.shown(having()) // It has gone meanwhile.
	if rule := d.added(); rule.Lifetime != 2*time.Minute {
		t.Errorf("the rule says %v", rule.Lifetime)
	}
	if a := d.answer(ticket); a.Err != nil {
		t.Error(a.Err)
	}
}

// A client that does not renew in time is remembered for a day also when it has no mapping,
// and others come.
func TestProofOutlivesTheMapping(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) {
		c.Policy = nat.PolicyAuto
		c.MaxMappings = 8
		c.ReconcileInterval = 48 * time.Hour
	})
	d.mapped(tcp(alice, 80))
	d.pass(time.Minute)
	d.obey()
	d.mapped(tcp(alice, 80))
	d.end(tcp(alice, 80))
	d.obey()
	d.mapped(tcp(bob, 80))
	d.pass(23 * time.Hour)
	d.obey()
	d.mapped(tcp(alice, 81))
	if m, _ := d.Mapping(tcp(alice, 81)); !m.Held {
		t.Error("forgotten on the same day")
	}
}

// What is remembered of clients that did not renew is bounded; what proves nothing any more
// makes room for others.
func TestExpiredMappingsMakeRoom(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) {
		c.Policy = nat.PolicyAuto
		c.MaxMappings = 2
		c.ReconcileInterval = 24 * time.Hour
	})
	d.life = time.Second
	comes := func(client int) nat.Key {
		d.mapped(keyOf(client))
		return keyOf(client)
	}
	expires := func() {
		d.pass(time.Second)
		d.obey()
	}
	for client := range 4 { // as many as are remembered, for an hour
		comes(client)
		expires()
	}
	comes(100)
	expires()
	if m, _ := d.Mapping(comes(100)); m.Held {
		t.Error("one more is remembered than there may be")
	}
	d.pass(time.Hour)
	d.obey()
	comes(101)
	expires()
	if m, _ := d.Mapping(comes(101)); !m.Held {
		t.Error("not remembered although there is room")
	}
}

// So many clients without a mapping are remembered, however many come.
func TestRememberedClientsAreBounded(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) {
		c.Policy = nat.PolicyAuto
		c.MaxMappings = 4
		c.ReconcileInterval = 24 * time.Hour
	})
	d.life = time.Second
	for client := range 50 {
		d.mapped(keyOf(client))
		d.pass(time.Second)
		d.obey()
		d.mapped(keyOf(client)) // It has proved that it does not renew in time.
		d.end(keyOf(client))
		d.obey()
		if n := d.KnownClients(); n > 8 {
			t.Fatalf("%d clients are known, want 8 at most", n)
		}
	}
}

// That a mapping has expired is told also if its client asks again while its lease is given back, and
// is refused.
func TestExpiredIsToldWhenTheNextRequestFails(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { c.Policy = nat.PolicyClient })
	d.mapped(tcp(alice, 80))
	d.pass(time.Minute)
	d.removed()
	release := want[nat.ReleaseAction](d)
	ticket := d.ask(tcp(alice, 80), time.Hour)
	d.step(nat.ReleaseDone{Op: release.Op, Err: absent(nat.HopGateway)})
	d.step(nat.LeaseDone{Op: want[nat.LeaseAction](d).Op, Err: absent(nat.HopGateway)})
	var told []nat.EventKind
	for _, a := range every[nat.TellAction](d) {
		told = append(told, a.Event.Kind)
	}
	if a := d.answer(ticket); a.Err == nil || len(told) != 1 || told[0] != nat.EventExpired {
		t.Errorf("answered %v, told of %v", a.Err, told)
	}
}
