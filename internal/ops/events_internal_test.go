package ops

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"doublenat/internal/nat"
)

// change is an event of a client's mapping.
func change(kind nat.EventKind, at time.Time, client byte, port uint16) nat.Event {
	key := nat.Key{Client: netip.AddrFrom4([4]byte{192, 168, 88, client}), Protocol: nat.TCP, InternalPort: port}
	return nat.Event{Kind: kind, At: at, Mapping: nat.Mapping{Key: key, ExternalPort: port}}
}

func texts(e *events) (all []string) {
	for _, ev := range e.told {
		all = append(all, ev.Text)
	}
	return all
}

// What mappings go through never pushes out what is told of hops, and hops leave half of the
// room to mappings.
func TestEventsKeepTheCause(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var e events
	e.hop(entry{Event: Event{Time: now, Kind: kindHop, Hop: HopRouter, State: StateDown, Text: "Router: not reachable"}})
	for i := range uint16(1000) {
		now = now.Add(together + time.Second)
		e.mapping(change(nat.EventExpired, now, 1, i))
	}
	if all := texts(&e); len(all) != kept || all[kept-1] != "Router: not reachable" {
		t.Errorf("%d events, the last %q", len(all), all[len(all)-1])
	}
	for i := range 1000 {
		e.hop(entry{Event: Event{Time: now, Kind: kindHop, Hop: HopGateway, State: StateDegraded, Text: fmt.Sprint(i)}})
	}
	mappings := 0
	for _, ev := range e.told {
		if ev.Kind == nat.EventExpired.String() {
			mappings++
		}
	}
	if mappings != kept-keptStories || len(e.told) != kept || e.told[0].Text != "999" {
		t.Errorf("%d of %d events are of mappings", mappings, len(e.told))
	}
	if !slices.IsSortedFunc(e.told, func(a, b Event) int { return int(b.ID) - int(a.ID) }) {
		t.Error("they are out of order")
	}
}

// Some events are shown one by one; more of a kind, close together, are one.
func TestEventsFold(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var e events
	at := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	for i := range apart {
		e.mapping(change(nat.EventCreated, at(i), 1, uint16(i)))
	}
	if len(e.told) != apart || e.told[0].Count != 1 || !e.told[0].Since.IsZero() {
		t.Fatalf("told %q", texts(&e))
	}
	e.mapping(change(nat.EventDeleted, at(9), 1, 1))
	last := e.told[0].ID
	e.mapping(change(nat.EventCreated, at(10), 1, 9))
	if got := e.told[0]; len(e.told) != 2 || got.Text != "5 ports opened for 192.168.88.1" || got.Count != 5 || !got.Since.Equal(noon) || !got.Time.Equal(at(10)) || got.ID <= last {
		t.Errorf("told %+v", e.told)
	}
	e.mapping(change(nat.EventCreated, at(20), 2, 9))
	if got := e.told[0].Text; got != "6 ports opened for several clients" || len(e.told) != 2 {
		t.Errorf("told %q", texts(&e))
	}
	e.mapping(change(nat.EventCreated, at(31), 2, 10)) // eleven seconds later
	if got := e.told[0]; len(e.told) != 3 || got.Count != 1 {
		t.Errorf("told %q", texts(&e))
	}
	// Without a pause it goes on, and ends after ten minutes.
	for i := range 200 {
		e.mapping(change(nat.EventLost, at(100+5*i), 1, 1))
	}
	if e.told[0].Count != 200-121 || e.told[1].Count != 121 || e.told[1].Time.Sub(e.told[1].Since) != foldFor {
		t.Errorf("told %+v", e.told[:3])
	}
}

// Each kind has words for several.
func TestEventsOfManyHaveWords(t *testing.T) {
	t.Parallel()
	for kind := nat.EventCreated; kind <= nat.EventShutdown; kind++ {
		if got := ofMappings(kind, 7, owner{}); got == fmt.Sprintf("7 ports of several clients: %v", kind) {
			t.Errorf("%v has no words: %q", kind, got)
		}
	}
}

// Rules that are made again before anybody saw the router come back, and after, are one story
// with its return; what was before is none of it.
func TestEventsJoinTheReturn(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	since := make(map[Hop]Since)
	var e events
	seen := func(at time.Time, state State) {
		for _, one := range ofHops(at, []HopStatus{{Name: HopRouter, Title: "Router", State: state, Summary: "not reachable"}}, since) {
			e.hop(one)
		}
	}
	seen(noon, StateOK)
	e.mapping(change(nat.EventRuleRestored, noon, 1, 1))
	seen(noon, StateDown)
	seen(noon, StateUnknown) // connecting
	for i := range uint16(3) {
		e.mapping(change(nat.EventRuleRestored, noon.Add(time.Minute), 1, i))
	}
	seen(noon.Add(time.Minute), StateOK)
	e.mapping(change(nat.EventRuleRestored, noon.Add(2*time.Minute), 1, 4))
	want := []string{"Router is back, 4 rules made again", "Router: not reachable", "rule of TCP port 1 for 192.168.88.1:1 was missing or changed on the router and is back"}
	if !slices.Equal(texts(&e), want) {
		t.Errorf("told %q", texts(&e))
	}
	e.mapping(change(nat.EventRuleRestored, noon.Add(4*time.Minute), 1, 4)) // That is another one.
	if len(e.told) != 4 || e.told[0].Count != 1 {
		t.Errorf("told %q", texts(&e))
	}
}

// Somebody who goes on removing rules after a router came back is not hidden in the story of its return.
func TestReturnEnds(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var e events
	e.hop(entry{Event: Event{Time: noon, Kind: kindHop, Hop: HopRouter, State: StateOK, Text: "Router works again"}, ended: StateDown})
	for i := range 60 {
		e.mapping(change(nat.EventRuleRestored, noon.Add(time.Duration(i)*returning), 1, 1))
	}
	if got := e.told[len(e.told)-1]; got.Count != 1+int(foldFor/returning) || len(e.told) != 60-int(foldFor/returning) {
		t.Errorf("told %+v and %d more", got, len(e.told)-1)
	}
}

// A hop that is as broken as before, after a while in which nothing was known of it, is no news:
// else a gateway that comes and goes repeats the address's trouble each time.
func TestTroubleIsToldOnce(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	since := make(map[Hop]Since)
	for i, tt := range []struct {
		state State
		news  int
		since int // when the state began
	}{
		{StateOK, 0, 0},
		{StateDegraded, 1, 1},
		{StateUnknown, 0, 2},
		{StateDegraded, 0, 1},
		{StateUnknown, 0, 4},
		{StateDown, 1, 5},
		{StateOK, 1, 6},
		{StateUnknown, 0, 7},
		{StateDown, 1, 8},
	} {
		news := ofHops(noon.Add(time.Duration(i)*time.Minute), []HopStatus{{Name: HopAddress, State: tt.state}}, since)
		began := noon.Add(time.Duration(tt.since) * time.Minute)
		if len(news) != tt.news || !since[HopAddress].At.Equal(began) {
			t.Errorf("step %d: %d are told, since %v; want %d, %v", i, len(news), since[HopAddress].At, tt.news, began)
		}
	}
}
