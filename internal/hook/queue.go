package hook

import (
	"slices"
	"sync"
	"time"

	"doublenat/internal/nat"
)

// item is an event that waits.
type item struct {
	event Event
	// since is when it was told; of events that took another's place, when the first was.
	since time.Time
}

// queue holds what waits for one receiver, at most one event for each mapping.
type queue struct {
	limit int
	// wake is signaled when something was put in.
	wake chan struct{}

	mu      sync.Mutex
	order   []nat.Key // guarded by mu, as what follows: the keys of items, the next one first
	items   map[nat.Key]item
	dropped uint64
}

func newQueue(limit int) *queue {
	return &queue{limit: limit, wake: make(chan struct{}, 1), items: make(map[nat.Key]item)}
}

// put adds an event, in the place of an older one of the same mapping if that still
// waits. A full queue loses its oldest event.
func (q *queue) put(ev Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := item{event: ev, since: time.Now()}
	if older, ok := q.items[ev.key]; ok {
		it.event, it.since = ev.supersedes(older.event), older.since
	} else {
		if len(q.order) >= q.limit {
			delete(q.items, q.order[0])
			q.order = slices.Delete(q.order, 0, 1)
			q.dropped++
		}
		q.order = append(q.order, ev.key)
	}
	q.items[ev.key] = it
	select {
	case q.wake <- struct{}{}:
	default: // One signal is waiting already.
	}
}

// take takes the next event out, or returns false if there is none.
func (q *queue) take() (item, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.order) == 0 {
		return item{}, false
	}
	key := q.order[0]
	q.order = slices.Delete(q.order, 0, 1)
	it := q.items[key]
	delete(q.items, key)
	return it, true
}

// again puts back an event that could not be delivered, behind all others, so that
// one that a receiver does not like holds up no other. A newer one takes its place.
func (q *queue) again(it item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if newer, ok := q.items[it.event.key]; ok {
		newer.event, newer.since = newer.event.supersedes(it.event), it.since
		q.items[it.event.key] = newer
		return
	}
	if len(q.order) >= q.limit {
		q.dropped++
		return
	}
	q.order = append(q.order, it.event.key)
	q.items[it.event.key] = it
}

// state returns how many events wait, and how many were dropped.
func (q *queue) state() (waiting int, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.order), q.dropped
}
