package nat_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

// A comparison with the router is a success when all that it found otherwise was mended, and
// the status counts that.
func TestComparisonEndsWithItsChanges(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{false, true} { // whether another look is wanted behind it
		t.Run(fmt.Sprint("another ", again), func(t *testing.T) {
			t.Parallel()
			d, rule := lasting(t)
			began := d.now
			stray := rule
			stray.ID, stray.Key = "*F1", tcp(bob, 9)
			d.pass(time.Minute)
			d.step(nat.Look)
			if again {
				d.step(nat.Look)
			}
			d.shown(having(stray))
			add, remove := want[nat.AddAction](d), want[nat.RemoveAction](d)
			d.pass(time.Second)
			d.step(nat.RuleDone{Op: remove.Op})
			if st := d.Status(); st.RulesChanged != 0 || !st.ReconcileSuccess.Equal(began) {
				t.Errorf("status %+v while a change is under way", st)
			}
			none[nat.ReadAction](d, "the comparison has not ended")
			d.step(nat.RuleDone{Op: add.Op, Rule: add.Rule})
			if st := d.Status(); st.RulesChanged != 2 || !st.ReconcileSuccess.Equal(d.now) || st.ReconcileError != nil {
				t.Errorf("status %+v after two changes", st)
			}
			if again {
				d.shown(having(add.Rule))
			}
			none[nat.ReadAction](d, "all is well")
		})
	}
}

// One of which a change failed is none: the error is shown, and the router is looked at again
// before long.
func TestComparisonWhoseChangeFails(t *testing.T) {
	t.Parallel()
	d, _ := lasting(t)
	began := d.now
	d.pass(time.Minute)
	d.look(having())
	failure := refusal(nat.HopRouter)
	d.step(nat.RuleDone{Op: want[nat.AddAction](d).Op, Err: failure})
	if st := d.Status(); st.RulesChanged != 0 || !st.ReconcileSuccess.Equal(began) || !errors.Is(st.ReconcileError, failure) {
		t.Errorf("status %+v", st)
	}
	d.pass(time.Second)
	d.shown(having())
	add := want[nat.AddAction](d)
	d.step(nat.RuleDone{Op: add.Op, Rule: add.Rule})
	if st := d.Status(); st.RulesChanged != 1 || !st.ReconcileSuccess.Equal(d.now) || st.ReconcileError != nil {
		t.Errorf("status %+v", st)
	}
}

// A router with very many rules that nobody needs is rid of 256 at a time, one look after the
// other and without a pause; one with so many has no second look.
func TestManyStrays(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		strays int
		want   []int // removals, by look
	}{{256, []int{256}}, {257, []int{256, 1}}, {600, []int{256, 256, 88}}} {
		t.Run(fmt.Sprint(tt.strays), func(t *testing.T) {
			t.Parallel()
			d, rule := lasting(t)
			rules := []nat.Rule{rule}
			for i := range tt.strays {
				rules = append(rules, nat.Rule{ID: fmt.Sprintf("*F%d", i), Key: tcp(bob, uint16(1+i)), InnerPort: uint16(30000 + i), ExternalPort: uint16(30000 + i), Match: nat.MatchPorts{uint16(30000 + i)}})
			}
			var removals []int
			for d.step(nat.Look); len(removals) < 10; {
				reads := every[nat.ReadAction](d)
				if len(reads) == 0 {
					break
				}
				d.step(nat.ReadDone{Snapshot: having(rules...)})
				gone := make(map[string]bool)
				for _, a := range every[nat.RemoveAction](d) {
					gone[a.Forms[0].ID] = true
					d.step(nat.RuleDone{Op: a.Op})
				}
				removals = append(removals, len(gone))
				left := rules[:0]
				for _, r := range rules {
					if !gone[r.ID] {
						left = append(left, r)
					}
				}
				rules = left
			}
			if diff := cmp.Diff(tt.want, removals); diff != "" {
				t.Errorf("removals by look (-want +got):\n%s", diff)
			}
			if len(rules) != 1 {
				t.Errorf("%d rules are left", len(rules))
			}
		})
	}
}

