package model_test

import (
	"errors"
	"slices"
	"time"

	"doublenat/internal/nat"
)

const (
	// heldOver is how long after a fault of the gateway a renewal may be answered with
	// what was promised before.
	heldOver = 15 * time.Minute
	// reconciled is how long after a change of the router's table by others the rules may
	// be otherwise than they should be.
	reconciled = 16 * time.Minute
	// aftermath is how long things may be undone that were under way.
	aftermath = 10 * time.Second
	// prompt is how long a renewal may take that the table can answer.
	prompt = 250 * time.Millisecond
	// patience is how long any request may take.
	patience = 18 * time.Second
)

// watch holds what happens against what must hold.
type watch struct {
	day     *Day
	told    map[nat.Key]promise
	tickets map[nat.TicketID]ticket
	busy    map[slot]int
	asking  map[uint16]nat.Protocol // of the request for a lease that is under way, by inner port
	adopted map[nat.Key]time.Time
	// openings says to whom each mapping may be open.
	openings map[nat.Key]*opening
	// since is when the present engine began.
	since time.Time
}

// promise is what a client was told.
type promise struct {
	port  uint16
	until time.Time
	at    time.Time
	// held is until when a client of UPnP has it.
	held time.Time
	// unwritten says that the router refused to have that in the rule's comment.
	unwritten bool
}

// ticket is a request without an answer.
type ticket struct {
	key     nat.Key
	asked   time.Duration // 0 for a deletion
	by      nat.Way
	filter  nat.Filter
	at      time.Time
	renewal bool      // whether the mapping stood when it came
	port    uint16    // which it had then
	until   time.Time // until when the table could answer, as of then
	then    func(nat.AnswerAction)
}

// ask lets a client ask for something.
func (w *watch) ask(in nat.Input, key nat.Key, then func(nat.AnswerAction)) {
	d := w.day
	if d.pair != nil && !d.pair.listens(in) {
		return
	}
	d.lastTicket++
	t := ticket{key: key, at: d.now, then: then}
	switch a := in.(type) {
	case nat.Ask:
		var m nat.Mapping
		m, t.renewal = d.engine.Mapping(key)
		t.renewal = t.renewal && !m.Closing && !w.ending(key)
		t.until, t.port = earlier(m.Until, m.LeaseUntil.Add(d.cfg.HoldOver)), m.ExternalPort
		releasing := w.busy[slot{key.Protocol, m.InnerPort}] > 0 && w.asking[m.InnerPort] != key.Protocol
		if !w.matched(key, m) || releasing || w.reopens(key, a.Request.Filter, m.Remote) {
			t.until = time.Time{} // The rule has to be changed first, or the mapping moves.
		}
		a.Ticket, t.asked, t.filter, t.by = d.lastTicket, a.Request.Lifetime, a.Request.Filter, a.Request.By
		in = a
		w.opens(t)
	case nat.End:
		var m nat.Mapping
		m, t.renewal = d.engine.Mapping(key)
		t.renewal = t.renewal && !m.Closing
		a.Ticket = d.lastTicket
		in = a
	}
	id, life := d.lastTicket, d.life
	w.tickets[id] = t
	d.after(patience, func() {
		if _, waits := w.tickets[id]; waits && life == d.life {
			d.fail("%v waits for an answer for %v", t.key, patience)
		}
	})
	d.step(in)
}

// releases notes that a lease is given back. If its mapping stands it moves, and the table has no
// answer for those who wait.
func (w *watch) releases(s slot) {
	for id, t := range w.tickets {
		if m, ok := w.day.engine.Mapping(t.key); ok && s == (slot{t.key.Protocol, m.InnerPort}) {
			t.until = time.Time{}
			w.tickets[id] = t
		}
	}
}

// matched says whether the router lets packets for the external port through to the client, as
// far as that depends on its rule.
func (w *watch) matched(key nat.Key, m nat.Mapping) bool {
	d := w.day
	if d.cfg.Delivery == nat.DeliverInternal {
		return true
	}
	to, ok := d.router.target(key.Protocol, m.ExternalPort)
	return ok && to == key
}

// ending says whether a deletion of the mapping waits for its answer.
func (w *watch) ending(key nat.Key) bool {
	for _, t := range w.tickets {
		if t.key == key && t.asked == 0 {
			return true
		}
	}
	return false
}

