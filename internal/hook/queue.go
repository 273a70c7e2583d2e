package hook

import (
	"slices"
	"sync"
	"time"

	"doublenat/internal/nat"
)

const (
	// maxParked is how many events are kept that were given up, until the receiver takes
	// others again.
	maxParked = 4096
	// maxRejected is how often a receiver may refuse one event for good: it may have been
	// another server that answered in its place the first time.
	maxRejected = 3
)

// item is an event that waits.
type item struct {
	event Event
	// since is when it was told, or was put back because the receiver is well again.
	since time.Time
	// rejected is how often the receiver refused it for good.
	rejected int
}

// queue holds what waits for one receiver, at most one event for each mapping: the
// newest. What was given up is parked, so that the receiver's last word is the present
// state as soon as it takes events again.
type queue struct {
	limit int
	// wake is signaled when something was put in.
	wake chan struct{}

	mu     sync.Mutex
	order  []nat.Key // guarded by mu, as what follows: the keys of items, the next one first
	items  map[nat.Key]item
	aside  []nat.Key // the keys of parked, the oldest first
	parked map[nat.Key]item
	lost   uint64 // events that are neither tried nor kept any more
}

func newQueue(limit int) *queue {
	return &queue{limit: limit, wake: make(chan struct{}, 1), items: make(map[nat.Key]item), parked: make(map[nat.Key]item)}
}

// put adds an event, in the place of an older one of the same mapping if that still
// waits. A full queue parks its oldest event.
func (q *queue) put(ev Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if older, ok := q.parked[ev.key]; ok {
		ev = ev.supersedes(older.event)
		q.forgetLocked(ev.key)
	}
	q.addLocked(item{event: ev, since: time.Now()})
}

// addLocked puts an item at the end, or in the place of an older one of its mapping.
func (q *queue) addLocked(it item) {
	key := it.event.key
	if older, ok := q.items[key]; ok {
		it.event = it.event.supersedes(older.event)
	} else {
		if len(q.order) >= q.limit {
			first := q.order[0]
			q.parkLocked(q.items[first])
			delete(q.items, first)
			q.order = slices.Delete(q.order, 0, 1)
		}
		q.order = append(q.order, key)
	}
	q.items[key] = it
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
func (q *queue) again(it item) { q.back(it, q.addLocked) }

// park gives an event up for now. A newer one takes its place.
func (q *queue) park(it item) { q.back(it, q.parkLocked) }

// back gives an item to put, or what it is for the receiver to the newer one.
func (q *queue) back(it item, put func(item)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := it.event.key
	if newer, ok := q.items[key]; ok {
		newer.event = newer.event.supersedes(it.event)
		q.items[key] = newer
		return
	}
	put(it)
}

// parkLocked keeps an item aside. The oldest one beyond what is kept is lost.
func (q *queue) parkLocked(it item) {
	key := it.event.key
	if it.rejected >= maxRejected {
		q.lost++
		return
	}
	if _, ok := q.parked[key]; !ok {
		if len(q.aside) >= maxParked {
			q.forgetLocked(q.aside[0])
			q.lost++
		}
		q.aside = append(q.aside, key)
	}
	q.parked[key] = it
}

// forgetLocked takes an item from those aside.
func (q *queue) forgetLocked(key nat.Key) {
	delete(q.parked, key)
	if i := slices.Index(q.aside, key); i >= 0 {
		q.aside = slices.Delete(q.aside, i, i+1)
	}
}

// resume puts what is parked back, as far as there is room: the receiver takes events
// again.
func (q *queue) resume() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.aside) > 0 && len(q.order) < q.limit {
		it := q.parked[q.aside[0]]
		q.forgetLocked(q.aside[0])
		it.since = time.Now()
		q.addLocked(it)
	}
}

// drop counts an event that is not kept.
func (q *queue) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lost++
}

// state returns how many events wait, and how many are lost or were given up for now.
func (q *queue) state() (waiting int, lost uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lost = q.lost
	for range q.aside {
		lost++
	}
	return len(q.order), lost
}
