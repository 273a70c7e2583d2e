package nat_test

import (
	"net/netip"
	"testing"
	"time"

	"doublenat/internal/nat"
)

// remote reads a remote, "" for everybody.
func remote(t *testing.T, text string) nat.Remote {
	t.Helper()
	if text == "" {
		return nat.Remote{}
	}
	r, err := nat.ParseRemote(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return r
}

// adds and sets are filters of a request.
func adds(t *testing.T, text string) nat.Filter {
	t.Helper()
	return nat.Filter{Op: nat.FilterAdd, Remote: remote(t, text)}
}

func sets(t *testing.T, text string) nat.Filter {
	t.Helper()
	return nat.Filter{Op: nat.FilterSet, Remote: remote(t, text)}
}

// askFiltered has a client ask for a mapping with a filter.
func (d *desk) askFiltered(key nat.Key, f nat.Filter) nat.TicketID {
	d.t.Helper()
	d.tickets++
	d.step(nat.Ask{Ticket: d.tickets, Request: nat.MapRequest{Key: key, Lifetime: time.Hour, Filter: f}})
	return d.tickets
}

// mappedFor makes a mapping that is open to a remote.
func (d *desk) mappedFor(key nat.Key, text string) nat.Rule {
	d.t.Helper()
	ticket := d.askFiltered(key, adds(d.t, text))
	d.granted()
	rule := d.added()
	if a := d.answer(ticket); a.Err != nil || rule.Remote != remote(d.t, text) {
		d.t.Fatalf("%+v, %v", rule, a.Err)
	}
	return rule
}

// changed has the router make a change that is to be made, and returns it.
func (d *desk) changed() nat.ChangeAction {
	d.t.Helper()
	a := want[nat.ChangeAction](d)
	d.step(nat.RuleDone{Op: a.Op, Rule: a.Want})
	return a
}

// wantRemote fails the test if the only mapping is open to somebody else.
func (d *desk) wantRemote(text string) {
	d.t.Helper()
	if all := d.Mappings(); len(all) != 1 || all[0].Remote != remote(d.t, text) {
		d.t.Errorf("%+v, want one that is open to %q", all, text)
	}
}

// A remote has one spelling, and nothing else is read.
func TestRemoteText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"203.0.113.7", "203.0.113.0/24", "203.0.113.7:5000", "203.0.113.0/24:5000", "0.0.0.0/0:5000", "128.0.0.0/1"} {
		if got := remote(t, text).String(); got != text {
			t.Errorf("%q reads as %q", text, got)
		}
	}
	for text, want := range map[string]string{"203.0.113.7/24": "203.0.113.0/24", "203.0.113.7/32:0": "203.0.113.7", "1.2.3.4/0": ""} {
		if got := remote(t, text).String(); got != want {
			t.Errorf("%q reads as %q", text, got)
		}
	}
	for _, text := range []string{"", "x", "203.0.113.7:", "203.0.113.7:65536", "203.0.113.0/33", "2001:db8::1", "::/0", "::ffff:203.0.113.7", "1.2.3.4:1:1"} {
		if got, err := nat.ParseRemote(text); err == nil {
			t.Errorf("%q reads as %+v", text, got)
		}
	}
}

func FuzzParseRemote(f *testing.F) {
	f.Add("203.0.113.0/24:5000")
	f.Add("203.0.113.7")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := nat.ParseRemote(text)
		if err != nil || r == (nat.Remote{}) {
			return
		}
		if again, err := nat.ParseRemote(r.String()); err != nil || again != r {
			t.Errorf("%q: %+v is written %q and read %+v, %v", text, r, r, again, err)
		}
	})
}

func TestRemoteAdmits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		remote, from string
		want         bool
	}{
		{"", "198.51.100.1:1", true},
		{"203.0.113.7", "203.0.113.7:1", true},
		{"203.0.113.7", "203.0.113.8:1", false},
		{"203.0.113.0/24", "203.0.113.255:1", true},
		{"203.0.113.0/24", "203.0.114.0:1", false},
		{"203.0.113.0/24:5000", "203.0.113.1:5000", true},
		{"203.0.113.0/24:5000", "203.0.113.1:5001", false},
		{"0.0.0.0/0:5000", "198.51.100.1:5000", true},
		{"0.0.0.0/0:5000", "198.51.100.1:5001", false},
		{"203.0.113.7", "[::ffff:203.0.113.7]:1", true},
		{"203.0.113.7", "[2001:db8::7]:1", false},
	} {
		if got := remote(t, tt.remote).Admits(netip.MustParseAddrPort(tt.from)); got != tt.want {
			t.Errorf("%q admits %s: %v", tt.remote, tt.from, got)
		}
	}
}

