package nat_test

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

// stop asks for the end, within a time.
func (d *desk) stop(within time.Duration) { d.step(nat.Stop{Deadline: d.now.Add(within)}) }

// wantStopped fails the test unless the engine has stopped, and has said this of it.
func (d *desk) wantStopped(said string) {
	d.t.Helper()
	if err := want[nat.StoppedAction](d).Err; (err == nil) != (said == "") || err != nil && err.Error() != said {
		d.t.Errorf("stopped with error %v, want %q", err, said)
	}
}

// wantOn fails the test if the engine has stopped.
func (d *desk) wantOn(why string) {
	d.t.Helper()
	none[nat.StoppedAction](d, why)
}

// says has the router end all removals that are under way like this, and the gateway all
// releases, and returns how many these were.
func (d *desk) says(router, gateway error) (removals, releases int) {
	for _, a := range every[nat.RemoveAction](d) {
		removals++
		d.step(nat.RuleDone{Op: a.Op, Err: router})
	}
	for _, a := range every[nat.ReleaseAction](d) {
		releases++
		d.step(nat.ReleaseDone{Op: a.Op, Err: gateway})
	}
	return removals, releases
}

// closing makes a mapping that ended and whose rule the router did not remove.
func (d *desk) closing(key nat.Key) nat.Rule {
	d.t.Helper()
	rule := d.mapped(key)
	d.end(key)
	d.says(refusal(nat.HopRouter), nil)
	if m, ok := d.Mapping(key); !ok || !m.Closing {
		d.t.Fatalf("%+v, want a mapping that is closing", m)
	}
	d.out = nil
	return rule
}

// The last line of the log says how much was taken down or left, and whether all went well.
func TestStopSaysWhatItDid(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		router, gateway error
		said, stopped   string
	}{
		{"all goes", nil, nil, "mappings 3 complete true", ""},
		{"rules stay", refusal(nat.HopRouter), nil, "mappings 3 complete false", "3 of 3 rules not removed: router denied; …"},
		{"leases stay", nil, refusal(nat.HopGateway), "mappings 3 complete false", "2 of 2 leases not released: gateway denied; …"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := atDesk(t, nil)
			rules := []nat.Rule{d.mapped(tcp(alice, 1)), d.mapped(tcp(bob, 1)), d.closing(udp(bob, 2))}
			d.stop(7 * time.Second)
			d.shown(having(rules...))
			d.says(tt.router, tt.gateway)
			if said := d.logged("took down all mappings"); said != tt.said {
				t.Errorf("said %q, want %q", said, tt.said)
			}
			d.wantStopped(tt.stopped)
		})
	}
	t.Run("mappings are kept", func(t *testing.T) {
		t.Parallel()
		d := atDesk(t, func(c *nat.Config) { c.KeepOnShutdown = true })
		d.mapped(tcp(alice, 1))
		d.mapped(tcp(bob, 1))
		d.closing(udp(bob, 2))
		d.stop(7 * time.Second)
		if removals, releases := d.says(nil, nil); removals != 1 || releases != 0 {
			t.Errorf("%d removals and %d releases, want those of what had ended before", removals, releases)
		}
		if said := d.logged("leaving rules and leases in place for the next start"); said != "mappings 2" {
			t.Errorf("said %q of two mappings", said)
		}
		d.wantStopped("")
	})
}

// What is removed is what the router has: a rule under the id that it has now, one that is
// gone not at all, and one that nobody knows of too.
func TestStopRemovesWhatTheRouterHas(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	moved, gone := d.mapped(tcp(alice, 1)), d.mapped(tcp(bob, 1))
	stray := gone
	moved.ID, stray.ID, stray.Key = "*F1", "*F2", udp(bob, 9)
	d.stop(7 * time.Second)
	d.shown(having(stray, moved))
	var removed []string
	for _, a := range every[nat.RemoveAction](d) {
		for _, rule := range a.Forms {
			removed = append(removed, rule.ID)
		}
		d.step(nat.RuleDone{Op: a.Op})
	}
	slices.Sort(removed)
	if diff := cmp.Diff([]string{"*F1", "*F2"}, removed); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	d.says(nil, nil)
	d.wantStopped("")
}

