package nat_test

import (
	"testing"
	"time"

	"doublenat/internal/nat"
)

// askExactly has a client ask for the very port.
func (d *desk) askExactly(key nat.Key, port uint16) nat.TicketID {
	d.tickets++
	d.step(nat.Ask{Ticket: d.tickets, Request: nat.MapRequest{Key: key, SuggestedPort: port, Exact: true, Lifetime: time.Hour}})
	return d.tickets
}

// wantOtherPort fails the test if a client was not told that it is another port.
func (d *desk) wantOtherPort(ticket nat.TicketID) {
	d.t.Helper()
	wantReason(d.t, d.answer(ticket).Err, nat.ReasonPort)
}

// Who wants the very port gets no other: the lease goes back, and the router hears nothing.
func TestExactPort(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	ticket := d.askExactly(tcp(alice, 80), 40080)
	a := want[nat.LeaseAction](d)
	if a.Request.ExternalPort != 40080 {
		t.Errorf("the gateway was asked for port %d", a.Request.ExternalPort)
	}
	d.grant(a, 40099)
	d.wantOtherPort(ticket)
	none[nat.AddAction](d, "the port is another one")
	d.released()
	if left := d.Mappings(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}

	ticket = d.askExactly(tcp(alice, 80), 40080)
	d.grant(want[nat.LeaseAction](d), 40080)
	d.added()
	if got := d.answer(ticket); got.Err != nil || got.Grant.ExternalPort != 40080 {
		t.Errorf("the very port: %+v", got)
	}
}

// A mapping that stands is not touched by a request for it on another port, and one that
// does not insist on its port shares what is made.
func TestExactPortOfOthers(t *testing.T) {
	t.Parallel()
	d := atDesk(t, nil)
	d.mapped(tcp(alice, 80))
	before := d.Mappings()[0]
	d.pass(40 * time.Second) // A renewal would go to the gateway.
	d.wantOtherPort(d.askExactly(tcp(alice, 80), before.ExternalPort+1))
	none[nat.LeaseAction](d, "nothing may change")
	if got := d.Mappings()[0]; got.Until != before.Until || got.ExternalPort != before.ExternalPort {
		t.Errorf("%+v, before %+v", got, before)
	}

	insists, agrees := d.askExactly(tcp(bob, 80), 40080), d.ask(tcp(bob, 80), time.Hour)
	d.grant(want[nat.LeaseAction](d), 40099)
	d.wantOtherPort(insists)
	d.added()
	if got := d.answer(agrees); got.Err != nil || got.Grant.ExternalPort != 40099 {
		t.Errorf("who takes any port: %+v", got)
	}
}

// What a client of UPnP asks for with its very port, and does not get, leaves no trace in the mapping
// that another of the host's programs asks for at that moment and gets: it is not held for days.
func TestExactPortThatFailsHoldsNothing(t *testing.T) {
	t.Parallel()
	key := tcp(bob, 80)
	insists := nat.MapRequest{Key: key, SuggestedPort: 40080, Exact: true, Lifetime: nat.MaxHeld, By: nat.IGD, Description: "a game"}
	agrees := nat.MapRequest{Key: key, Lifetime: time.Hour, By: nat.NATPMP}
	for name, asked := range map[string][]nat.MapRequest{
		"it comes first": {insists, agrees}, "it comes last": {agrees, insists}, "it comes between": {agrees, insists, agrees},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := atDesk(t, func(c *nat.Config) { c.Policy = nat.PolicyClient })
			for _, req := range asked {
				d.tickets++
				d.step(nat.Ask{Ticket: d.tickets, Request: req})
			}
			d.grant(want[nat.LeaseAction](d), 40099)
			for i, req := range asked { // at once: its client waits for nothing
				if req.Exact {
					d.wantOtherPort(nat.TicketID(i + 1))
				}
			}
			if rule := d.added(); rule.By == nat.IGD || rule.Lifetime != time.Hour {
				t.Errorf("the rule is by %q, for %v", rule.By, rule.Lifetime)
			}
			for i, req := range asked {
				if req.Exact {
					continue
				}
				if got := d.answer(nat.TicketID(i + 1)); got.Err != nil || got.Grant.ExternalPort != 40099 {
					t.Errorf("who takes any port: %+v", got)
				}
			}
			if got := d.Mappings()[0]; got.By != nat.NATPMP || got.Held || got.Description != "" || got.Requested != time.Hour {
				t.Errorf("left: %+v", got)
			}
		})
	}
}