// answered takes in an answer.
func (w *watch) answered(a nat.AnswerAction) {
	d := w.day
	t, ok := w.tickets[a.Ticket]
	if !ok {
		d.fail("an answer for nobody: %+v", a)
		return
	}
	delete(w.tickets, a.Ticket)
	failed, typed := errors.AsType[*nat.Error](a.Err)
	if typed && failed.Reason == nat.ReasonUnreachable && d.router.well() && d.gateway.well() && !d.stopping {
		d.fail("(r) %v was refused although all is well: %v", t.key, a.Err)
	}
	if t.asked > 0 {
		w.opened(t, a.Err == nil)
	}
	switch {
	case a.Err != nil && !typed:
		d.fail("%v was told an error without a reason: %v", t.key, a.Err)
	case t.asked == 0 && a.Err == nil:
		delete(w.told, t.key)
		w.deleted(t)
	case t.asked == 0 && d.pair != nil: // The next one cannot know whether it is gone.
		delete(w.told, t.key)
	case t.asked == 0: // What it asks for after that is a mapping of its own.
		if p, ok := w.told[t.key]; ok {
			p.held = time.Time{}
			w.told[t.key] = p
		}
	case t.asked > 0 && a.Err == nil:
		w.granted(t, a.Grant)
	case t.asked > 0 && !t.renewal:
		delete(w.told, t.key)
	}
	if t.then != nil {
		d.after(0, func() { t.then(a) })
	}
}

// deleted checks what a client is told to be gone: no rule leads to it, unless it has
// asked for the mapping again.
func (w *watch) deleted(t ticket) {
	d := w.day
	for _, other := range w.tickets {
		if other.key == t.key && other.asked > 0 {
			return
		}
	}
	if d.router.untidy() || !t.renewal {
		return // What was never made may have left something, which nobody was told of.
	}
	for _, r := range d.router.rules {
		if r.Key == t.key {
			d.fail("(d) %v was told to be gone, and rule %+v is there", t.key, r)
		}
	}
}

// granted checks what a client is told to have: packets from the Internet reach it.
func (w *watch) granted(t ticket, g nat.Grant) {
	d := w.day
	if g.Lifetime < time.Second || g.Lifetime > t.asked || g.ExternalPort == 0 {
		d.fail("%v asked for %v and was told %+v", t.key, t.asked, g)
	}
	for key, p := range w.told {
		shared := key.Client == t.key.Client && key.Protocol != t.key.Protocol
		other := d.gateway.pool != nil && recent(d, d.gateway.upset, heldOver) // The pool is, and who had the port moves.
		if key != t.key && p.port == g.ExternalPort && p.until.After(d.now) && !shared && !other && p.at.After(w.since) {
			d.fail("(g) port %d was told to %v and %v", g.ExternalPort, key, t.key)
		}
	}
	// A mapping whose port the pool has not any more gets one with the next look.
	m, _ := d.engine.Mapping(t.key)
	took := d.now.Sub(t.at)
	homeless := d.gateway.pool != nil && (recent(d, d.gateway.upset, took) || !opens(d.gateway.pool, slot{t.key.Protocol, m.InnerPort}))
	if t.renewal && took > prompt && !homeless && t.port == g.ExternalPort && t.until.Sub(t.at) > prompt && !recent(d, d.router.upset, reconciled) {
		d.fail("(h) the renewal of %v took %v", t.key, took)
	}
	p := promise{port: g.ExternalPort, until: d.now.Add(g.Lifetime), at: d.now, held: w.told[t.key].held, unwritten: w.told[t.key].unwritten}
	if t.by == nat.IGD {
		p.held = t.at.Add(min(t.asked, nat.MaxHeld)) // It hears of nothing shorter, whoever asks for less then.
		p.unwritten = recent(d, d.router.upset, reconciled) && !d.router.says(t.key, nat.IGD)
	}
	if p.held.After(p.until) {
		p.until = p.held
	}
	w.told[t.key] = p
	if why := w.broken(t, g.ExternalPort); why != "" {
		d.fail("(c) %v was told port %d (renewal: %v): %s", t.key, g.ExternalPort, t.renewal, why)
	}
	w.shuts(t.key)
}