// Filters of one request are one if one of them has the others: those before the last that
// clears do not count.
func TestFilterThen(t *testing.T) {
	t.Parallel()
	keep := nat.Filter{}
	for _, tt := range []struct {
		a, b, want nat.Filter
		ok         bool
	}{
		{keep, keep, keep, true},
		{keep, adds(t, "203.0.113.7"), adds(t, "203.0.113.7"), true},
		{adds(t, "203.0.113.7"), keep, adds(t, "203.0.113.7"), true},
		{adds(t, "203.0.113.7"), sets(t, ""), sets(t, ""), true},
		{sets(t, ""), adds(t, "203.0.113.7"), sets(t, "203.0.113.7"), true},
		{sets(t, "203.0.113.7"), sets(t, ""), sets(t, ""), true},
		{adds(t, "203.0.113.7"), adds(t, "203.0.113.7"), adds(t, "203.0.113.7"), true},
		{adds(t, "203.0.113.7"), adds(t, "203.0.113.0/24"), adds(t, "203.0.113.0/24"), true},
		{adds(t, "203.0.113.0/24"), adds(t, "203.0.113.7:5000"), adds(t, "203.0.113.0/24"), true},
		{adds(t, "203.0.113.0/24"), adds(t, "203.0.113.0/25"), adds(t, "203.0.113.0/24"), true},
		{adds(t, "203.0.113.0/25"), adds(t, "203.0.113.0/24"), adds(t, "203.0.113.0/24"), true},
		{adds(t, ""), adds(t, "203.0.113.7"), adds(t, ""), true},
		{adds(t, "203.0.113.7"), adds(t, ""), adds(t, ""), true},
		{adds(t, "203.0.113.7"), adds(t, "203.0.113.8"), nat.Filter{}, false},
		{adds(t, "203.0.113.7:1"), adds(t, "203.0.113.7:2"), nat.Filter{}, false},
		{adds(t, "203.0.113.0/24:1"), adds(t, "203.0.113.7"), nat.Filter{}, false},
		{sets(t, "203.0.113.7"), adds(t, "203.0.113.8"), nat.Filter{}, false},
	} {
		got, ok := tt.a.Then(tt.b)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%+v then %+v: %+v, %v", tt.a, tt.b, got, ok)
		}
	}
}

// Who does not speak of filters leaves the one that there is, and costs the router nothing.
func TestFilterStays(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.mappedFor(tcp(alice, 80), "203.0.113.7")
	for _, f := range []nat.Filter{{}, adds(t, "203.0.113.7"), sets(t, "203.0.113.7"), adds(t, "203.0.113.7:5000")} {
		d.pass(40 * time.Second)
		ticket := d.askFiltered(tcp(alice, 80), f)
		d.granted()
		if a := d.answer(ticket); a.Err != nil {
			t.Errorf("%+v: %v", f, a.Err)
		}
		none[nat.ChangeAction](d, "nothing changed")
		d.wantRemote("203.0.113.7")
	}
}

// The rule has the new filter before the client hears that it has.
func TestFilterChanges(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		before, after string
		filter        func(*testing.T, string) nat.Filter
	}{
		{"203.0.113.7", "198.51.100.0/24", sets},
		{"203.0.113.7", "", sets},
		{"203.0.113.7", "203.0.113.7:5000", sets},
		{"203.0.113.7", "203.0.113.0/24", adds},
		{"", "203.0.113.7", adds},
	} {
		d := atDesk(t, nil)
		d.mappedFor(tcp(alice, 80), tt.before)
		ticket := d.askFiltered(tcp(alice, 80), tt.filter(t, tt.after)) // A lease that fresh is not asked for.
		change := want[nat.ChangeAction](d)
		d.granted()
		none[nat.AnswerAction](d, "the rule is not changed yet")
		if change.Found.Remote != remote(t, tt.before) || change.Want.Remote != remote(t, tt.after) || change.Found.ID != change.Want.ID {
			t.Errorf("%+v", change)
		}
		d.step(nat.RuleDone{Op: change.Op, Rule: change.Want})
		if a := d.answer(ticket); a.Err != nil {
			t.Errorf("%+v: %v", tt, a.Err)
		}
		d.wantRemote(tt.after)
	}
}

