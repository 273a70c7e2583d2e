package nat_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

// The gateway may change the ports of both protocols with each request: the second is asked
// for when its client was answered for the first.
func TestSecondProtocolWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	first := d.ask(tcp(alice, 80), time.Hour)
	second := d.ask(udp(alice, 80), time.Hour)
	if a := d.granted(); a.Request.Protocol != nat.TCP {
		t.Fatalf("asked for %v first", a.Request.Protocol)
	}
	none[nat.LeaseAction](d, "the rule is not made yet")
	d.added()
	if a := d.answer(first); a.Err != nil {
		t.Error(a.Err)
	}
	d.granted()
	d.added()
	if a := d.answer(second); a.Err != nil {
		t.Error(a.Err)
	}
}

// Requests for both protocols that came before the router was read have their turns when it
// is, one after the other.
func TestBothProtocolsBeforeTheFirstLook(t *testing.T) {
	t.Parallel()
	engine, err := nat.NewEngine(nat.Config{})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{Engine: engine, t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), life: time.Minute}
	d.step(nat.Start)
	d.ask(tcp(alice, 80), time.Hour)
	d.ask(udp(alice, 80), time.Hour)
	none[nat.LeaseAction](d, "the router is not known yet")
	d.shown(nat.Snapshot{})
	if diff := cmp.Diff([]string{"lease", "add", "lease", "add"}, d.obey()); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
	for _, a := range every[nat.AnswerAction](d) {
		if a.Err != nil {
			t.Errorf("ticket %d: %v", a.Ticket, a.Err)
		}
	}
}

// A request behind a deletion has its turn as soon as that is done.
func TestRequestBehindADeletion(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.mapped(tcp(alice, 80))
	d.end(tcp(alice, 80))
	again := d.ask(tcp(alice, 80), time.Hour)
	d.released()
	none[nat.LeaseAction](d, "the deletion is under way")
	d.removed()
	d.answer(again - 1)
	d.granted()
	d.added()
	if a := d.answer(again); a.Err != nil {
		t.Error(a.Err)
	}
}

// What a request asks of the gateway: the port that its client would like, and whether the
// lease is thought to stand, so that a renewal goes before creates.
func TestWhatTheGatewayIsAsked(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	type asked struct {
		External uint16
		Renewal  bool
	}
	see := func(name string, want asked) {
		t.Helper()
		a := d.granted()
		if got := (asked{a.Request.ExternalPort, a.Request.Renewal}); got != want {
			t.Errorf("%s: asked %+v, want %+v", name, got, want)
		}
	}
	ask := func(suggested uint16) {
		d.tickets++
		d.step(nat.Ask{Ticket: d.tickets, Request: nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Hour, SuggestedPort: suggested}})
	}
	ask(40080)
	see("a create", asked{40080, false})
	d.added()
	ask(50000)
	see("a renewal", asked{40080, true})
	d.end(tcp(alice, 80))
	d.says(refusal(nat.HopRouter), nil)
	ask(50000)
	see("a mapping whose rule could not be removed", asked{40080, true})
}

// Who waits is served before what nobody waits for.
func TestUrgency(t *testing.T) {
	t.Parallel()
	d := atDesk(t, holding)
	d.ask(tcp(alice, 80), time.Hour)
	if a := d.granted(); a.For != nat.Foreground {
		t.Error("a client's create is done in the background")
	}
	d.added()
	d.pass(30 * time.Second)
	if a := d.granted(); a.For != nat.Background {
		t.Error("a renewal that nobody asked for is done in the foreground")
	}
	d.end(tcp(alice, 80))
	if a := d.released(); a.For != nat.Foreground {
		t.Error("a client's deletion is done in the background")
	}
}

// The first release of what may have been granted is short, because the client may ask
// again meanwhile and waits for it; later ones have time.
func TestReleasesAreShortAtFirst(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.ask(tcp(alice, 80), time.Hour)
	d.step(nat.LeaseDone{Op: want[nat.LeaseAction](d).Op, Err: lost(nat.HopGateway)})
	for i, try := range []struct{ pause, limit time.Duration }{{time.Second, 2 * time.Second}, {time.Second, 8 * time.Second}, {2 * time.Second, 8 * time.Second}} {
		d.pass(try.pause - time.Millisecond)
		none[nat.ReleaseAction](d, "a gateway that did not answer has a pause")
		d.pass(time.Millisecond)
		release := want[nat.ReleaseAction](d)
		if limit := release.Deadline.Sub(d.now); limit != try.limit {
			t.Errorf("try %d may last for %v, want %v", i+1, limit, try.limit)
		}
		d.step(nat.ReleaseDone{Op: release.Op, Err: lost(nat.HopGateway)})
	}
}

