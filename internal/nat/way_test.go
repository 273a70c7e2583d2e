package nat_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"doublenat/internal/nat"
)

// byIGD maps as a client of UPnP does.
func (w *world) byIGD(key nat.Key, port uint16, lifetime time.Duration) nat.Grant {
	w.t.Helper()
	g, err := w.service.Map(w.t.Context(), nat.MapRequest{
		Key: key, SuggestedPort: port, Lifetime: lifetime, By: nat.IGD, Description: "a game",
	})
	if err != nil {
		w.t.Fatalf("Map: %v", err)
	}
	return g
}

// What was asked for by IGD is held for as long as was asked for, with the shortest of leases
// and although the policy leaves renewals to clients: nobody can tell that one.
func TestHeldForIGD(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, _ *world) { c.Policy = nat.PolicyClient }, func(w *world) {
		w.byIGD(tcp(alice, 3074), 3074, 30*time.Hour)
		w.gateway.count()
		time.Sleep(5 * time.Hour)
		if n := w.gateway.count(); n < 600 || n > 690 {
			w.t.Errorf("%d packets in five hours, want one in 27 to 30 s", n)
		}
		got, _ := w.service.Mapping(tcp(alice, 3074))
		if got.By != nat.IGD || got.Description != "a game" || !got.Held {
			w.t.Errorf("by %q, %q, held %v", got.By, got.Description, got.Held)
		}
		w.agree()
		time.Sleep(25*time.Hour - time.Second)
		if n := len(w.service.Mappings()); n != 1 {
			w.t.Errorf("%d mappings before 30 hours are over", n)
		}
		time.Sleep(time.Second)
		w.empty()
	})
}

// A mapping is held for seven days at most, and the gateway is never asked for more than
// MaxLifetime.
func TestHeldLeasesAreShort(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.tickets++
	d.step(nat.Ask{Ticket: d.tickets, Request: nat.MapRequest{Key: tcp(alice, 3074), Lifetime: 365 * 24 * time.Hour, By: nat.IGD}})
	a := want[nat.LeaseAction](d)
	if got := a.Request.Lifetime; got != 2*time.Hour {
		t.Errorf("asked for %v", got)
	}
	d.grant(a, 3074)
	d.added()
	if got := d.Mappings()[0]; got.Until.Sub(got.Created).Round(time.Minute) != nat.MaxHeld {
		t.Errorf("held for %v", got.Until.Sub(got.Created))
	}
}

// A mapping that one protocol made and another renews is one mapping with one rule. Once it
// was asked for by IGD it is held, and its rule says so to the next start.
func TestOneMappingByAllWays(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, _ *world) { c.Policy = nat.PolicyClient }, func(w *world) {
		first := w.mapped(tcp(alice, 80))
		if g := w.byIGD(tcp(alice, 80), first.ExternalPort, time.Hour); g.ExternalPort != first.ExternalPort {
			w.t.Errorf("port %d, then %d", first.ExternalPort, g.ExternalPort)
		}
		if n := len(w.router.ids()); n != 1 {
			w.t.Errorf("%d rules", n)
		}
		time.Sleep(12 * time.Minute) // Comments are written ten minutes apart.
		w.router.edit(func(r *router) {
			for _, rule := range r.rules {
				if rule.By != nat.IGD {
					w.t.Errorf("the rule is by %q", rule.By)
				}
			}
		})
		w.router.commands()
		w.mapped(tcp(alice, 80)) // By another protocol again: that costs the router nothing.
		time.Sleep(2 * time.Minute)
		for _, op := range w.router.commands() {
			if op != "rules" {
				w.t.Errorf("router command %s", op)
			}
		}
		if got, _ := w.service.Mapping(tcp(alice, 80)); got.By != nat.IGD {
			w.t.Errorf("by %q", got.By)
		}
		if err := w.service.Unmap(w.t.Context(), tcp(alice, 80)); err != nil {
			w.t.Fatal(err)
		}
		w.empty()
	})
}

