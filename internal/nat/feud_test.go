package nat_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

const (
	contested = "somebody else changes or removes our rules on the router again and again"
	settled   = "rules are left alone again"
)

// meddling is what somebody else does to a mapping's rule before a look, of which there
// is a number, and what mends it.
type meddling struct {
	name string
	do   func(rule nat.Rule, number int) nat.Snapshot
	mend []string
	// always is what is done about it also while it is left alone otherwise.
	always []string
	// alien is that the rules of others carry our mark.
	alien bool
}

func meddlings() []meddling {
	return []meddling{
		{"it is removed", func(nat.Rule, int) nat.Snapshot { return having() }, []string{"add"}, nil, false},
		{"it is switched off", func(rule nat.Rule, _ int) nat.Snapshot {
			rule.Altered = true
			return having(rule)
		}, []string{"remove", "add"}, nil, false},
		{"its comment is edited", func(rule nat.Rule, _ int) nat.Snapshot {
			rule.Edited = true
			return having(rule)
		}, []string{"change"}, nil, false},
		{"it is doubled", func(rule nat.Rule, number int) nat.Snapshot {
			double := rule
			double.ID = fmt.Sprintf("*D%d", number)
			return having(rule, double)
		}, []string{"remove"}, []string{"remove"}, false},
		{"another doublenat of our name makes one", func(rule nat.Rule, number int) nat.Snapshot {
			alien := rule
			alien.Key, alien.ID, alien.Alien = tcp(bob, 9), fmt.Sprintf("*A%d", number), true
			return having(rule, alien)
		}, []string{"remove"}, nil, true},
	}
}

// lasting is a desk with one mapping, which lasts longer than the test.
func lasting(t *testing.T) (*desk, nat.Rule) {
	t.Helper()
	d := atDesk(t, func(c *nat.Config) {
		c.ReconcileInterval, c.Contested = 24*time.Hour, "call the other one by another name"
	})
	d.life = time.Hour
	return d, d.mapped(tcp(alice, 80))
}

// meddled runs a test with each meddling, a desk and the rule of its mapping.
func meddled(t *testing.T, test func(d *desk, m meddling, rule nat.Rule)) {
	t.Helper()
	for _, m := range meddlings() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			d, rule := lasting(t)
			test(d, m, rule)
		})
	}
}

// Somebody else at our rules is no accident any more at the fourth time within ten minutes:
// it is said, once, and from then on it is mended ever more seldom. After ten minutes of peace
// that is over.
func TestFeud(t *testing.T) {
	t.Parallel()
	meddled(t, func(d *desk, m meddling, rule nat.Rule) {
		number := 0
		meddle := func() []string {
			number++
			if now, ok := d.Mapping(rule.Key); ok {
				rule.ID = now.RuleID
			}
			d.look(m.do(rule, number))
			return d.obey()
		}
		for i := range 4 {
			d.pass(time.Minute)
			if diff := cmp.Diff(m.mend, meddle()); diff != "" && (i < 3 || !m.alien) {
				d.t.Errorf("mended (-want +got):\n%s", diff)
			}
			if since := d.Status().ContestedSince; since.IsZero() != (i < 3) {
				d.t.Errorf("contested since %v, at the time %d", since, i+1)
			}
		}
		d.pass(30 * time.Second)
		if diff := cmp.Diff(m.always, meddle()); diff != "" {
			d.t.Errorf("half a minute after the last time (-want +got):\n%s", diff)
		}
		if n := len(every[nat.ReadAction](d)); n != 0 {
			d.t.Errorf("%d looks without a reason", n)
		}
		said := fmt.Sprintf("rules_never_made_here %v remedy call the other one by another name", m.alien)
		if got := d.logged(contested); got != said || d.logged(settled) != "" {
			d.t.Errorf("said %q, want %q, and not that it is over", got, said)
		}
		d.out = nil
		meddled := d.now
		for range 10 {
			d.pass(time.Minute)
			if now, ok := d.Mapping(rule.Key); ok && now.RuleID != "" {
				rule.ID = now.RuleID
			}
			d.look(having(rule))
			d.obey()
			if over := d.logged(settled) != ""; over != (d.now.Sub(meddled) == 10*time.Minute) || over != d.Status().ContestedSince.IsZero() {
				d.t.Errorf("over %v after %v of peace, contested since %v", over, d.now.Sub(meddled), d.Status().ContestedSince)
			}
		}
		if d.logged(contested) != "" {
			d.t.Error("said twice")
		}
	})
}

// Who looks after his router now and then, or another cause of one fault in four minutes,
// is nobody to quarrel with: all is mended at once, for ever.
func TestFaultsNowAndThenAreNoFeud(t *testing.T) {
	t.Parallel()
	meddled(t, func(d *desk, m meddling, rule nat.Rule) {
		for number := range 12 {
			d.pass(4 * time.Minute)
			now, _ := d.Mapping(rule.Key)
			rule.ID = now.RuleID
			d.look(m.do(rule, number))
			if diff := cmp.Diff(m.mend, d.obey()); diff != "" {
				d.t.Errorf("mended (-want +got):\n%s", diff)
			}
		}
		if d.logged(contested) != "" {
			d.t.Error("taken for a feud")
		}
	})
}

// refused has the router refuse every change.
func (d *desk) refused() {
	d.says(refusal(nat.HopRouter), nil)
	for _, a := range every[nat.ChangeAction](d) {
		d.step(nat.RuleDone{Op: a.Op, Err: refusal(nat.HopRouter)})
	}
	for _, a := range every[nat.AddAction](d) { // Some come after a removal.
		d.step(nat.RuleDone{Op: a.Op, Err: refusal(nat.HopRouter)})
	}
}

// A router that lets nobody write keeps what somebody did to it once: that is no feud, and it is
// mended with the first look after that.
func TestRouterThatRefusesIsNoFeud(t *testing.T) {
	t.Parallel()
	meddled(t, func(d *desk, m meddling, rule nat.Rule) {
		left := m.do(rule, 0)
		d.look(left)
		for range 8 {
			d.refused()
			d.pass(time.Minute)
			d.shown(left)
		}
		if d.logged(contested) != "" {
			d.t.Error("taken for a feud")
		}
		if diff := cmp.Diff(m.mend, d.obey()); diff != "" {
			d.t.Errorf("mended (-want +got):\n%s", diff)
		}
	})
}

// In a feud what others do is undone ever more seldom: after a minute, after two, four, eight,
// and then every ten minutes.
func TestFeudIsFoughtEverMoreSeldom(t *testing.T) {
	t.Parallel()
	d, _ := lasting(t)
	var mended []int
	for minute := range 55 {
		d.look(having())
		if len(d.obey()) > 0 {
			mended = append(mended, minute)
		}
		d.pass(time.Minute)
	}
	if diff := cmp.Diff([]int{0, 1, 2, 3, 4, 6, 10, 18, 28, 38, 48}, mended); diff != "" {
		t.Errorf("mended in the minutes (-want +got):\n%s", diff)
	}
}