// A mapping is told to be over when its own rule is gone.
func TestStopTellsOfEachMapping(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	rules := []nat.Rule{d.mapped(tcp(alice, 1)), d.mapped(tcp(bob, 1))}
	d.stop(7 * time.Second)
	d.shown(having(rules[1], rules[0]))
	for _, a := range every[nat.ReleaseAction](d) {
		d.step(nat.ReleaseDone{Op: a.Op})
	}
	none[nat.TellAction](d, "no rule is gone yet")
	for _, a := range every[nat.RemoveAction](d) {
		d.step(nat.RuleDone{Op: a.Op})
		if told := want[nat.TellAction](d).Event; told.Kind != nat.EventShutdown || told.Mapping.Key != a.Forms[0].Key || told.Mapping.RuleID != a.Forms[0].ID {
			t.Errorf("told %+v when the rule of %v was gone", told, a.Forms[0].Key)
		}
		none[nat.TellAction](d, "the others are there")
	}
}

// What a stop interrupts is tried once more, and at once: there is little time.
func TestStopTriesAtOnceWhatItInterrupts(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	rule := d.mapped(tcp(alice, 1))
	d.end(tcp(alice, 1))
	remove, release := want[nat.RemoveAction](d), want[nat.ReleaseAction](d)
	d.stop(7 * time.Second)
	if n := len(every[nat.InterruptAction](d)); n != 2 {
		t.Errorf("%d interrupts, want one for each layer", n)
	}
	d.step(nat.RuleDone{Op: remove.Op, Err: lost(nat.HopRouter)})
	d.step(nat.ReleaseDone{Op: release.Op, Err: lost(nat.HopGateway)})
	d.shown(having(rule))
	if removals, releases := d.says(nil, nil); removals != 1 || releases != 1 {
		t.Errorf("%d removals and %d releases, want one each", removals, releases)
	}
	d.wantStopped("")
}

// Who asked for the end of a mapping is not told that it is gone when the stop leaves its rule.
func TestStopThatLeavesTheRuleOfADeletion(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	rule := d.mapped(tcp(alice, 1))
	ticket := d.end(tcp(alice, 1))
	remove, release := want[nat.RemoveAction](d), want[nat.ReleaseAction](d)
	d.step(nat.RuleDone{Op: remove.Op, Err: refusal(nat.HopRouter)})
	d.stop(7 * time.Second)
	d.step(nat.ReleaseDone{Op: release.Op, Err: lost(nat.HopGateway)})
	d.shown(having(rule))
	d.says(refusal(nat.HopRouter), nil)
	if a := d.answer(ticket); a.Err == nil {
		t.Errorf("told %+v, and the rule is there", a.Grant)
	}
	d.wantStopped("1 of 1 rules not removed: router denied")
}

// During a stop the gateway's leases are given back or kept: one that lost its state is asked for none.
func TestStopWhenTheGatewayLosesItsState(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		d := atDesk(t, func(c *nat.Config) { c.KeepOnShutdown, c.Random = keep, func() float64 { return 0.5 } })
		rule := d.mapped(tcp(alice, 1))
		d.closing(udp(bob, 2))
		d.stop(7 * time.Second)
		d.step(nat.ClockStood)
		d.step(nat.StateLost)
		if !keep {
			d.shown(having(rule))
		}
		d.says(nil, nil)
		d.wantStopped("")
		d.pass(time.Minute)
		if at := d.Next(); !at.IsZero() {
			t.Errorf("keep %v: wants to be stepped at %v after its stop", keep, at)
		}
		if slices.ContainsFunc(every[nat.LogAction](d), func(a nat.LogAction) bool { return a.Level == slog.LevelWarn }) {
			t.Errorf("keep %v: warns of leases that nobody asks for", keep)
		}
		none[nat.LeaseAction](d, "it stopped")
	}
}