// After a restart a mapping for IGD is held again, and one of another protocol waits for its client.
func TestHeldAfterARestart(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *nat.Config, _ *world) { c.Policy, c.KeepOnShutdown = nat.PolicyClient, true }, func(w *world) {
		w.byIGD(tcp(alice, 3074), 0, nat.MaxHeld)
		w.mapped(tcp(bob, 80))
		_ = w.stop()
		w.start(func(c *nat.Config, _ *world) { c.Policy = nat.PolicyClient })
		time.Sleep(24 * time.Hour)
		left := w.service.Mappings()
		if len(left) != 1 || left[0].Key != tcp(alice, 3074) || left[0].By != nat.IGD || !left[0].Held {
			w.t.Errorf("left: %+v", left)
		}
		w.agree()
	})
}

// Consoles tell others the port that their own packets show: the inner port of a mapping
// for IGD is the external one that it asks for, unless somebody has that.
func TestSamePortForIGD(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*world)
		ask    nat.MapRequest
		same   bool
	}{
		"free":               {ask: nat.MapRequest{Key: tcp(alice, 3074), SuggestedPort: 3074, By: nat.IGD}, same: true},
		"by another way":     {ask: nat.MapRequest{Key: tcp(alice, 3074), SuggestedPort: 3074, By: nat.PCP}},
		"another's":          {ask: nat.MapRequest{Key: tcp(bob, 3074), SuggestedPort: 3074, By: nat.IGD}, change: func(w *world) { w.byIGD(tcp(alice, 3074), 3074, time.Hour) }},
		"the router's, tcp":  {ask: nat.MapRequest{Key: tcp(alice, 8291), SuggestedPort: 8291, By: nat.IGD}, change: taken(nat.TCP, 8291)},
		"the router's, udp":  {ask: nat.MapRequest{Key: tcp(alice, 1701), SuggestedPort: 1701, By: nat.IGD}, change: taken(nat.UDP, 1701)},
		"none":               {ask: nat.MapRequest{Key: tcp(alice, 3074), By: nat.IGD}},
		"of a wide rule too": {ask: nat.MapRequest{Key: tcp(alice, 3074), SuggestedPort: 3074, By: nat.IGD}, change: widely(3074)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, nil, func(w *world) {
				if tt.change != nil {
					tt.change(w)
					time.Sleep(2 * time.Minute)
				}
				tt.ask.Lifetime = time.Hour
				if _, err := w.service.Map(w.t.Context(), tt.ask); err != nil {
					w.t.Fatal(err)
				}
				m, _ := w.service.Mapping(tt.ask.Key)
				if same := m.InnerPort == tt.ask.SuggestedPort; same != tt.same {
					w.t.Errorf("inner port %d for %d", m.InnerPort, tt.ask.SuggestedPort)
				}
			})
		})
	}
}

// taken has a rule of others take a port.
func taken(p nat.Protocol, port uint16) func(*world) {
	return func(w *world) {
		w.router.edit(func(r *router) {
			var set nat.PortSet
			set.Add(port)
			r.used = map[nat.Protocol]*nat.PortSet{p: &set}
		})
	}
}

// widely has a rule of others take very many ports, a port among them.
func widely(port uint16) func(*world) {
	return func(w *world) {
		w.router.edit(func(r *router) {
			var set nat.PortSet
			set.Add(port)
			r.wide = map[nat.Protocol]*nat.PortSet{nat.UDP: &set}
		})
	}
}

func TestWayString(t *testing.T) {
	t.Parallel()
	for way, want := range map[nat.Way]string{0: "", nat.NATPMP: "natpmp", nat.PCP: "pcp", nat.IGD: "igd", 9: "way(9)"} {
		if got := way.String(); got != want {
			t.Errorf("%d: %q, want %q", way, got, want)
		}
	}
}