// Of a rule that nobody needs the log says that it was removed, when it was.
func TestRemovedStraysAreLogged(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, refusal(nat.HopRouter)} {
		d, rule := lasting(t)
		stray := rule
		stray.ID, stray.Key = "*F1", tcp(bob, 9)
		d.look(having(rule, stray))
		d.step(nat.RuleDone{Op: want[nat.RemoveAction](d).Op, Err: err})
		if said := d.logged("rule removed that no mapping needs"); (said != "") != (err == nil) {
			t.Errorf("the router said %v, the log %q", err, said)
		}
	}
}

// A rule in doubt that nobody wants any more: what a look shows of it counts, unless the look
// had begun before the doubt. It is removed as it is found, and owed until it is gone.
func TestDoubtIsSettledByALaterLook(t *testing.T) {
	t.Parallel()
	d, other := lasting(t)
	d.step(nat.Look)
	ticket := d.ask(udp(alice, 80), time.Hour) // It shares the inner port.
	d.granted()
	add := want[nat.AddAction](d)
	d.step(nat.RuleDone{Op: add.Op, Err: lost(nat.HopRouter)})
	wantReason(t, d.answer(ticket).Err, nat.ReasonUnreachable)
	d.released()
	owed := func(why string, n int) {
		t.Helper()
		if have := d.Status().Debts; have != n {
			t.Errorf("%s: %d debts, want %d", why, have, n)
		}
	}
	d.shown(having(other))
	owed("the look began before the rule was made", 1)
	none[nat.RemoveAction](d, "the other protocol's rule is another one")
	made := add.Rule
	made.ID = "*F1"
	d.shown(having(other, made))
	remove := want[nat.RemoveAction](d)
	if diff := cmp.Diff([]nat.Rule{made}, remove.Forms, cmpAddr); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	d.step(nat.RuleDone{Op: remove.Op, Err: absent(nat.HopRouter)})
	owed("the removal failed", 1)
	d.pass(time.Second)
	d.removed()
	owed("the rule is gone", 0)
}

// The same where the rule was not made after all: nothing else is touched.
func TestDoubtAboutWhatWasNotMade(t *testing.T) {
	t.Parallel()
	d, other := lasting(t)
	d.ask(udp(alice, 80), time.Hour)
	d.granted()
	d.step(nat.RuleDone{Op: want[nat.AddAction](d).Op, Err: lost(nat.HopRouter)})
	d.released()
	d.shown(having(other))
	none[nat.RemoveAction](d, "the rule is not there, and the other protocol's is needed")
	if n := d.Status().Debts; n != 0 {
		t.Errorf("%d debts, want none", n)
	}
}

// What is left of a mapping, on an inner port that it cannot have any more, is removed once,
// although the next look still shows it beside the new one.
func TestRemovalUnderWayIsNotBegunTwice(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { c.ReconcileInterval = 24 * time.Hour })
	d.life = time.Hour
	d.step(nat.Look)
	d.ask(tcp(alice, 80), time.Hour)
	d.granted()
	add := want[nat.AddAction](d)
	d.step(nat.RuleDone{Op: add.Op, Err: lost(nat.HopRouter)})
	d.released()
	taken := taking(add.Rule.InnerPort)
	d.shown(taken) // It began before the rule was made.
	ticket := d.ask(tcp(alice, 80), time.Hour)
	d.granted()
	fresh := d.added()
	d.answer(ticket - 1)
	if a := d.answer(ticket); a.Err != nil || fresh.InnerPort == add.Rule.InnerPort {
		t.Fatalf("answer %+v, rule %+v", a, fresh)
	}
	left := add.Rule
	left.ID = "*F1"
	taken.Rules = []nat.Rule{left, fresh}
	d.shown(taken)
	remove := want[nat.RemoveAction](d)
	d.look(taken)
	none[nat.RemoveAction](d, "it is being removed")
	d.step(nat.RuleDone{Op: remove.Op})
	taken.Rules = []nat.Rule{fresh}
	d.look(taken)
	none[nat.RemoveAction](d, "it is gone")
}

// A rule that goes while its lease is renewed is made again, and not when the router is
// looked at the next time.
func TestMissingRuleDuringARenewal(t *testing.T) {
	t.Parallel()
	d, rule := lasting(t)
	d.step(nat.Look)
	d.ask(rule.Key, time.Hour)
	d.shown(having())
	add := want[nat.AddAction](d)
	if add.Rule.InnerPort != rule.InnerPort || add.Rule.ExternalPort != rule.ExternalPort {
		t.Errorf("made %+v, was %+v", add.Rule, rule)
	}
}