// More than one remote is refused, and changes nothing on either layer.
func TestFilterTooMany(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.mappedFor(tcp(alice, 80), "203.0.113.7")
	before := d.Mappings()[0]
	d.pass(40 * time.Second)
	wantReason(t, d.answer(d.askFiltered(tcp(alice, 80), adds(t, "203.0.113.8"))).Err, nat.ReasonRemotes)
	none[nat.LeaseAction](d, "it was refused")
	none[nat.ChangeAction](d, "it was refused")
	if got := d.Mappings()[0]; got != before {
		t.Errorf("%+v, before %+v", got, before)
	}
}

// A change that the router refuses is told, and is none: whoever renews is served as before.
func TestFilterNotChanged(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.mappedFor(tcp(alice, 80), "203.0.113.7")
	wants := d.askFiltered(tcp(alice, 80), sets(t, ""))
	renews := d.ask(tcp(alice, 80), time.Hour)
	change := want[nat.ChangeAction](d)
	d.granted()
	d.step(nat.RuleDone{Op: change.Op, Err: routerError(nat.ReasonDenied, false)})
	if a := d.answer(wants); a.Err == nil {
		t.Error("told of a change that was not made")
	}
	if a := d.answer(renews); a.Err != nil {
		t.Errorf("renewed: %v", a.Err)
	}
	d.wantRemote("203.0.113.7")
	d.pass(5 * time.Minute)
	none[nat.ChangeAction](d, "the rule is as it should be")
}

// A change whose outcome is unknown, and of which a client was told that it failed, is undone
// when it is found.
func TestFilterInDoubt(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	rule := d.mappedFor(tcp(alice, 80), "203.0.113.7")
	ticket := d.askFiltered(tcp(alice, 80), sets(t, "198.51.100.1"))
	change := want[nat.ChangeAction](d)
	d.granted()
	d.step(nat.RuleDone{Op: change.Op, Err: routerError(nat.ReasonUnreachable, true)})
	if a := d.answer(ticket); a.Err == nil {
		t.Error("told of a change that may not have been made")
	}
	again := d.ask(tcp(alice, 80), time.Hour)
	d.granted()
	if a := d.answer(again); a.Err == nil {
		t.Error("renewed while the rule may let in somebody else")
	}
	rule.Remote = remote(t, "198.51.100.1")
	d.step(nat.ReadDone{Snapshot: nat.Snapshot{Rules: []nat.Rule{rule}}})
	if back := d.changed(); back.Want.Remote != remote(t, "203.0.113.7") {
		t.Errorf("%+v", back)
	}
	d.wantRemote("203.0.113.7")
}

// A gateway that says no to the renewal takes the change back with it.
func TestFilterRefusedByTheGateway(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"gateway", "router"} {
		d := atDesk(t, nil)
		d.mappedFor(tcp(alice, 80), "203.0.113.7")
		d.pass(d.life - time.Second/2) // Nothing is left that a client could be promised.
		ticket := d.askFiltered(tcp(alice, 80), sets(t, ""))
		lease, change := want[nat.LeaseAction](d), want[nat.ChangeAction](d)
		refuse := func() { d.step(nat.LeaseDone{Op: lease.Op, Err: gatewayError(nat.ReasonDenied, false)}) }
		if first == "gateway" {
			refuse()
		}
		d.step(nat.RuleDone{Op: change.Op, Rule: change.Want})
		if first == "router" {
			refuse()
		}
		if a := d.answer(ticket); a.Err == nil {
			t.Errorf("%s first: told %+v", first, a.Grant)
		}
		if back := d.changed(); back.Want.Remote != remote(t, "203.0.113.7") {
			t.Errorf("%s first: %+v", first, back)
		}
		d.wantRemote("203.0.113.7")
	}
}

