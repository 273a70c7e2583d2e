package model_test

import (
	"time"

	"doublenat/internal/nat"
)

// client is a program that wants a port.
type client struct {
	day *Day
	key nat.Key
	// asks is the lifetime that it asks for; renews is after which part of what it was
	// granted, or of what it asked for, it asks again, in percent.
	asks    time.Duration
	renews  int
	ignores bool // what it was granted
	upnp    bool // it mostly asks by UPnP, and is told of no shorter lifetime then
	filters bool // who may send, by PCP, and likes to whom it mostly opens
	likes   nat.Remote
	port    uint16
	gone    bool
	// plans counts what it planned: only the last counts.
	plans int
}

func newClient(d *Day, key nat.Key) client {
	c := client{
		day: d, key: key, asks: pick(d, 2*time.Minute, 20*time.Minute, time.Hour, time.Hour, 2*time.Hour, 2*time.Hour),
		renews: pick(d, 50, 50, 90, 99), ignores: d.percent(30),
		filters: d.percent(30), likes: pick(d, host, network, stranger), upnp: d.percent(20),
	}
	if c.upnp {
		c.asks, c.ignores = pick(d, time.Hour, 2*time.Hour, 3*time.Hour), true
	}
	return c
}

// later plans what the client does next.
func (c *client) later(wait time.Duration) {
	c.plans++
	plan := c.plans
	c.day.after(wait, func() {
		if plan == c.plans && !c.gone {
			c.act()
		}
	})
}

// act is what a client does next.
func (c *client) act() {
	d := c.day
	switch {
	case d.percent(10):
		c.later(d.between(0, pick(d, time.Second, 3*time.Hour)))
		d.watch.ask(nat.End{Key: c.key}, c.key, nil)
	case d.percent(5): // It is gone for a while.
		c.later(d.between(0, 4*time.Hour))
	default:
		c.ask()
		if d.percent(10) { // It repeats itself.
			d.after(d.between(0, time.Second), c.ask)
		}
	}
}

// ask asks for the mapping, and asks again in time. Who hears nothing asks again later.
func (c *client) ask() {
	d := c.day
	if c.gone {
		return
	}
	c.later(d.between(time.Minute, 10*time.Minute))
	req := nat.MapRequest{Key: c.key, SuggestedPort: c.port, Lifetime: c.asks, Filter: c.filter()}
	if c.upnp && d.percent(80) {
		req.By, req.Filter, req.Lifetime = nat.IGD, nat.Filter{}, min(2*c.asks, 4*time.Hour)
	}
	d.watch.ask(nat.Ask{Request: req}, c.key, func(a nat.AnswerAction) {
		if a.Err != nil {
			return
		}
		c.port = a.Grant.ExternalPort
		wait := a.Grant.Lifetime
		if c.ignores {
			wait = c.asks
		}
		c.later(max(wait*time.Duration(c.renews)/100, 20*time.Second))
	})
}