// No more is adopted than there may be: the rest is removed.
func TestAdoptionOfTooMany(t *testing.T) {
	t.Parallel()
	var rules []nat.Rule
	for i := range uint16(3) {
		rules = append(rules, nat.Rule{
			ID: fmt.Sprintf("*%d", i), Key: tcp(alice, 1+i), InnerPort: 20000 + i, ExternalPort: 40000 + i,
			Lifetime: time.Hour, Match: nat.MatchPorts{20000 + i},
		})
	}
	d := restarted(t, func(c *nat.Config) { c.MaxMappings = 2 }, having(rules...))
	if n := d.Status().Mappings; n != 2 {
		t.Errorf("%d mappings, want the two that there may be", n)
	}
	if got := d.removed(); got.Forms[0].ID != "*2" {
		t.Errorf("removed %+v", got.Forms)
	}
	none[nat.RemoveAction](d, "the others are adopted")
}

// A change whose outcome is unknown leaves two forms in which a rule may stand, and a deletion
// removes it in both. A look that begins after that shows which it is; one that had begun
// before does not.
func TestFormsOfARule(t *testing.T) {
	t.Parallel()
	for _, later := range []bool{false, true} {
		t.Run(fmt.Sprint("a later look ", later), func(t *testing.T) {
			t.Parallel()
			d := atDesk(t, func(c *nat.Config) { c.Delivery = nat.DeliverExternal })
			rule := d.mapped(tcp(alice, 80))
			if !later {
				d.step(nat.Look)
			}
			d.ask(rule.Key, time.Hour)
			d.grant(want[nat.LeaseAction](d), 40001)
			change := want[nat.ChangeAction](d)
			d.step(nat.RuleDone{Op: change.Op, Err: lost(nat.HopRouter)})
			forms := []nat.Rule{rule, change.Want}
			if later {
				d.shown(having(change.Want)) // It was made.
				forms = forms[1:]
			} else {
				d.shown(having(rule))
				d.step(nat.RuleDone{Op: want[nat.ChangeAction](d).Op, Err: absent(nat.HopRouter)})
			}
			d.end(rule.Key)
			if diff := cmp.Diff(forms, want[nat.RemoveAction](d).Forms, cmpAddr); diff != "" {
				t.Errorf("removed in the forms (-want +got):\n%s", diff)
			}
		})
	}
}

// A look that began before a change of unknown outcome says nothing of its rule, also when
// the mapping was ended and is asked for again meanwhile.
func TestRevivalDuringALook(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { c.Delivery = nat.DeliverExternal })
	rule := d.mapped(tcp(alice, 80))
	d.step(nat.Look)
	d.ask(rule.Key, time.Hour)
	d.grant(want[nat.LeaseAction](d), 40001)
	change := want[nat.ChangeAction](d)
	d.step(nat.RuleDone{Op: change.Op, Err: lost(nat.HopRouter)})
	d.end(rule.Key)
	d.says(lost(nat.HopRouter), nil)
	d.out = slices.DeleteFunc(d.out, func(a nat.Action) bool { _, said := a.(nat.AnswerAction); return said })
	ticket := d.ask(rule.Key, time.Hour)
	d.granted()
	d.shown(having(rule)) // as it was before
	none[nat.ChangeAction](d, "nobody knows how the rule stands")
	d.shown(having(change.Want))
	if did := d.obey(); len(did) != 0 {
		t.Errorf("done %v, and the rule is as it should be", did)
	}
	if a := d.answer(ticket); a.Err != nil || a.Grant.ExternalPort != 40001 {
		t.Errorf("told %+v", a)
	}
}

// A router that restarted has its rules under other ids: one of a mapping that is being taken
// down is removed under its new one, and not only when the old one is known to be gone.
func TestRuleOfAnEndedMappingAfterTheRoutersRestart(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	rule := d.closing(tcp(alice, 80))
	d.out = nil
	d.look(having(rule))
	none[nat.RemoveAction](d, "its removal is tried again later")
	rule.ID = "*42"
	d.look(having(rule))
	if a := want[nat.RemoveAction](d); a.Forms[0].ID != "*42" {
		t.Errorf("removes %+v", a.Forms)
	}
}

