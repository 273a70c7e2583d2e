package ops

import (
	"slices"
	"time"

	"doublenat/internal/nat"
)

const (
	// apart is how many events of mappings of one kind, close together, are shown one by one.
	// One more makes them one line: what happens to many at once has one cause.
	apart = 4
	// together is how soon one of them follows another, and foldFor how long one line goes on.
	together = 10 * time.Second
	foldFor  = 10 * time.Minute
	// returning is how long after a router's return its rules still come back.
	returning = time.Minute
)

// mapping takes in what happened to a mapping.
func (e *events) mapping(ev nat.Event) {
	one := ofMapping(ev)
	if ev.Kind == nat.EventRuleRestored && e.joinReturn(one) {
		return
	}
	e.add(e.folded(one, ev.Kind))
}

// folded returns an event together with those of its kind that came shortly before, which it
// takes out of the list, or alone.
func (e *events) folded(one entry, kind nat.EventKind) entry {
	var places []int
	several := false
	at := one.Time
	for i := range e.all {
		have := &e.all[i]
		if have.Kind != one.Kind || !have.ofMapping() {
			continue
		}
		if at.Sub(have.Time) > together || one.Time.Sub(have.begun()) > foldFor {
			break
		}
		places, several, at = append(places, i), have.Count > 1, have.begun()
		if several {
			break // It has what came before.
		}
	}
	if !several && len(places) < apart {
		return one
	}
	for _, have := range e.take(places) {
		one.Count += have.Count
		one.Since = have.begun()
		one.whose = one.whose.and(have.whose)
	}
	one.Text = ofMappings(kind, one.Count, one.whose)
	return one
}

// begun returns when the first of what an event tells of happened.
func (e *entry) begun() time.Time {
	if e.Since.IsZero() {
		return e.Time
	}
	return e.Since
}

// joinReturn adds a rule that was made again to the event of the router that came back, and
// says whether there is one.
func (e *events) joinReturn(one entry) bool {
	i := slices.IndexFunc(e.all, func(have entry) bool { return have.Kind == kindHop && have.Hop == HopRouter })
	if i < 0 || e.all[i].ended != StateDown {
		return false
	}
	if have := &e.all[i]; one.Time.Sub(have.Time) > returning || one.Time.Sub(have.begun()) > foldFor {
		return false
	}
	back := e.take([]int{i})[0]
	back.Since, back.Time = back.begun(), one.Time
	back.Count++
	back.Text = returned(back.Count)
	e.add(back)
	return true
}

// hop takes in how a hop is doing. A router that is back takes in the rules that were made
// again since it was lost: that is one story.
func (e *events) hop(one entry) {
	if one.Hop == HopRouter && one.ended == StateDown {
		var places []int
		for i, have := range e.all {
			if have.Kind == kindHop && have.Hop == HopRouter {
				break
			}
			if have.Kind == nat.EventRuleRestored.String() {
				places = append(places, i)
			}
		}
		for _, have := range e.take(places) {
			one.Count += have.Count
		}
		if one.Count > 0 {
			one.Text = returned(one.Count)
		}
	}
	e.add(one)
}