// A removal that fails now and then is tried after 250 ms, 500 ms, and each second; not
// when that would be too late, so that nobody waits for nothing.
func TestStopTriesWhileThereIsTime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		within  time.Duration
		err     error
		tries   []time.Duration
		stopped time.Duration
	}{
		{"seven seconds", 4 * time.Second, absent(nat.HopRouter), []time.Duration{0, 250 * time.Millisecond, 750 * time.Millisecond, 1750 * time.Millisecond, 2750 * time.Millisecond, 3750 * time.Millisecond}, 3750 * time.Millisecond},
		{"a moment", 200 * time.Millisecond, absent(nat.HopRouter), []time.Duration{0}, 0},
		{"no hope", 4 * time.Second, refusal(nat.HopRouter), []time.Duration{0}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := atDesk(t, nil)
			rule := d.mapped(tcp(alice, 1))
			began := d.now
			d.stop(tt.within)
			d.shown(having(rule))
			d.released()
			var tries []time.Duration
			for !slices.ContainsFunc(d.out, func(a nat.Action) bool { _, over := a.(nat.StoppedAction); return over }) {
				if removals, _ := d.says(tt.err, nil); removals > 0 {
					tries = append(tries, d.now.Sub(began))
					continue
				}
				d.pass(10 * time.Millisecond)
			}
			if diff := cmp.Diff(tt.tries, tries); diff != "" {
				t.Errorf("tries (-want +got):\n%s", diff)
			}
			if took := d.now.Sub(began); took != tt.stopped {
				t.Errorf("stopped after %v, want %v", took, tt.stopped)
			}
			d.wantStopped("1 of 1 rules not removed: " + tt.err.Error())
		})
	}
}

// Some gateways serve one request after the other: a release that took its time and had no
// answer is asked for again. One that failed at once is not.
func TestStopAsksASlowGatewayAgain(t *testing.T) {
	t.Parallel()
	for _, took := range []time.Duration{0, time.Second} {
		t.Run(took.String(), func(t *testing.T) {
			t.Parallel()
			d := atDesk(t, nil)
			rule := d.mapped(tcp(alice, 1))
			d.stop(7 * time.Second)
			d.shown(having(rule))
			d.removed()
			release := want[nat.ReleaseAction](d)
			d.pass(took)
			d.step(nat.ReleaseDone{Op: release.Op, Err: lost(nat.HopGateway)})
			if took == 0 {
				d.wantStopped("1 of 1 leases not released: " + lost(nat.HopGateway).Error())
				return
			}
			d.wantOn("there is time")
			d.released()
			d.wantStopped("")
		})
	}
}

// A renewal that a deletion interrupted may be granted after the release: a stop waits
// for the second release too, as long as it may.
func TestStopReleasesWhatMayComeLate(t *testing.T) {
	t.Parallel()
	for _, within := range []time.Duration{7 * time.Second, 500 * time.Millisecond} {
		t.Run(within.String(), func(t *testing.T) {
			t.Parallel()
			d := atDesk(t, nil)
			d.mapped(tcp(alice, 1))
			d.ask(tcp(alice, 1), time.Hour)
			renewal := want[nat.LeaseAction](d)
			d.end(tcp(alice, 1))
			d.step(nat.LeaseDone{Op: renewal.Op, Err: lost(nat.HopGateway)})
			d.removed()
			release := want[nat.ReleaseAction](d)
			began := d.now
			d.stop(within)
			d.step(nat.ReleaseDone{Op: release.Op})
			d.wantOn("the renewal may have been granted after the release")
			for range 20 {
				d.pass(100 * time.Millisecond)
				if removals, releases := d.says(nil, nil); removals+releases > 0 && d.now.Sub(began) != time.Second {
					t.Errorf("%d removals and %d releases after %v", removals, releases, d.now.Sub(began))
				}
				if slices.ContainsFunc(d.out, func(a nat.Action) bool { _, over := a.(nat.StoppedAction); return over }) {
					break
				}
			}
			if took := d.now.Sub(began); took != min(within, time.Second) {
				t.Errorf("stopped after %v", took)
			}
			d.wantStopped(map[bool]string{true: "1 of 2 leases not released: " + lost(nat.HopGateway).Error()}[within < time.Second])
		})
	}
}

