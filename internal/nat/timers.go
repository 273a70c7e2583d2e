package nat

import (
	"container/heap"
	"time"
)

// timer is when a mapping has to be looked at without an event.
type timer struct {
	at   time.Time  // zero for never
	in   *timerHeap // nil for none
	slot int        // place in it
}

// timers have the mappings that have something due. Those for which a request waits are
// apart: each renewal is due within moments and then late again, and would go through the
// whole of a large heap twice.
type timers struct {
	waiting, resting timerHeap
}

// set puts the mapping where its time belongs.
func (t *timers) set(m *mapping, at time.Time) {
	to := &t.resting
	if len(m.queue) > 0 {
		to = &t.waiting
	}
	old := m.timer.at
	if in := m.timer.in; in != nil && (at.IsZero() || in != to) {
		heap.Remove(in, m.timer.slot)
	}
	switch m.timer.at = at; {
	case at.IsZero() || m.timer.in == to && at.Equal(old):
	case m.timer.in == to:
		heap.Fix(to, m.timer.slot)
	default:
		m.timer.in = to
		heap.Push(to, m)
	}
}

// first returns the mapping that has the next thing due, nil for none.
func (t *timers) first() *mapping {
	switch {
	case len(t.waiting) == 0 && len(t.resting) == 0:
		return nil
	case len(t.resting) == 0 || len(t.waiting) > 0 && before(t.waiting[0], t.resting[0]):
		return t.waiting[0]
	default:
		return t.resting[0]
	}
}

// next returns when something is due, zero for never.
func (t *timers) next() time.Time {
	if m := t.first(); m != nil {
		return m.timer.at
	}
	return time.Time{}
}

// before says which of two mappings comes first. Of several that are due at once the order
// is that of their keys, so that a run can be repeated.
func before(a, b *mapping) bool {
	if a.timer.at.Equal(b.timer.at) {
		return a.key.Compare(b.key) < 0
	}
	return a.timer.at.Before(b.timer.at)
}

// timerHeap is a heap of mappings, the next first.
type timerHeap []*mapping

// Len implements [heap.Interface].
func (t *timerHeap) Len() int { return len(*t) }

// Less implements [heap.Interface].
func (t *timerHeap) Less(i, j int) bool { return before((*t)[i], (*t)[j]) }

// Swap implements [heap.Interface].
func (t *timerHeap) Swap(i, j int) {
	all := *t
	all[i], all[j] = all[j], all[i]
	all[i].timer.slot, all[j].timer.slot = i, j
}

// Push implements [heap.Interface].
func (t *timerHeap) Push(x any) {
	m, _ := x.(*mapping)
	m.timer.slot = len(*t)
	*t = append(*t, m)
}

// Pop implements [heap.Interface].
func (t *timerHeap) Pop() any {
	last := len(*t) - 1
	m := (*t)[last]
	(*t)[last] = nil
	*t, m.timer.in = (*t)[:last], nil
	return m
}