// broken returns why packets would not reach the client, "" if they would or need not.
func (w *watch) broken(t ticket, port uint16) string {
	d := w.day
	m, ok := d.engine.Mapping(t.key)
	if !ok {
		return "there is no such mapping"
	}
	lease, stands := d.gateway.standing(slot{t.key.Protocol, m.InnerPort})
	// What was asked for while the engine began is answered from what it adopts.
	away := recent(d, d.gateway.upset, heldOver) && t.renewal || recent(d, d.gateway.upset, aftermath) || recent(d, w.adopted[t.key], aftermath)
	if (!stands || lease.external != port) && !away && !w.waits(t) {
		return "the gateway has no such lease"
	}
	// A pool has few ports: a rule that somebody has just added likely takes one of them.
	// And a copy of the rule of a mapping that ended stays until the next look, on its port.
	arrives := m.InnerPort
	if d.cfg.Delivery == nat.DeliverExternal {
		arrives = port
	}
	added := d.router.untidy() && (d.gateway.pool != nil || slices.ContainsFunc(d.router.rules, func(r nat.Rule) bool {
		return r.Key != t.key && r.Key.Protocol == t.key.Protocol && slices.Contains(r.Match[:], arrives)
	}))
	if recent(d, d.router.unsure, reconciled) && t.renewal || recent(d, d.router.unsure, aftermath) || added {
		return ""
	}
	if to, ok := d.router.target(t.key.Protocol, arrives); !ok || to != t.key {
		return "no rule leads to it"
	}
	return ""
}

// waits says whether a renewal waits until a router that is not well has made the rule of the other
// protocol, whose port the gateway might change: its lease may run out meanwhile.
func (w *watch) waits(t ticket) bool {
	if !t.renewal || w.day.router.well() {
		return false
	}
	other := t.key
	other.Protocol = t.key.Protocol.Other()
	for _, waiting := range w.tickets {
		if waiting.key == other && waiting.asked > 0 {
			return true
		}
	}
	return false
}

func recent(d *Day, at time.Time, lasts time.Duration) bool {
	return !at.IsZero() && d.now.Sub(at) <= lasts
}

// happened takes in an event.
func (w *watch) happened(ev nat.Event) {
	d := w.day
	p, ok := w.told[ev.Mapping.Key]
	switch ev.Kind {
	case nat.EventAdopted:
		w.adopted[ev.Mapping.Key] = d.now
	case nat.EventExpired:
		if ok && p.until.Sub(d.now) > time.Second && p.at.After(w.since) {
			d.fail("(b) %v ended %v before the time that its client was told", ev.Mapping.Key, p.until.Sub(d.now))
		}
		delete(w.told, ev.Mapping.Key)
		w.closed(ev.Mapping.Key)
	case nat.EventShutdown: // A rule that it leaves is adopted by the next run.
		delete(w.told, ev.Mapping.Key)
		w.opens(ticket{key: ev.Mapping.Key})
	case nat.EventDeleted, nat.EventLost, nat.EventEvicted:
		delete(w.told, ev.Mapping.Key)
		w.closed(ev.Mapping.Key)
	case nat.EventPortChanged:
		if ok {
			p.until = d.now
			w.told[ev.Mapping.Key] = p
		}
	case nat.EventCreated, nat.EventRuleRestored:
	}
}

// ruled looks at the rules after each change of ours.
func (w *watch) ruled() {
	d := w.day
	w.admits()
	if d.pair != nil {
		d.pair.doubled()
	}
	if recent(d, d.router.upset, reconciled) {
		return
	}
	seen := make(map[nat.Key]bool, len(d.router.rules))
	for _, r := range d.router.rules {
		if seen[r.Key] {
			d.fail("(a) two rules for %v", r.Key)
		}
		seen[r.Key] = true
	}
}

// leases checks now and then that every lease is known of: as a mapping's, or as one that
// is to be given back. An engine that began lately may not know of what one left that crashed, and
// one whose term is over says what it could not do; the next one finds it.
func (w *watch) leases() {
	d := w.day
	st := d.engine.Status()
	known := st.Mappings + st.Debts + len(w.tickets) // some are being made
	// A request that was interrupted may have come to the gateway a moment later.
	works := d.pair == nil || d.pair.answers()
	if all := d.gateway.beyond(aftermath); works && !recent(d, w.since, 3*time.Hour) && all > known && !recent(d, d.gateway.upset, aftermath) {
		d.fail("(d) %d leases for %d mappings and %d debts", all, st.Mappings, st.Debts)
	}
	d.after(10*time.Minute, w.leases)
}

// asks and asked count the requests for leases of both protocols of a port: never two.
func (w *watch) asks(s slot) {
	if w.asking[s.inner] != 0 {
		w.day.fail("two leases are asked for at once with inner port %d", s.inner)
	}
	w.asking[s.inner] = s.protocol
}