// A client that renews while its rule cannot be changed has one more try made for it, and is
// answered before the next one.
func TestRuleThatCannotBeChanged(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { c.Delivery = nat.DeliverExternal })
	d.mapped(tcp(alice, 80))
	port := uint16(40001)
	for range 3 {
		ticket := d.ask(tcp(alice, 80), time.Hour)
		none[nat.ChangeAction](d, "the gateway may change the port once more")
		d.grant(want[nat.LeaseAction](d), port)
		d.step(nat.RuleDone{Op: want[nat.ChangeAction](d).Op, Err: refusal(nat.HopRouter)})
		wantReason(t, d.answer(ticket).Err, nat.ReasonDenied)
		none[nat.ChangeAction](d, "the router was asked for this client")
	}
	d.out = nil
	ticket := d.ask(tcp(alice, 80), time.Hour)
	d.grant(want[nat.LeaseAction](d), port)
	change := want[nat.ChangeAction](d)
	d.step(nat.RuleDone{Op: change.Op, Rule: change.Want})
	if a := d.answer(ticket); a.Err != nil || a.Grant.ExternalPort != port {
		t.Errorf("told %+v", a)
	}
}

// A mapping ends in time also while its rule is being changed.
func TestExpiryDuringAChange(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { c.ReconcileInterval = time.Hour })
	rule := d.mapped(tcp(alice, 80))
	d.pass(59 * time.Second)
	rule.Displaced = true
	d.look(having(rule))
	change := want[nat.ChangeAction](d)
	d.pass(time.Second)
	want[nat.ReleaseAction](d)
	none[nat.RemoveAction](d, "the rule is being changed")
	d.pass(time.Second)
	d.step(nat.RuleDone{Op: change.Op, Rule: change.Want})
	d.removed()
}

// What the gateway may hold is owed until it cannot hold it any more, and not a moment
// longer: it keeps an inner port from everybody else.
func TestDebtEndsWithTheLease(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.ask(tcp(alice, 80), 100*time.Second)
	d.pass(5 * time.Second)
	d.step(nat.LeaseDone{Op: want[nat.LeaseAction](d).Op, Err: lost(nat.HopGateway)})
	over := d.now.Add(100 * time.Second)
	for d.now.Before(over) {
		if n := d.Status().Debts; n != 1 {
			t.Fatalf("%d debts %v before the end", n, over.Sub(d.now))
		}
		d.pass(min(100*time.Millisecond, over.Sub(d.now)))
		for _, a := range every[nat.ReleaseAction](d) {
			d.step(nat.ReleaseDone{Op: a.Op, Err: lost(nat.HopGateway)})
		}
	}
	if n := d.Status().Debts; n != 0 {
		t.Errorf("%d debts when the lease is over in any case", n)
	}
}

// After a loss of state the leases are asked for again one after the other, beginning at a
// random moment within five seconds (RFC 6886 §3.7).
func TestRecoveryBeginsAtRandom(t *testing.T) {
	t.Parallel()
	random := 0.0
	d := atDesk(t, func(c *nat.Config) { c.Random = func() float64 { return random } })
	d.mapped(tcp(alice, 80))
	d.mapped(tcp(bob, 80))
	random = 0.5
	d.step(nat.StateLost)
	d.pass(2*time.Second + 499*time.Millisecond)
	none[nat.LeaseAction](d, "it is not time")
	d.pass(time.Millisecond)
	d.granted()
	d.granted()
}

// Of what is due at the same moment the order is that of the keys, so that a run can be
// repeated.
func TestOrderOfWhatIsDue(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	var want []nat.Key
	for i := range uint16(20) {
		want = append(want, tcp(alice, 1+i))
		d.mapped(tcp(alice, 1+(7*i)%20))
	}
	d.pass(time.Minute)
	d.obey()
	var ended []nat.Key
	for _, a := range every[nat.TellAction](d) {
		ended = append(ended, a.Event.Mapping.Key)
	}
	if diff := cmp.Diff(want, ended, cmpAddr); diff != "" {
		t.Errorf("ended (-want +got):\n%s", diff)
	}
}

