package ops

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"doublenat/internal/nat"
)

// kept is how many events are remembered.
const kept = 50

// kindHop is the kind of an event that tells of a hop.
const kindHop = "hop"

// events remembers what happened last. Its methods are called with Monitor.mu held.
type events struct {
	last uint64
	all  []Event // the latest first
}

// add remembers one event and forgets the oldest one beyond what is kept. The slice
// is a new one each time: pictures share the old one.
func (e *events) add(ev Event) {
	e.last++
	ev.ID = e.last
	all := append(make([]Event, 0, kept), ev)
	e.all = append(all, e.all[:min(len(e.all), kept-1)]...)
}

// ofMapping tells what happened to a mapping, and false if it is not worth it.
func ofMapping(ev nat.Event) Event {
	m := ev.Mapping
	port := fmt.Sprintf("%s port %d", strings.ToUpper(m.Key.Protocol.String()), m.ExternalPort)
	whose := m.Target().String()
	text := fmt.Sprintf("%s of %s: %s", port, whose, ev.Kind)
	switch ev.Kind {
	case nat.EventCreated:
		text = port + " opened for " + whose
	case nat.EventAdopted:
		text = port + " for " + whose + " was found on the router"
	case nat.EventDeleted:
		text = port + " closed by " + whose
	case nat.EventExpired:
		text = port + " closed, " + whose + " did not renew"
	case nat.EventLost:
		text = port + " lost, the gateway does not renew it for " + whose
	case nat.EventPortChanged:
		text = fmt.Sprintf("%s of %s was %d before", port, whose, ev.OldPort)
	case nat.EventRuleRestored:
		text = "rule of " + port + " for " + whose + " was missing or altered on the router and is back"
	case nat.EventShutdown:
		text = port + " closed, doublenat stops"
	}
	return Event{Time: ev.At, Kind: ev.Kind.String(), Text: text}
}

// ofHops tells which hops came into another state, and notes it in since. The first
// state of a hop is no news unless it is a bad one.
func ofHops(now time.Time, hops []HopStatus, since map[Hop]Since) []Event {
	var news []Event
	for _, h := range hops {
		before, known := since[h.Name]
		if known && before.State == h.State {
			continue
		}
		since[h.Name] = Since{State: h.State, At: now}
		waiting := h.State == StateUnknown || before.State == StateUnknown && h.State == StateOK
		if waiting || !known && !h.State.broken() {
			continue
		}
		text := trouble(h)
		if h.State == StateOK {
			text = h.Title + " works again"
		}
		news = append(news, Event{Time: now, Kind: kindHop, State: h.State, Text: text})
	}
	slices.Reverse(news) // of what came at once, the hop next to the client is shown first
	return news
}