// Of two that ask while the mapping is being made the later one counts, and neither hears
// anything before the rule has its filter.
func TestFilterWhileMaking(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	first := d.askFiltered(tcp(alice, 80), adds(t, "203.0.113.7"))
	d.granted()
	add := want[nat.AddAction](d)
	wantReason(t, d.answer(d.askFiltered(tcp(alice, 80), adds(t, "203.0.113.8"))).Err, nat.ReasonRemotes)
	second := d.askFiltered(tcp(alice, 80), sets(t, "198.51.100.1"))
	add.Rule.ID = "*1"
	d.step(nat.RuleDone{Op: add.Op, Rule: add.Rule})
	none[nat.AnswerAction](d, "the rule lets in somebody else")
	if change := d.changed(); change.Want.Remote != remote(t, "198.51.100.1") {
		t.Errorf("%+v", change)
	}
	for _, ticket := range []nat.TicketID{first, second} {
		if a := d.answer(ticket); a.Err != nil {
			t.Error(a.Err)
		}
	}
	d.wantRemote("198.51.100.1")
}

// A mapping that ended leaves its filter, or that it had none, to nobody. Where its rule could
// not be removed it is changed before the client of the new one hears of that; a router that
// does not change it fails it, and has to remove it again.
func TestFilterIsNotInherited(t *testing.T) {
	t.Parallel()
	for _, changes := range []bool{true, false} {
		d := atDesk(t, nil)
		rule := d.mappedFor(tcp(alice, 80), "")
		d.end(tcp(alice, 80))
		d.step(nat.RuleDone{Op: want[nat.RemoveAction](d).Op, Err: routerError(nat.ReasonDenied, false)})
		d.released()
		d.out = nil
		ticket := d.askFiltered(tcp(alice, 80), adds(t, "203.0.113.7"))
		d.granted()
		none[nat.AnswerAction](d, "the rule lets in everybody")
		d.shown(nat.Snapshot{Rules: []nat.Rule{rule}})
		change := want[nat.ChangeAction](d)
		none[nat.AnswerAction](d, "the rule lets in everybody")
		if changes {
			d.step(nat.RuleDone{Op: change.Op, Rule: change.Want})
			if a := d.answer(ticket); a.Err != nil || change.Want.Remote != remote(t, "203.0.113.7") {
				t.Errorf("%v, %+v", a.Err, change)
			}
			continue
		}
		d.step(nat.RuleDone{Op: change.Op, Err: routerError(nat.ReasonDenied, false)})
		if a := d.answer(ticket); a.Err == nil {
			t.Error("made with a rule that lets in everybody")
		}
		d.removed()
	}
}

// What a run before this one left has its filter still, and so it is where somebody changed
// the rule: that is mended to what it was.
func TestFilterIsAdopted(t *testing.T) {
	t.Parallel()
	rule := nat.Rule{
		ID: "*1", Key: tcp(alice, 80), InnerPort: 20000, ExternalPort: 40000, Lifetime: time.Hour, Match: nat.MatchPorts{20000},
		Remote: remote(t, "203.0.113.0/24"),
	}
	for _, altered := range []bool{false, true} {
		rule.Altered = altered
		d := restarted(t, nil, nat.Snapshot{Rules: []nat.Rule{rule}})
		d.wantRemote("203.0.113.0/24")
		if altered {
			d.removed()
			if again := d.added(); again.Remote != rule.Remote {
				t.Errorf("made again: %+v", again)
			}
		}
		none[nat.ChangeAction](d, "it is as it should be")
		ticket := d.ask(tcp(alice, 80), time.Hour)
		d.granted()
		if a := d.answer(ticket); a.Err != nil {
			t.Error(a.Err)
		}
		d.wantRemote("203.0.113.0/24")
	}
}

// Nobody is told of a filter from the table as long as the rule may get another one, and who
// comes too late to have one is told that.
func TestFilterAndTheTable(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.mappedFor(tcp(alice, 80), "203.0.113.7")
	d.out = nil
	d.askFiltered(tcp(alice, 80), sets(t, "198.51.100.1"))
	d.askFiltered(tcp(alice, 80), sets(t, "203.0.113.7")) // as it was, and is on the router still
	d.pass(time.Second)
	none[nat.AnswerAction](d, "the router is at the other one")
	d.changed()
	if back := d.changed(); back.Want.Remote != remote(t, "203.0.113.7") {
		t.Errorf("%+v", back)
	}
	d.granted()
	for _, a := range every[nat.AnswerAction](d) {
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
	d.wantRemote("203.0.113.7")

	d.tickets++
	d.step(nat.Ask{Ticket: d.tickets, Request: nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Hour, Arrived: d.now.Add(-time.Hour), Filter: sets(t, "")}})
	if a := d.answer(d.tickets); a.Err == nil {
		t.Errorf("told %+v", a.Grant)
	}
	d.wantRemote("203.0.113.7")
}

