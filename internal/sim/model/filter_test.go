package model_test

import (
	"slices"
	"time"

	"doublenat/internal/nat"
)

// The remotes that clients ask for: one host, the network in which it is, and another host.
var (
	everybody = nat.Remote{}
	host      = parsed("203.0.113.7")
	network   = parsed("203.0.113.0/24")
	stranger  = parsed("198.51.100.1:5000")
)

func parsed(text string) nat.Remote {
	r, err := nat.ParseRemote(text)
	if err != nil {
		panic(err)
	}
	return r
}

// filter draws what a request says of who may send: of a client that never speaks of that,
// nothing.
func (c *client) filter() nat.Filter {
	d := c.day
	if !c.filters {
		return nat.Filter{}
	}
	return nat.Filter{
		Op:     pick(d, nat.FilterKeep, nat.FilterKeep, nat.FilterAdd, nat.FilterSet),
		Remote: pick(d, c.likes, c.likes, c.likes, everybody, host, network, stranger),
	}
}

// filtered returns to whom a mapping is open after a request that was granted. The model knows
// by itself what the core has to do; ok is false for what cannot be granted.
func filtered(f nat.Filter, before nat.Remote) (after nat.Remote, ok bool) {
	near := func(r nat.Remote) bool { return r == host || r == network }
	switch {
	case f.Op == nat.FilterKeep:
		return before, true
	case f.Op == nat.FilterSet, f.Remote == everybody, before == everybody, before == f.Remote:
		return f.Remote, true
	case near(before) && near(f.Remote):
		return network, true
	default:
		return before, false
	}
}

// opening is to whom a mapping may be open.
type opening struct {
	// may are the remotes of which it has one, by what its client was told: one, but for
	// where nobody can know. None is everybody, of a mapping that there was not.
	may []nat.Remote
	// was are others that its rule may have for a while: of requests that failed, and of a
	// mapping that ended.
	was []lapsed
	// latest is when the last came of the requests that were granted.
	latest time.Time
}

// lapsed is a remote that a rule may have until a time.
type lapsed struct {
	remote nat.Remote
	until  time.Time
}

// openingOf returns that of a key.
func (w *watch) openingOf(key nat.Key) *opening {
	o := w.openings[key]
	if o == nil {
		o = &opening{may: []nat.Remote{everybody}}
		w.openings[key] = o
	}
	return o
}

// with returns the remotes and those that a request makes of them.
func with(may []nat.Remote, f nat.Filter) []nat.Remote {
	all := slices.Clone(may)
	for _, before := range may {
		if after, ok := filtered(f, before); ok && !slices.Contains(all, after) {
			all = append(all, after)
		}
	}
	return all
}

// possible returns the remotes that the rule of a key may have, whatever becomes of the
// requests that wait.
func (w *watch) possible(key nat.Key) []nat.Remote {
	o := w.openingOf(key)
	may := o.may
	var waiting []nat.TicketID
	for id, t := range w.tickets {
		if t.key == key && t.asked > 0 {
			waiting = append(waiting, id)
		}
	}
	slices.Sort(waiting)
	for _, id := range waiting {
		may = with(may, w.tickets[id].filter)
	}
	return may
}

// reopens says whether the rule of a mapping has to be changed before a request for it can be
// answered: for its own filter, or for that of one before it.
func (w *watch) reopens(key nat.Key, f nat.Filter, open nat.Remote) bool {
	for _, t := range w.tickets {
		if t.key == key && t.filter.Op != nat.FilterKeep {
			return true
		}
	}
	after, _ := filtered(f, open)
	return after != open
}

// opens notes a request that begins to wait. One for a mapping that there is not, or that may
// be over, is for a new one.
func (w *watch) opens(t ticket) {
	if o := w.openingOf(t.key); !t.renewal && !slices.Contains(o.may, everybody) {
		w.lapse(t.key)
		o.may = append(o.may, everybody)
	}
}