// The same while the removal by its old id is under way, which then finds nothing.
func TestRuleThatIsBeingRemovedAfterTheRoutersRestart(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	rule := d.mapped(tcp(alice, 80))
	d.pass(time.Second)
	d.step(nat.Look)
	d.end(tcp(alice, 80))
	d.released()
	remove := want[nat.RemoveAction](d)
	rule.ID = "*42"
	d.shown(having(rule))
	if a := want[nat.RemoveAction](d); a.Forms[0].ID != "*42" {
		t.Errorf("removes %+v", a.Forms)
	}
	d.step(nat.RuleDone{Op: remove.Op})
	none[nat.RemoveAction](d, "both are being removed")
}

// The same once that has found nothing, and the lease is still being given back.
func TestRuleThatWasRemovedByItsOldID(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	rule := d.mapped(tcp(alice, 80))
	d.end(tcp(alice, 80))
	d.removed()
	d.look(having(rule))
	none[nat.RemoveAction](d, "it was removed while the router was read")
	rule.ID = "*42"
	d.look(having(rule))
	if a := want[nat.RemoveAction](d); a.Forms[0].ID != "*42" {
		t.Errorf("removes %+v", a.Forms)
	}
}

// What another mapping had before is not matched any more once the gateway gave it away.
func TestFormerPortThatTheGatewayGaveAway(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { c.Policy, c.Delivery = nat.PolicyClient, nat.DeliverBoth })
	first := d.mapped(tcp(alice, 80)).ExternalPort
	d.ask(tcp(alice, 80), time.Hour)
	d.grant(want[nat.LeaseAction](d), 40404)
	if rule := d.changed().Want; !slices.Contains(rule.Match[:], first) {
		t.Fatalf("%+v does not match the port that it had", rule)
	}
	d.out = nil
	ticket := d.ask(tcp(bob, 80), time.Hour)
	d.grant(want[nat.LeaseAction](d), first)
	if rule := d.changed().Want; slices.Contains(rule.Match[:], first) {
		t.Errorf("%+v matches the port that the gateway gave to another", rule)
	}
	d.released()
	d.grant(want[nat.LeaseAction](d), first)
	d.added()
	if a := d.answer(ticket); a.Err != nil || a.Grant.ExternalPort != first {
		t.Errorf("told %+v, %v", a.Grant, a.Err)
	}
}

// Of a rule that somebody copied and that is not adopted one lease is given back.
func TestLeaseOfACopiedRuleIsGivenBackOnce(t *testing.T) {
	t.Parallel()
	rule := nat.Rule{ID: "*1", Key: tcp(alice, 80), InnerPort: 20005, ExternalPort: 5351, Lifetime: time.Hour, Match: nat.MatchPorts{20005}}
	twin := rule
	twin.ID, twin.Lifetime = "*2", 2*time.Hour
	d := restarted(t, func(c *nat.Config) { c.Delivery = nat.DeliverBoth }, having(rule, twin))
	d.says(nil, absent(nat.HopGateway))
	d.pass(time.Second)
	if n := len(every[nat.ReleaseAction](d)); n != 1 {
		t.Errorf("%d releases, want one", n)
	}
}

// A rule in doubt that no look can settle while its lease is asked for is looked for after that, and
// not again and again until then, whatever the looks show of the other protocol.
func TestDoubtfulRuleWhileItsLeaseIsAskedFor(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { c.Policy = nat.PolicyClient })
	first := d.mapped(tcp(alice, 80))
	d.mapped(udp(alice, 80))
	d.look(having(first))
	add := want[nat.AddAction](d)
	d.ask(udp(alice, 80), time.Hour)
	lease := want[nat.LeaseAction](d)
	d.step(nat.RuleDone{Op: add.Op, Err: lost(nat.HopRouter)})
	d.pass(2 * time.Second) // That look failed, and the next one does not.
	d.shown(having(first))
	d.step(nat.Look)
	looks := 0
	for range 10 {
		for range every[nat.ReadAction](d) {
			looks++
			d.step(nat.ReadDone{Snapshot: having(first)})
		}
	}
	if looks > 1 {
		t.Errorf("%d looks while the lease is asked for", looks)
	}
	d.grant(lease, lease.Request.ExternalPort)
	d.shown(having(first))
	d.added()
}