// Who adds to a filter that another request has set is not told of both when that one fails, and the
// mapping cannot have them with what it had before.
func TestFilterBesideOneThatFails(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { c.Policy = nat.PolicyClient })
	d.mapped(udp(alice, 80))
	d.mappedFor(tcp(alice, 80), "198.51.100.1")
	d.pass(20 * time.Second)
	d.out = nil
	d.ask(udp(alice, 80), time.Hour) // and the gateway says nothing
	first := d.askFiltered(tcp(alice, 80), sets(t, "203.0.113.7"))
	d.refused()
	d.pass(time.Second)
	second := d.askFiltered(tcp(alice, 80), adds(t, "203.0.113.7"))
	d.pass(20 * time.Second)
	for _, a := range every[nat.AnswerAction](d) {
		if a.Err == nil && (a.Ticket == first || a.Ticket == second) {
			t.Errorf("request %d was granted %+v", a.Ticket, a.Grant)
		}
	}
	if m, _ := d.Mapping(tcp(alice, 80)); m.Remote != remote(t, "198.51.100.1") {
		t.Errorf("the mapping is open to %v", m.Remote)
	}
}

// Who adds to a filter is told before the one who then sets another one, with which it would not fit.
func TestFilterBeforeAnotherOne(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.mapped(tcp(alice, 80))
	first := d.askFiltered(tcp(alice, 80), adds(t, "203.0.113.7"))
	d.changed()
	d.pass(100 * time.Millisecond)
	d.askFiltered(tcp(alice, 80), sets(t, "198.51.100.1"))
	d.changed()
	d.pass(100 * time.Millisecond) // and the gateway has said nothing yet
	if a := d.answer(first); a.Err != nil {
		t.Error(a.Err)
	}
}

// A renewal that changes the filter waits until another change of the rule is through, such as that of
// its comment, and then for its own.
func TestFilterBehindAnotherChange(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { c.Policy = nat.PolicyClient })
	d.life = time.Hour
	rule := d.mappedFor(tcp(alice, 80), "203.0.113.7")
	d.pass(20 * time.Minute)
	rule.By = nat.PCP // by its comment, as of before
	d.shown(having(rule))
	comment := want[nat.ChangeAction](d)
	ticket := d.askFiltered(tcp(alice, 80), sets(t, "198.51.100.0/24"))
	d.granted()
	none[nat.AnswerAction](d, "the rule does not let them in yet")
	d.step(nat.RuleDone{Op: comment.Op, Rule: comment.Want})
	d.changed()
	if a := d.answer(ticket); a.Err != nil {
		t.Errorf("refused: %v", a.Err)
	}
	d.wantRemote("198.51.100.0/24")
}

// A renewal whose lease is granted and whose rule is being changed is not answered when its mapping has
// to leave its inner port meanwhile: the lease is given back.
func TestFilterOfAMappingThatMoves(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { c.Policy = nat.PolicyClient })
	rule := d.mappedFor(tcp(alice, 80), "203.0.113.7")
	d.step(nat.Look)
	ticket := d.askFiltered(tcp(alice, 80), sets(t, "198.51.100.0/24"))
	d.granted()
	change := want[nat.ChangeAction](d)
	taken := taking(rule.InnerPort)
	taken.Rules = []nat.Rule{rule}
	d.shown(taken)
	d.step(nat.RuleDone{Op: change.Op, Rule: change.Want})
	none[nat.AnswerAction](d, "the lease is being given back")
	d.released()
	d.changed()
	none[nat.AnswerAction](d, "the other lease is not granted yet")
	d.granted()
	if a := d.answer(ticket); a.Err != nil {
		t.Errorf("refused: %v", a.Err)
	}
}