// What a client calls its mapping is kept short, and without what no line and no environment
// can carry.
func TestDescriptionsAreBounded(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a game": "a game", " \t": "", "a\x00b\x1b[2J\r\nc\u0085": "ab[2Jc", "\xff\xfe": "", strings.Repeat("x", 1<<16): strings.Repeat("x", 64),
		strings.Repeat("\x01", 1<<16): "", strings.Repeat("x", 63) + "\u00e9": strings.Repeat("x", 63), strings.Repeat(" ", 300) + "x": "",
	} {
		inWorld(t, nil, func(w *world) {
			_, err := w.service.Map(w.t.Context(), nat.MapRequest{Key: tcp(alice, 80), Lifetime: time.Hour, By: nat.IGD, Description: text})
			if got, _ := w.service.Mapping(tcp(alice, 80)); got.Description != want || err != nil {
				w.t.Errorf("%.40q became %q, want %q (%v)", text, got.Description, want, err)
			}
		})
	}
}

// askBy has a client ask in a protocol, and returns under which ticket.
func (d *desk) askBy(way nat.Way, key nat.Key, lifetime time.Duration) nat.TicketID {
	d.tickets++
	d.step(nat.Ask{Ticket: d.tickets, Request: nat.MapRequest{Key: key, Lifetime: lifetime, By: way}})
	return d.tickets
}

// wantHeld fails the test if the only mapping is not held to a time, give or take a second.
func (d *desk) wantHeld(to time.Time) {
	d.t.Helper()
	all := d.Mappings()
	if len(all) != 1 || !all[0].Held || all[0].By != nat.IGD {
		d.t.Fatalf("%+v, want one that is held", all)
	}
	if off := all[0].Until.Sub(to); off.Abs() > time.Second {
		d.t.Errorf("held until %v, which is off by %v", all[0].Until, off)
	}
}

// A client of IGD does not ask again: what it was told holds, whatever other protocols ask for
// between. What IGD itself asks for counts, also when it is shorter.
func TestHeldWhateverOthersAskFor(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.askBy(nat.IGD, tcp(alice, 3074), nat.MaxHeld)
	d.obey()
	end := d.now.Add(nat.MaxHeld)
	for _, way := range []nat.Way{nat.NATPMP, nat.PCP, 0} {
		for _, wait := range []time.Duration{5 * time.Second, 40 * time.Second} { // from the table, and by the gateway
			d.pass(wait)
			d.obey()
			d.askBy(way, tcp(alice, 3074), time.Minute)
			d.obey()
			d.wantHeld(end)
		}
	}
	for range 100 { // Lifetimes are whole seconds: what is cut off must not add up.
		d.pass(1300 * time.Millisecond)
		d.askBy(nat.NATPMP, tcp(alice, 3074), time.Minute)
		d.obey()
	}
	d.wantHeld(end)
	d.askBy(nat.IGD, tcp(alice, 3074), time.Hour)
	d.obey()
	d.wantHeld(d.now.Add(time.Hour))
	d.askBy(nat.NATPMP, tcp(alice, 3074), 2*time.Hour)
	d.obey()
	d.wantHeld(d.now.Add(2 * time.Hour))
}

// Programs ask by NAT-PMP and by IGD in the same moment. Whichever comes first, the mapping is
// held for as long as IGD asked for.
func TestHeldWhenBothAskAtOnce(t *testing.T) {
	t.Parallel()
	for _, ways := range [][]nat.Way{{nat.NATPMP, nat.IGD}, {nat.IGD, nat.NATPMP}} {
		d := atDesk(t, nil)
		for _, way := range ways {
			d.askBy(way, tcp(alice, 3074), map[nat.Way]time.Duration{nat.NATPMP: time.Minute, nat.IGD: nat.MaxHeld}[way])
		}
		d.obey()
		for _, a := range every[nat.AnswerAction](d) {
			if a.Err != nil || a.Grant.Lifetime != time.Minute {
				t.Errorf("told %+v", a)
			}
		}
		d.wantHeld(d.now.Add(nat.MaxHeld))
	}
}

// The next start holds what one protocol made and IGD asked for then, and what IGD asked for
// again for longer: the rule says for how long. It does before the client is told, which does
// not ask again.
func TestHeldAfterARestartForAsLongAsIGDAsked(t *testing.T) {
	t.Parallel()
	for _, first := range []nat.Way{nat.NATPMP, nat.IGD} {
		t.Run(first.String(), func(t *testing.T) {
			t.Parallel()
			d := atDesk(t, nil)
			d.askBy(first, tcp(alice, 3074), time.Hour)
			d.obey()
			d.out = nil
			d.pass(20 * time.Second)
			d.askBy(nat.IGD, tcp(alice, 3074), nat.MaxHeld)
			for _, a := range every[nat.LeaseAction](d) {
				d.grant(a, a.Request.ExternalPort)
			}
			none[nat.AnswerAction](d, "the rule does not say so yet")
			change := want[nat.ChangeAction](d)
			d.step(nat.RuleDone{Op: change.Op, Rule: change.Want})
			if a := want[nat.AnswerAction](d); a.Err != nil {
				t.Error(a.Err)
			}
			d = restarted(t, nil, having(change.Want))
			d.wantHeld(d.now.Add(nat.MaxHeld))
		})
	}
}

// A client of IGD that asks again for as long as before, or for less, costs the router nothing.
func TestHeldAgainWritesNothing(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	for _, lifetime := range []time.Duration{2 * time.Hour, 2 * time.Hour, time.Hour, 2 * time.Hour} {
		d.askBy(nat.IGD, tcp(alice, 3074), lifetime)
		if did := d.obey(); slices.Contains(did, "change") {
			t.Errorf("asked for %v again: %v", lifetime, did)
		}
		d.pass(20 * time.Second)
	}
}

// A port that another client's rule matches still, because it was its external port before, is
// nobody's inner port: packets for the one would go to the other.
func TestSamePortIsNotAnothersFormerOne(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { c.Delivery = nat.DeliverBoth })
	ticket := d.ask(tcp(alice, 80), time.Hour)
	d.grant(want[nat.LeaseAction](d), 3074)
	d.added()
	d.answer(ticket)
	d.ask(tcp(alice, 80), time.Hour)
	d.grant(want[nat.LeaseAction](d), 4000)
	if moved := d.changed().Want; !slices.Contains(moved.Match[:], 3074) {
		t.Fatalf("%+v does not match the port that it had", moved)
	}
	ask := func() uint16 {
		d.out = nil
		d.tickets++
		d.step(nat.Ask{Ticket: d.tickets, Request: nat.MapRequest{Key: tcp(bob, 3074), SuggestedPort: 3074, Lifetime: time.Hour, By: nat.IGD}})
		a := want[nat.LeaseAction](d)
		d.step(nat.LeaseDone{Op: a.Op, Err: refusal(nat.HopGateway)})
		d.obey()
		return a.Request.InnerPort
	}
	if inner := ask(); inner == 3074 {
		t.Error("bob's inner port is a port of alice's rule")
	}
	d.end(tcp(alice, 80))
	d.obey()
	if inner := ask(); inner != 3074 {
		t.Errorf("inner port %d, and nobody has 3074 any more", inner)
	}
}

