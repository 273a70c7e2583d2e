package ops

import (
	"slices"
	"time"
)

const (
	// kept is how many events are remembered.
	kept = 50
	// keptStories is how many of them may be about something else than mappings: those
	// are never pushed out by mappings, and never take all the room.
	keptStories = kept / 2
)

// kindHop is the kind of an event that tells of a hop.
const kindHop = "hop"

// events remembers what happened last. Its methods are called with Monitor.mu held.
type events struct {
	last uint64
	all  []entry // the latest first
	// told is what pictures show of them, and share: it is a new slice after each change.
	told []Event
}

// entry is an event, and what has to be known to add others to it.
type entry struct {
	Event

	// whose is whose mappings it tells of.
	whose owner
	// ended is the state of the hop that a [kindHop] says is over; empty for none.
	ended State
}

// ofMapping says whether it tells of mappings and of nothing else.
func (e *entry) ofMapping() bool { return e.Kind != kindHop && e.Count > 0 }

// add remembers one event and forgets the oldest beyond what is kept.
func (e *events) add(one entry) {
	e.last++
	one.ID = e.last
	e.all = slices.Insert(e.all, 0, one)
	if len(e.all) > kept {
		e.forget()
	}
	told := make([]Event, len(e.all))
	for i := range e.all {
		told[i] = e.all[i].Event
	}
	e.told = told
}

// forget drops the oldest event of a mapping, or, where there is too much else, the oldest of that.
func (e *events) forget() {
	stories, oldest := 0, map[bool]int{}
	for i := range e.all {
		story := !e.all[i].ofMapping()
		oldest[story] = i
		if story {
			stories++
		}
	}
	at := oldest[stories > keptStories]
	e.all = slices.Delete(e.all, at, at+1)
}

// take removes the events at these places and returns them.
func (e *events) take(places []int) []entry {
	taken := make([]entry, 0, len(places))
	for i, place := range places { // in rising order
		place -= i
		taken = append(taken, e.all[place])
		e.all = slices.Delete(e.all, place, place+1)
	}
	return taken
}

// ofHops tells which hops came into another state, and notes it in since. The first
// state of a hop is no news unless it is a bad one; whatever was in between, that a hop is
// broken is told once, and that it works again only after that.
func ofHops(now time.Time, hops []HopStatus, since map[Hop]Since) []entry {
	var news []entry
	for _, h := range hops {
		before := since[h.Name]
		if before.State == h.State {
			continue
		}
		next := Since{State: h.State, At: now, Told: before.Told, ToldAt: before.ToldAt}
		one := entry{Event: Event{Time: now, Kind: kindHop, Hop: h.Name, State: h.State}}
		switch {
		case h.State.broken() && h.State == before.Told: // What it was in between is not known.
			next.At = before.ToldAt
		case h.State.broken():
			one.Text = trouble(h)
		case h.State == StateOK && before.Told.broken():
			one.Text, one.ended = h.Title+" works again", before.Told
		}
		if one.Text != "" {
			next.Told, next.ToldAt = h.State, now
			news = append(news, one)
		}
		since[h.Name] = next
	}
	slices.Reverse(news) // of what came at once, the hop next to the client is shown first
	return news
}