// Who waited too long is told so, and what it wanted is not done, or undone.
func TestFilterTooLate(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.mappedFor(tcp(alice, 80), "203.0.113.7")
	ticket := d.askFiltered(tcp(alice, 80), sets(t, ""))
	change := want[nat.ChangeAction](d)
	d.pass(30 * time.Second)
	if a := d.answer(ticket); a.Err == nil {
		t.Errorf("told %+v", a.Grant)
	}
	d.wantRemote("203.0.113.7")
	d.step(nat.RuleDone{Op: change.Op, Rule: change.Want})
	if back := d.changed(); back.Want.Remote != remote(t, "203.0.113.7") {
		t.Errorf("%+v", back)
	}
}

// Where there is nothing to go with any more there is no companion: nobody knows for whom it
// would be open.
func TestFilterOfNoCompanion(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	ask := nat.CompanionAsk(nat.MapRequest{Key: udp(alice, 80), Lifetime: time.Hour})
	d.step(ask)
	none[nat.LeaseAction](d, "there is no mapping")
	d.mappedFor(tcp(alice, 80), "203.0.113.7")
	d.end(tcp(alice, 80))
	d.step(ask)
	none[nat.LeaseAction](d, "the mapping ends")
}

// A companion has the filter of the mapping that it goes with, also when that changes. When
// its client asks for it, it is as that asks.
func TestFilterOfACompanion(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	companion := func() {
		d.step(nat.CompanionAsk(nat.MapRequest{Key: udp(alice, 80), Lifetime: time.Hour}))
	}
	d.mappedFor(tcp(alice, 80), "203.0.113.7")
	companion()
	d.granted()
	if rule := d.added(); rule.Remote != remote(t, "203.0.113.7") {
		t.Errorf("%+v", rule)
	}
	ticket := d.askFiltered(tcp(alice, 80), sets(t, "198.51.100.1"))
	d.granted()
	d.changed()
	d.answer(ticket)
	companion()
	d.granted()
	if change := d.changed(); change.Want.Remote != remote(t, "198.51.100.1") || change.Want.Key != udp(alice, 80) {
		t.Errorf("%+v", change)
	}
	ticket = d.ask(udp(alice, 80), time.Hour)
	d.granted()
	if change := d.changed(); change.Want.Remote != (nat.Remote{}) || change.Want.Key != udp(alice, 80) {
		t.Errorf("%+v", change)
	}
	d.answer(ticket)
	companion() // It is the client's own from now on.
	none[nat.ChangeAction](d, "it is the client's own")
}

// A companion that could not be shut with the mapping that it goes with is at the next look:
// nobody was told that it is open.
func TestFilterOfACompanionIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, ambiguous := range []bool{false, true} {
		d := atDesk(t, nil)
		companion := func() {
			d.step(nat.CompanionAsk(nat.MapRequest{Key: udp(alice, 80), Lifetime: time.Hour}))
		}
		d.mapped(tcp(alice, 80))
		companion()
		d.granted()
		open := d.added()
		d.askFiltered(tcp(alice, 80), adds(t, "203.0.113.7"))
		d.granted()
		first := d.changed().Want
		d.out = nil
		companion()
		d.granted()
		d.step(nat.RuleDone{Op: want[nat.ChangeAction](d).Op, Err: routerError(nat.ReasonUnreachable, ambiguous)})
		d.shown(having(first, open))
		if again := d.changed(); again.Want.Key != udp(alice, 80) || again.Want.Remote != remote(t, "203.0.113.7") {
			t.Errorf("%+v", again)
		}
	}
}

// Of two rules of one mapping that a run before this one left, the one that is in order says to
// whom it is open: it is the one that stays.
func TestFilterOfTheRuleInOrderIsAdopted(t *testing.T) {
	t.Parallel()
	good := nat.Rule{
		ID: "*2", Key: tcp(alice, 80), InnerPort: 20000, ExternalPort: 40000, Lifetime: time.Hour, Match: nat.MatchPorts{20000},
		Remote: remote(t, "203.0.113.7"),
	}
	off := good
	off.ID, off.Remote, off.Altered = "*1", nat.Remote{}, true
	for _, rules := range [][]nat.Rule{{off, good}, {good, off}} {
		d := restarted(t, nil, nat.Snapshot{Rules: rules})
		d.wantRemote("203.0.113.7")
		if gone := d.removed(); gone.Forms[0].ID != "*1" {
			t.Errorf("removed %+v", gone.Forms)
		}
		none[nat.ChangeAction](d, "it is as it should be")
	}
}
