package routerostest

import (
	"strconv"
	"time"
)

// Unsettle makes a row read invalid for a while though it works, as RouterOS 7 does
// for up to five seconds after an add, or after its interface has changed.
func (r *Router) Unsettle(path, ref string, d time.Duration) error {
	return r.administerItem(path, ref, func(t *table, it *item) { t.unsettle(it, time.Now().Add(d)) })
}

// unsettle makes an item read invalid until a time.
func (t *table) unsettle(it *item, until time.Time) {
	if _, rule := t.menu.order["invalid"]; !rule || it.is("invalid") && it.settles.IsZero() {
		return // there is nothing to read, or it is invalid for a reason
	}
	it.settles, t.restless = until, true
	it.set(t.menu.order, "invalid", strconv.FormatBool(true))
}

// settle ends what was to last until now: a row that read invalid for a while, and
// one that had a time to live.
func (t *table) settle(r *Router, now time.Time) {
	t.restless = false
	var gone []*item
	for _, it := range t.items {
		if !it.settles.IsZero() && !now.Before(it.settles) {
			it.settles = time.Time{}
			it.set(t.menu.order, "invalid", strconv.FormatBool(false))
		}
		if !it.expires.IsZero() {
			it.set(t.menu.order, "timeout", formatUptime(it.expires.Sub(now)))
			if !now.Before(it.expires.Add(-r.earlier(t))) {
				gone = append(gone, it)
			}
		}
		t.restless = t.restless || !it.settles.IsZero() || !it.expires.IsZero()
	}
	for _, it := range gone {
		r.droppedLocked(t, it)
	}
}

// executeStruckLocked carries out a command as the faults that struck it have it.
func (r *Router) executeStruckLocked(who actor, j *job) outcome {
	c := *j.command
	var unsettled time.Duration
	for _, f := range j.faults {
		switch f.Kind {
		case FaultQueryIgnored:
			c.query = nil
		case FaultUnsettled:
			unsettled = f.Delay
		default:
		}
	}
	o := r.executeLocked(who, &c)
	t := r.tables[c.menu]
	if unsettled == 0 || !o.wrote || t == nil {
		return o
	}
	ref := o.ret()
	if ref == "" {
		ref, _ = c.arg(".id")
	}
	for _, it := range t.findAll(ref) {
		t.unsettle(it, time.Now().Add(unsettled))
	}
	return o
}
