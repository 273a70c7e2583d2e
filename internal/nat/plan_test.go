package nat_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"doublenat/internal/nat"
)

func ruleFor(id string, key nat.Key, inner, external uint16) nat.Rule {
	return nat.Rule{ID: id, Key: key, InnerPort: inner, ExternalPort: external, Lifetime: time.Hour, Match: nat.MatchPorts{inner}}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	one, two := ruleFor("*1", tcp(alice, 1), 20001, 40001), ruleFor("*2", tcp(alice, 2), 20002, 40002)
	with := func(r nat.Rule, change func(*nat.Rule)) nat.Rule {
		change(&r)
		return r
	}
	again := with(one, func(r *nat.Rule) { r.ID = "*9" })
	altered := with(one, func(r *nat.Rule) { r.Altered = true })
	newPort := with(one, func(r *nat.Rule) { r.ExternalPort = 50000 })
	without := with(one, func(r *nat.Rule) { r.ID = "" })
	older := with(one, func(r *nat.Rule) { r.Lifetime = time.Minute })
	for _, tt := range []struct {
		name        string
		want, found []nat.Rule
		changes     []nat.Change
	}{
		{"nothing", nil, nil, nil},
		{"equal", []nat.Rule{one}, []nat.Rule{one}, []nat.Change{{Kind: nat.TrackRule, Found: one, Want: one}}},
		{"missing", []nat.Rule{one}, nil, []nat.Change{{Kind: nat.AddRule, Want: without}}},
		{"stale", nil, []nat.Rule{one}, []nat.Change{{Kind: nat.RemoveRule, Found: one}}},
		{"exchanged", []nat.Rule{one}, []nat.Rule{two}, []nat.Change{{Kind: nat.RemoveRule, Found: two}, {Kind: nat.AddRule, Want: without}}},
		{"known one of two stays", []nat.Rule{again}, []nat.Rule{one, again}, []nat.Change{
			{Kind: nat.RemoveRule, Found: one}, {Kind: nat.TrackRule, Found: again, Want: again},
		}},
		{"first of two unknown stays", []nat.Rule{with(one, func(r *nat.Rule) { r.ID = "*7" })}, []nat.Rule{one, again}, []nat.Change{
			{Kind: nat.RemoveRule, Found: again}, {Kind: nat.TrackRule, Found: one, Want: with(one, func(r *nat.Rule) { r.ID = "*7" })},
		}},
		{"altered", []nat.Rule{one}, []nat.Rule{altered}, []nat.Change{{Kind: nat.RemoveRule, Found: altered}, {Kind: nat.AddRule, Want: without}}},
		{"altered and whole", []nat.Rule{one}, []nat.Rule{altered, again}, []nat.Change{
			{Kind: nat.RemoveRule, Found: altered}, {Kind: nat.TrackRule, Found: again, Want: one},
		}},
		{"comment", []nat.Rule{newPort}, []nat.Rule{one}, []nat.Change{{Kind: nat.UpdateRule, Found: one, Want: newPort}}},
		{"history is no reason", []nat.Rule{one}, []nat.Rule{older}, []nat.Change{{Kind: nat.TrackRule, Found: older, Want: one}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.changes, nat.Plan(tt.want, tt.found), cmpAddr); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever is found: after the changes the router has what is wanted and nothing
// else, and a second plan has nothing to do.
func TestPlanConverges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rule := rapid.Custom(func(t *rapid.T) nat.Rule {
			key := tcp(alice, rapid.Uint16Range(1, 4).Draw(t, "port"))
			inner := rapid.Uint16Range(20000, 20003).Draw(t, "inner")
			r := ruleFor("", key, inner, rapid.Uint16Range(40000, 40002).Draw(t, "external"))
			r.Altered = rapid.Bool().Draw(t, "altered")
			return r
		})
		found := rapid.SliceOfN(rule, 0, 8).Draw(t, "found")
		for i := range found {
			found[i].ID = fmt.Sprintf("*%X", i+1)
		}
		want := rapid.SliceOfNDistinct(rule, 0, 4, func(r nat.Rule) nat.Key { return r.Key }).Draw(t, "want")
		for i := range want {
			want[i].Altered = false
			want[i].ID = rapid.SampledFrom([]string{"", "*1", "*2", "*3", "*FF"}).Draw(t, "id")
		}

		after := carryOut(t, nat.Plan(want, found), found)
		if len(after) != len(want) {
			t.Fatalf("%d rules after the changes, want %d", len(after), len(want))
		}
		for _, c := range nat.Plan(want, after) {
			if c.Kind != nat.TrackRule {
				t.Fatalf("a second plan still wants to %v", c.Kind)
			}
		}
	})
}

func carryOut(t *rapid.T, changes []nat.Change, rules []nat.Rule) []nat.Rule {
	rules = slices.Clone(rules)
	for i, c := range changes {
		at := slices.IndexFunc(rules, func(r nat.Rule) bool { return r.ID == c.Found.ID && c.Found.ID != "" })
		if c.Kind != nat.AddRule && at < 0 {
			t.Fatalf("change %v of a rule that is not there", c)
		}
		switch c.Kind {
		case nat.RemoveRule:
			rules = slices.Delete(rules, at, at+1)
		case nat.UpdateRule:
			id := rules[at].ID
			rules[at] = c.Want
			rules[at].ID = id
		case nat.AddRule:
			c.Want.ID = fmt.Sprintf("*A%d", i)
			rules = append(rules, c.Want)
		case nat.TrackRule:
		}
	}
	return rules
}