// A gateway that changes the port with each request makes the other protocol's lease be asked
// for, and that this one's: not without end.
func TestPortsThatChangeEachTime(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.mapped(tcp(alice, 80))
	d.mapped(udp(alice, 80))
	d.ask(tcp(alice, 80), time.Hour)
	var asked []nat.Protocol
	for port := uint16(50000); ; port++ {
		requests := every[nat.LeaseAction](d)
		if len(requests) == 0 {
			break
		}
		asked = append(asked, requests[0].Request.Protocol)
		d.grant(requests[0], port)
	}
	if diff := cmp.Diff([]nat.Protocol{nat.TCP, nat.UDP, nat.TCP}, asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
}

// A port that cannot be used is given back, and another one is asked for, from 1024 up. The
// log says so where a client waits for it.
func TestAnotherPortIsAskedFor(t *testing.T) {
	t.Parallel()
	const said = "the gateway granted a port that cannot be used"
	d := atDesk(t, func(c *nat.Config) { c.Random = func() float64 { return 0.5 } })
	rule := d.mapped(tcp(alice, 80))
	d.ask(tcp(bob, 80), time.Hour)
	d.grant(want[nat.LeaseAction](d), rule.ExternalPort)
	if d.logged(said) == "" {
		t.Error("the log says nothing")
	}
	d.released()
	if got := d.granted().Request.ExternalPort; got != 1024+64511/2 {
		t.Errorf("asked for port %d, want the middle of those that there are", got)
	}
	d.added()
	d.out = nil
	d.ask(tcp(bob, 80), time.Hour)
	d.grant(want[nat.LeaseAction](d), rule.ExternalPort)
	if d.logged(said) != "" {
		t.Error("the log speaks of a renewal, after which the mapping stands as before")
	}
}

// A port that was a mapping's before is nobody else's as long as its rule still takes the
// packets for it. Its own it may be again.
func TestFormerPort(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]nat.Key{"its own": tcp(alice, 80), "another's": tcp(bob, 80)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := atDesk(t, func(c *nat.Config) { c.Delivery = nat.DeliverBoth })
			first := d.mapped(tcp(alice, 80)).ExternalPort
			d.ask(tcp(alice, 80), time.Hour)
			d.grant(want[nat.LeaseAction](d), 50000)
			d.obey()
			d.ask(again, time.Hour)
			d.grant(want[nat.LeaseAction](d), first)
			if releases := len(every[nat.ReleaseAction](d)); releases == 1 != (name == "another's") {
				t.Errorf("%d releases of port %d", releases, first)
			}
		})
	}
}

// The log says at the level of details why a lease could not be given back.
func TestFailedReleaseIsLogged(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, lost(nat.HopGateway)} {
		d := atDesk(t, nil)
		d.mapped(tcp(alice, 80))
		d.end(tcp(alice, 80))
		d.says(nil, err)
		if said := d.logged("releasing a lease"); (said != "") != (err != nil) {
			t.Errorf("the gateway said %v, the log %q", err, said)
		}
	}
}

// A change that no packet notices is written ten minutes after the last one, by the clock: the
// router's flash wears.
func TestCommentIsWrittenInTime(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { holding(c); c.ReconcileInterval = 24 * time.Hour })
	d.life = 2 * time.Hour
	rule := d.mapped(tcp(alice, 80))
	d.pass(time.Minute)
	d.step(nat.StateLost)
	d.grant(want[nat.LeaseAction](d), 50000)
	d.look(having(rule))
	d.pass(9*time.Minute - time.Millisecond)
	none[nat.ChangeAction](d, "it is not time")
	d.pass(time.Millisecond)
	if change := want[nat.ChangeAction](d); change.Want.ExternalPort != 50000 || change.Want.Match != rule.Match {
		t.Errorf("written: %+v", change.Want)
	}
}

// When another pool of ports is forwarded, a mapping whose external port is another one now
// asks for it at once, and one that has the same does not.
func TestPoolWithOtherExternalPorts(t *testing.T) {
	t.Parallel()
	pool := func(external ...uint16) *nat.Pool {
		var list []nat.PoolPort
		for i, port := range external {
			list = append(list, nat.PoolPort{External: port, Inner: 20000 + uint16(i)})
		}
		return poolOf(t, list...)
	}
	d := atDesk(t, func(c *nat.Config) { c.Pool = pool(40000, 40001) })
	first, second := d.mapped(tcp(alice, 80)), d.mapped(tcp(bob, 80))
	if first.InnerPort != 20000 || second.InnerPort != 20001 {
		t.Fatalf("rules %+v and %+v", first, second)
	}
	for _, rule := range []nat.Rule{first, second} { // as the gateway has granted them
		d.ask(rule.Key, time.Hour)
		d.grant(want[nat.LeaseAction](d), 20000+rule.InnerPort)
	}
	d.step(nat.PoolChanged{Pool: pool(40000, 40009)})
	if a := want[nat.LeaseAction](d); a.Request.InnerPort != second.InnerPort {
		t.Errorf("asked for %+v", a.Request)
	}
	none[nat.LeaseAction](d, "the other one has its port")
}
