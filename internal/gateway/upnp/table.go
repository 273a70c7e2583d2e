package upnp

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"doublenat/igd"
	"doublenat/internal/nat"
)

// key names a mapping as the core does.
type key struct {
	protocol nat.Protocol
	inner    uint16
}

// outer names a mapping as the box does.
type outer struct {
	protocol nat.Protocol
	port     uint16
}

// slot is what is known of a mapping. Its fields are guarded by table.mu; who asks the
// box for it holds busy.
type slot struct {
	key  key
	busy chan struct{} // has one element while somebody asks the box for it
	// ports are the external ports at which it may stand, the one that was granted first.
	ports []uint16
	// client is the address to which it leads.
	client netip.Addr
	// since is when it was granted last; until is its end, zero for never.
	since, until time.Time
	// permanent is set when the box will not end it.
	permanent bool
	// found is set while nobody has asked for it since it was found at the start, and
	// ours if the box's list says that it is of this doublenat.
	found, ours bool
	// stray is set while the box may have chosen a port for it that was not heard.
	stray bool
	// lost is set once the box is known to have forgotten it.
	lost bool
}

// table has the mappings. There are no more than there are ports.
type table struct {
	mu    sync.Mutex // guards what follows and all slots
	slots map[key]*slot
	// owner has who may have each external port.
	owner map[outer]*slot
	// turn is where the next look goes on.
	turn int
}

func newTable() table {
	return table{slots: make(map[key]*slot), owner: make(map[outer]*slot)}
}

// slotLocked returns the slot of a key.
func (t *table) slotLocked(k key) *slot {
	s := t.slots[k]
	if s == nil {
		s = &slot{key: k, busy: make(chan struct{}, 1)}
		t.slots[k] = s
	}
	return s
}

// enter waits until nobody else asks for a mapping.
func (t *table) enter(ctx context.Context, k key) (*slot, error) {
	t.mu.Lock()
	s := t.slotLocked(k)
	t.mu.Unlock()
	select {
	case s.busy <- struct{}{}:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// leave lets others ask for it.
func (s *slot) leave() { <-s.busy }

// tryEnter is enter for who has time, false if somebody asks for it.
func (s *slot) tryEnter() bool {
	select {
	case s.busy <- struct{}{}:
		return true
	default:
		return false
	}
}

// reserve notes that the mapping may be at an external port from now on. It returns
// false if another one may.
func (t *table) reserve(s *slot, port uint16) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reserveLocked(s, port)
}

func (t *table) reserveLocked(s *slot, port uint16) bool {
	o := outer{s.key.protocol, port}
	switch t.owner[o] {
	case s:
		return true
	case nil:
		t.owner[o] = s
		s.ports = append(s.ports, port)
		return true
	default:
		return false
	}
}

// wrest reserves a port that another mapping had.
func (t *table) wrest(s *slot, port uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if former := t.owner[outer{s.key.protocol, port}]; former != nil {
		former.lost = true
		t.goneLocked(former, port)
	}
	t.owner[outer{s.key.protocol, port}] = s
	s.ports = append(s.ports, port)
}

// gone notes that the mapping is not at an external port.
func (t *table) gone(s *slot, port uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.goneLocked(s, port)
}

func (t *table) goneLocked(s *slot, port uint16) {
	if o := (outer{s.key.protocol, port}); t.owner[o] == s {
		delete(t.owner, o)
	}
	s.ports = slices.DeleteFunc(s.ports, func(p uint16) bool { return p == port })
	s.permanent = s.permanent && len(s.ports) > 0
}

// at returns where the mapping may be.
func (t *table) at(s *slot) []uint16 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(s.ports)
}

// asked notes what the box is asked for, for it may have it whatever is heard.
func (t *table) asked(s *slot, m igd.Mapping, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.client, s.found = m.Client, false
	s.permanent, s.until = s.permanent || m.Lease == 0, later(s.until, until)
}

// term is how long a mapping lasts, and where it leads.
type term struct {
	until     time.Time
	permanent bool
	client    netip.Addr
}

// term returns that of a mapping.
func (t *table) term(s *slot) term {
	t.mu.Lock()
	defer t.mu.Unlock()
	return term{s.until, s.permanent, s.client}
}

// restore notes that the box did not do what it was asked.
func (t *table) restore(s *slot, before term) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.until, s.permanent, s.client = before.until, before.permanent, before.client
}

// setStray notes that the mapping may be at a port that nobody knows, or is not.
func (t *table) setStray(s *slot, stray bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.stray = stray
}