// opened notes what a request came to, which does not wait any more.
func (w *watch) opened(t ticket, granted bool) {
	o := w.openingOf(t.key)
	if !granted {
		// The rule may have been on its way to what two requests want together.
		before := slices.Clone(o.may)
		for _, l := range slices.DeleteFunc(o.was, w.over) {
			if !slices.Contains(before, l.remote) {
				before = append(before, l.remote)
			}
		}
		o.was = nil
		for _, r := range with(before, t.filter) {
			o.was = append(o.was, lapsed{r, w.day.now.Add(reconciled)})
		}
		return
	}
	w.lapse(t.key)
	var may []nat.Remote
	for _, before := range o.may {
		if after, ok := filtered(t.filter, before); ok && !slices.Contains(may, after) {
			may = append(may, after)
		}
	}
	if len(may) == 0 {
		w.day.fail("(i) %v was granted %+v, which is more than a mapping can have", t.key, t.filter)
	}
	if t.at.Before(o.latest) { // One that came after it was answered before, and counts after it.
		may = append(may, o.may...)
	}
	o.may, o.latest = may, later(o.latest, t.at)
}

// lapse notes that the rule of a key may be for a while as it may be now.
func (w *watch) lapse(key nat.Key) {
	o := w.openingOf(key)
	o.was = slices.DeleteFunc(o.was, w.over)
	for _, r := range o.may {
		o.was = append(o.was, lapsed{r, w.day.now.Add(reconciled)})
	}
}

// over says whether no rule may have a remote any more that was in force: while the router is
// away nobody can take it out of one.
func (w *watch) over(l lapsed) bool {
	return w.day.now.After(l.until) && !recent(w.day, w.day.router.upset, reconciled)
}

// closed notes that a mapping is over.
func (w *watch) closed(key nat.Key) {
	w.lapse(key)
	w.openingOf(key).may = []nat.Remote{everybody}
}

// crashed notes that nobody hears what becomes of the requests that wait. A rule that has what was
// refused is adopted with that: the next one cannot know.
func (w *watch) crashed() {
	for key, o := range w.openings {
		w.lapse(key)
		o.may = w.possible(key)
		for _, l := range o.was {
			if !slices.Contains(o.may, l.remote) {
				o.may = append(o.may, l.remote)
			}
		}
	}
}

// admits checks after each command that no rule lets in anybody whom its client has not let in.
func (w *watch) admits() {
	for _, r := range w.day.router.rules {
		o := w.openingOf(r.Key)
		was := slices.ContainsFunc(o.was, func(l lapsed) bool { return l.remote == r.Remote && !w.over(l) })
		if !was && !slices.Contains(w.possible(r.Key), r.Remote) {
			w.day.fail("(i) rule %+v lets in %q, and its client %+v", r, r.Remote, o.may)
		}
	}
}

// shuts checks a mapping of which its client was told just now: nobody else is let in any more.
// What somebody else did to the rules, what a former run's last command does late, a rule on
// another inner port whose making had no answer, and a copy that the router did not let us remove, is
// mended by the next look.
func (w *watch) shuts(key nat.Key) {
	d := w.day
	may := w.possible(key) // Other requests that wait are carried out too, maybe.
	m, _ := d.engine.Mapping(key)
	if !slices.Contains(may, m.Remote) {
		d.fail("(i) %v is open to %q, and its client was told of %+v", key, m.Remote, may)
	}
	if d.router.untidy() || recent(d, w.since, reconciled) {
		return
	}
	for _, r := range d.router.rules {
		if r.InnerPort != m.InnerPort && d.router.seen.Before(d.router.until) || r.ID != m.RuleID && recent(d, d.router.upset, reconciled) {
			continue
		}
		if r.Key == key && !slices.Contains(may, r.Remote) {
			d.fail("(i) %v was told of a mapping open to %+v, and rule %+v lets in %q", key, may, r, r.Remote)
		}
	}
}