// A port that was a mapping's is not its former one as long as it is its inner one: its rule takes
// packets for that whoever has it outside. The gateway may grant it to others.
func TestFormerPortThatIsTheInnerOne(t *testing.T) {
	t.Parallel()
	for name, delivery := range map[string]nat.Delivery{"internal": nat.DeliverInternal, "both": nat.DeliverBoth} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := atDesk(t, func(c *nat.Config) { c.Delivery = delivery })
			const port = 3074
			d.tickets++
			d.step(nat.Ask{Ticket: d.tickets, Request: nat.MapRequest{Key: tcp(alice, port), SuggestedPort: port, Lifetime: time.Hour, By: nat.IGD}})
			d.grant(want[nat.LeaseAction](d), port)
			if rule := d.added(); rule.InnerPort != port {
				t.Fatalf("%+v does not have the port on both sides", rule)
			}
			d.pass(d.Next().Sub(d.now))
			d.grant(want[nat.LeaseAction](d), 4000)
			d.obey()
			d.ask(tcp(bob, 80), time.Hour)
			d.grant(want[nat.LeaseAction](d), port)
			none[nat.ReleaseAction](d, "the port is free at the gateway")
			if rule := d.added(); rule.ExternalPort != port || rule.Match[0] == port || rule.Match[1] == port {
				t.Errorf("bob's rule is %+v", rule)
			}
		})
	}
}