// A stop during a comparison, whose changes it interrupts, looks at the router at once.
func TestStopDuringAComparison(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	rule := d.mapped(tcp(alice, 80))
	altered := rule
	altered.Altered = true
	d.look(having(altered))
	removal := want[nat.RemoveAction](d)
	d.step(nat.Stop{Deadline: d.now.Add(7 * time.Second)})
	d.step(nat.RuleDone{Op: removal.Op, Err: lost(nat.HopRouter)})
	d.shown(having(altered))
	d.obey()
	if got := want[nat.StoppedAction](d); got.Err != nil {
		t.Error(got.Err)
	}
}

// A second wish to stop gives no more time.
func TestSecondStop(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	rule := d.mapped(tcp(alice, 1))
	d.stop(time.Second)
	d.shown(having(rule))
	deadline := want[nat.ReleaseAction](d).Deadline
	d.stop(time.Hour)
	none[nat.InterruptAction](d, "it stops already")
	d.says(absent(nat.HopRouter), nil)
	d.pass(250 * time.Millisecond)
	if at := want[nat.RemoveAction](d).Deadline; !at.Equal(deadline) {
		t.Errorf("the next try may last until %v, want %v", at, deadline)
	}
}

// Who waits for a mapping hears of the stop at once, and who waits for an end when it has come.
func TestStopAnswersWhoWaits(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	rule := d.mapped(tcp(bob, 1))
	ending := d.end(tcp(bob, 1))
	asked := d.ask(tcp(alice, 1), time.Hour)
	making := want[nat.LeaseAction](d)
	d.stop(7 * time.Second)
	wantReason(t, d.answer(asked).Err, nat.ReasonUnreachable)
	d.step(nat.LeaseDone{Op: making.Op, Err: lost(nat.HopGateway)})
	none[nat.AnswerAction](d, "nothing has ended yet")
	d.shown(having(rule))
	d.says(nil, nil)
	d.says(nil, nil)
	if a := d.answer(ending); a.Err != nil {
		t.Errorf("a deletion that came before the stop failed: %v", a.Err)
	}
	d.wantStopped("")
}

// However much is to be taken down beside each other, a stop with a silent gateway has an
// end: what waited for its turn has no time of its own.
func TestStopOfManyIsInTime(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, _ *world) { c.MaxMappingsPerClient = 100 }, func(w *world) {
		for i := range uint16(100) {
			w.mapped(tcp(alice, 1+i))
		}
		w.gateway.edit(func(g *gateway) { g.before = silent })
		began := time.Now()
		err := w.stop()
		if took := time.Since(began); took > 7*time.Second {
			w.t.Errorf("stopped after %v", took)
		}
		if fault := (*nat.Error)(nil); !errors.As(err, &fault) || len(w.router.ids()) != 0 {
			w.t.Errorf("error %v, rules %v; want the leases only to be left", err, w.router.ids())
		}
		w.stop = func() error { return nil }
	})
}

// A look that the router asks for during a stop comes to nothing, and the clock rests: the
// stop has had the one that it wants.
func TestLookDuringTheStop(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	rule := d.mapped(tcp(alice, 80))
	d.stop(7 * time.Second)
	d.shown(having(rule))
	d.step(nat.Look)
	d.pass(time.Second)
	d.wantOn("its rule and its lease are still there")
	d.says(nil, nil)
	d.wantStopped("")
	d.step(nat.Look)
	d.pass(time.Second)
}