// Where other ports are forwarded than when the daemon stopped, a mapping whose port another has now
// moves to one that is free, as it would have if the daemon had been there.
func TestAdoptionWithAnotherPool(t *testing.T) {
	t.Parallel()
	stays := nat.Rule{ID: "*1", Key: tcp(alice, 80), InnerPort: 30502, ExternalPort: 30000, Lifetime: time.Hour, Match: nat.MatchPorts{30502}}
	moves := nat.Rule{ID: "*2", Key: tcp(bob, 80), InnerPort: 30002, ExternalPort: 30002, Lifetime: time.Hour, Match: nat.MatchPorts{30002}}
	d := restarted(t, func(c *nat.Config) {
		c.Pool = poolOf(t, nat.PoolPort{External: 30002, Inner: 30502}, nat.PoolPort{External: 30003, Inner: 30503})
	}, having(stays, moves))
	d.obey()
	for key, external := range map[nat.Key]uint16{stays.Key: 30002, moves.Key: 30003} {
		if m, ok := d.Mapping(key); !ok || m.InnerPort != external+500 {
			t.Errorf("%v: %+v, want external port %d", key, m, external)
		}
	}
}

// Comments tell changed ports late, so that two may name one port after a crash: both mappings
// are adopted, and only the one that came first is told it before the gateway has said whose it is.
func TestAdoptionOfCommentsThatNameOnePort(t *testing.T) {
	t.Parallel()
	rule := func(key nat.Key, inner, external uint16) nat.Rule {
		return nat.Rule{ID: key.String(), Key: key, InnerPort: inner, ExternalPort: external, Lifetime: time.Hour, Match: nat.MatchPorts{inner}}
	}
	d := restarted(t, holding, having(rule(tcp(alice, 80), 20001, 30013), rule(tcp(bob, 80), 20002, 30013)))
	first, second := d.ask(tcp(alice, 80), time.Hour), d.ask(tcp(bob, 80), time.Hour)
	d.pass(time.Second)
	if a := d.answer(first); a.Err != nil || a.Grant.ExternalPort != 30013 {
		t.Errorf("told %+v, %v", a.Grant, a.Err)
	}
	none[nat.AnswerAction](d, "nobody knows bob's port")
	asked := every[nat.LeaseAction](d)
	d.grant(asked[0], 30027)
	d.grant(asked[1], 30013)
	if a := d.answer(second); a.Err != nil || a.Grant.ExternalPort != 30013 {
		t.Errorf("told %+v, %v", a.Grant, a.Err)
	}
}

// A rule takes the packets for an external port until it is changed: a mapping whose port changes
// twice while the router is away has its first one for as long.
func TestFormerPortOfAPortThatChangedTwice(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { c.Policy, c.Delivery = nat.PolicyClient, nat.DeliverExternal })
	first := d.mapped(tcp(alice, 80)).ExternalPort
	for _, port := range []uint16{40001, 40002} {
		d.ask(tcp(alice, 80), time.Hour)
		d.grant(want[nat.LeaseAction](d), port)
		for _, a := range every[nat.ChangeAction](d) {
			d.step(nat.RuleDone{Op: a.Op, Err: absent(nat.HopRouter)})
		}
	}
	d.out = nil
	d.ask(tcp(bob, 80), time.Hour)
	d.grant(want[nat.LeaseAction](d), first)
	none[nat.AddAction](d, "alice's rule takes the packets for the port")
	want[nat.ReleaseAction](d)
}

// A change that failed and is not wanted any more keeps no later one waiting.
func TestChangeAfterOneThatFailed(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { c.Policy = nat.PolicyClient })
	rule := d.mapped(tcp(alice, 80))
	d.askFiltered(tcp(alice, 80), sets(t, "203.0.113.7"))
	d.step(nat.RuleDone{Op: want[nat.ChangeAction](d).Op, Err: refusal(nat.HopRouter)})
	d.granted()
	for _, a := range every[nat.ChangeAction](d) {
		d.step(nat.RuleDone{Op: a.Op, Err: refusal(nat.HopRouter)})
	}
	if a := want[nat.AnswerAction](d); a.Err == nil {
		t.Errorf("told %+v", a.Grant)
	}
	d.pass(20 * time.Second)
	d.look(having(rule))
	d.out = nil
	d.askFiltered(tcp(alice, 80), sets(t, "198.51.100.0/24"))
	d.changed() // while the gateway is being asked
}