// Where packets arrive on the external port no rule matches an inner one: somebody else's inner port
// may be granted.
func TestExternalPortThatIsAnInnerOne(t *testing.T) {
	t.Parallel()
	d := atDesk(t, func(c *nat.Config) { c.Delivery = nat.DeliverExternal })
	const port = 3074
	d.tickets++
	d.step(nat.Ask{Ticket: d.tickets, Request: nat.MapRequest{Key: tcp(alice, port), SuggestedPort: port, Lifetime: time.Hour, By: nat.IGD}})
	d.grant(want[nat.LeaseAction](d), 4000)
	if rule := d.added(); rule.InnerPort != port {
		t.Fatalf("%+v does not have the inner port that was asked for", rule)
	}
	d.ask(tcp(bob, 80), time.Hour)
	d.grant(want[nat.LeaseAction](d), port)
	none[nat.ReleaseAction](d, "the port is free at the gateway")
	if rule := d.added(); rule.ExternalPort != port {
		t.Errorf("bob's rule is %+v", rule)
	}
}

// What is held ends when it was to end as of the request, also when the gateway was away
// meanwhile and granted it late.
func TestHeldFromTheRequestOn(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.askBy(nat.IGD, tcp(alice, 3074), 10*time.Hour)
	d.obey()
	d.pass(40 * time.Second)
	d.askBy(nat.IGD, tcp(alice, 3074), 10*time.Hour)
	end := d.now.Add(10 * time.Hour)
	for range 2 * 60 {
		d.pass(time.Minute)
		for _, a := range every[nat.LeaseAction](d) {
			d.step(nat.LeaseDone{Op: a.Op, Err: absent(nat.HopGateway)})
		}
	}
	d.wantHeld(end)
	d.pass(time.Minute)
	d.granted()
	d.wantHeld(end)
}

// Also with a gateway whose leases are long, when it is back shortly before the end: nobody
// hears of that lease, and it is for what is left.
func TestHeldToTheEndAndNoLonger(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.life = 2 * time.Hour
	d.askBy(nat.IGD, tcp(alice, 3074), 4*time.Hour)
	d.obey()
	d.pass(time.Hour)
	d.obey()
	d.pass(time.Hour)
	d.askBy(nat.IGD, tcp(alice, 3074), 4*time.Hour)
	end := d.now.Add(4 * time.Hour)
	for d.now.Before(end.Add(-20 * time.Minute)) {
		d.pass(time.Minute)
		for _, a := range every[nat.LeaseAction](d) {
			d.step(nat.LeaseDone{Op: a.Op, Err: absent(nat.HopGateway)})
		}
	}
	d.pass(5 * time.Minute)
	a := want[nat.LeaseAction](d)
	if a.Request.Lifetime > end.Sub(d.now)+5*time.Minute {
		t.Errorf("asked for %v, %v before the end", a.Request.Lifetime, end.Sub(d.now))
	}
	d.grant(a, a.Request.ExternalPort)
	d.wantHeld(end)
}