func (w *watch) asked(inner uint16) { delete(w.asking, inner) }

// begins and ends count what is under way for a lease: never two things.
func (w *watch) begins(s slot) {
	if w.busy[s]++; w.busy[s] > 1 {
		w.day.fail("two requests for the lease of %v %d are under way", s.protocol, s.inner)
	}
}

func (w *watch) ends(s slot) { w.busy[s]-- }

// restarted notes that there is another engine.
func (w *watch) restarted() {
	w.crashed()
	clear(w.tickets)
	clear(w.busy)
	clear(w.asking)
	w.since = w.day.now
	w.forgotten()
	for i := range w.day.clients {
		c := &w.day.clients[i]
		c.later(w.day.between(0, 10*time.Minute))
	}
}

// forgotten notes what another engine cannot know, since it learns it from the rules: what was
// promised to those whose rules somebody removed before its first look, and what the router refused
// to write. What the daemon itself removed it has to know.
func (w *watch) forgotten() {
	r := &w.day.router
	removed := r.untidy() || recent(w.day, r.meddled, reconciled+10*time.Minute)
	for key, p := range w.told {
		gone := !slices.ContainsFunc(r.rules, func(r nat.Rule) bool { return r.Key == key && !r.Altered })
		if removed && gone || p.unwritten && !r.says(key, nat.IGD) {
			p.held = time.Time{}
			w.told[key] = p
		}
	}
}

// stopped checks what a stop leaves.
func (w *watch) stopped(err error) {
	d := w.day
	fair := !recent(d, d.router.upset, reconciled) && !recent(d, d.gateway.upset, heldOver)
	switch {
	case err != nil && fair:
		d.fail("a stop with both layers well says %v", err)
	case fair && !d.cfg.KeepOnShutdown && (len(d.router.rules) > 0 || d.gateway.known() > 0):
		d.fail("a stop leaves %d rules and the leases %v", len(d.router.rules), d.gateway.leases)
	}
}

// agree checks in the evening that table, router and gateway say the same.
func (w *watch) agree() {
	d := w.day
	asked := make(map[nat.Key]bool) // what is being made or ended agrees when that is over
	for _, t := range w.tickets {
		asked[t.key] = true
	}
	rules := slices.DeleteFunc(slices.Clone(d.router.rules), func(r nat.Rule) bool { return asked[r.Key] })
	all := d.engine.Mappings()
	for _, m := range all {
		// One that is being taken down agrees when that is over. For another the pool has no port any more.
		if asked[m.Key] || m.Closing || m.Refused && d.gateway.pool != nil {
			rules = slices.DeleteFunc(rules, func(r nat.Rule) bool { return r.Key == m.Key })
			continue
		}
		l, ok := d.gateway.standing(slot{m.Key.Protocol, m.InnerPort})
		if (!ok || l.external != m.ExternalPort) && m.Until.Sub(d.now) > time.Second { // For less there is no lease.
			d.fail("(d) %v: table has port %d, gateway %d (%v)", m.Key, m.ExternalPort, l.external, ok)
		}
		i := slices.IndexFunc(rules, func(r nat.Rule) bool { return r.Key == m.Key })
		if i < 0 || rules[i].ID != m.RuleID || rules[i].InnerPort != m.InnerPort || rules[i].Altered || rules[i].Edited || rules[i].Remote != m.Remote {
			d.fail("(d) %v: table has rule %s, router %+v", m.Key, m.RuleID, rules)
			return
		}
		rules = slices.Delete(rules, i, i+1)
	}
	if len(rules) > 0 || d.gateway.count() > len(all)+len(asked)+d.engine.Status().Debts && !recent(d, w.since, 3*time.Hour) {
		d.fail("(d) nobody stands behind %d rules and %d leases", len(rules), d.gateway.count()-len(all))
	}
}

// empty checks in the end that nothing is left.
func (w *watch) empty() {
	d := w.day
	st := d.engine.Status()
	if st.Mappings+st.Debts+len(d.router.rules)+d.gateway.count()+d.gateway.spares()+len(w.tickets) > 0 {
		d.fail("(e) left: %d mappings, %d debts, %d rules, %d leases, %d requests", st.Mappings, st.Debts, len(d.router.rules), d.gateway.count(), len(w.tickets))
	}
}