// isStray says whether it may be.
func (t *table) isStray(s *slot) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return s.stray
}

// granted notes what the box granted, and whether it keeps that for ever, and returns the other
// ports at which the mapping may be.
func (t *table) granted(s *slot, m igd.Mapping, keeps bool, since, until time.Time) (others []uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.since, s.until, s.client = since, until, m.Client
	s.permanent, s.found, s.lost = s.permanent || keeps, false, false // It stays what the box listed.
	others = slices.DeleteFunc(slices.Clone(s.ports), func(p uint16) bool { return p == m.External })
	s.ports = append([]uint16{m.External}, others...)
	return others
}

// clientOf returns where the mapping leads, the zero Addr if that is not known.
func (t *table) clientOf(s *slot) netip.Addr {
	t.mu.Lock()
	defer t.mu.Unlock()
	return s.client
}

// imported notes a mapping that the box has from before, unless it is known better.
func (t *table) imported(m igd.Mapping, ours bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := outer{nat.Protocol(m.Protocol), m.External}
	if m.Internal == 0 || t.owner[o] != nil {
		return
	}
	s := t.slotLocked(key{o.protocol, m.Internal})
	if len(s.ports) == 0 {
		s.client, s.since, s.until, s.permanent, s.found, s.ours, s.lost = m.Client, now, time.Time{}, m.Lease == 0, true, ours, false
	}
	if m.Lease > 0 && s.found && !s.permanent {
		s.until = later(s.until, now.Add(m.Lease))
	}
	t.owner[o], s.ports = s, append(s.ports, m.External)
}

// recalled notes a mapping of an earlier run that the core knows of: the box may have it whether it
// lists it or not, and whatever it says when it is asked for it.
func (t *table) recalled(s *slot, port uint16, client netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := len(s.ports) > 0 || !s.since.IsZero() || s.lost
	if port != 0 && !known && t.reserveLocked(s, port) {
		s.client = client
	}
}

// disown makes what was found at the start, is ours, and nobody asked for end now.
func (t *table) disown(now time.Time) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.slots {
		if s.found && s.ours && s.permanent && s.until.IsZero() && len(s.ports) > 0 {
			s.until = now
			n++
		}
	}
	return n
}

// endGrace is how long after its end a permanent mapping is removed, and any other one
// forgotten.
const endGrace = 5 * time.Second

// ended returns the mappings that are over and that the box will not end, and forgets
// the others that are over.
func (t *table) ended(now time.Time) (out []*slot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.slots {
		if len(s.ports) == 0 || s.until.IsZero() || s.until.Add(endGrace).After(now) {
			continue
		}
		if s.permanent {
			out = append(out, s)
			continue
		}
		for _, p := range slices.Clone(s.ports) {
			t.goneLocked(s, p)
		}
	}
	return out
}

// over says whether a mapping is over.
func (t *table) over(s *slot, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(s.ports) > 0 && !s.until.IsZero() && !s.until.Add(endGrace).After(now)
}

// nextEnd returns when the next mapping is over, zero for never.
func (t *table) nextEnd() (next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for _, s := range t.slots {
		end := s.until.Add(endGrace)
		if len(s.ports) == 0 || s.until.IsZero() {
			continue
		}
		if !end.After(now) {
			end = now.Add(retryAfter) // It was tried.
		}
		if next.IsZero() || end.Before(next) {
			next = end
		}
	}
	return next
}

// standing returns up to so many mappings that are thought to stand, each in its turn.
func (t *table) standing(most int, now time.Time) []*slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*slot
	for _, s := range t.slots {
		if len(s.ports) > 0 && !s.found && !s.lost && !s.since.IsZero() && s.until.After(now) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *slot) int {
		return cmp.Or(cmp.Compare(a.key.inner, b.key.inner), cmp.Compare(a.key.protocol, b.key.protocol))
	})
	if len(all) <= most {
		return all
	}
	start := t.turn % len(all)
	t.turn = start + most
	return append(all[start:], all[:start]...)[:most]
}

// setLost notes that the box forgot a mapping.
func (t *table) setLost(s *slot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.lost = true
}

// compareLease takes in what the box says is left of a lease; 0 is for ever. It returns
// the whole lease if the box cut it, and then takes the mapping for lost.
func (t *table) compareLease(s *slot, left time.Duration, now time.Time) (total time.Duration, cut bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if left == 0 {
		s.permanent = true
		return 0, false
	}
	if s.permanent || !now.Add(left).Before(s.until.Add(-cutSlack)) {
		return 0, false
	}
	s.lost = true
	return now.Sub(s.since) + left, true
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
