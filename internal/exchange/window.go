package exchange

import (
	"container/list"
	"context"
	"slices"
	"sync"
	"time"
)

// window bounds the requests in flight. Urgent callers go before the others, those who
// have to repeat a request before them, and among equals the first to come goes first;
// who waits for its own key lets others pass. There are never two requests in flight for one key:
// a reply could not be told from the other's.
//
// A request whose reply does not come in time is not in flight any more: it makes room for
// others, and needs a place again to be repeated. Only with a window of 1, the strict order
// of RFC 6886 §3.1, it keeps its place until it has ended.
type window[K comparable] struct {
	mu sync.Mutex
	// pace is how many requests may be in flight. Guarded by mu.
	pace pace
	// flying has the places of the requests in flight, the one sent first in front. Guarded
	// by mu.
	flying list.List
	// busy has the keys in use. Guarded by mu.
	busy map[K]struct{}
	// repeating, urgent and normal are those who wait, in the order of their coming.
	// Guarded by mu.
	repeating, urgent, normal []*place[K]
	// restsAt is when the last request in flight ended. Guarded by mu.
	restsAt time.Time
}

// place is a caller of the window, from the queue to the end.
type place[K comparable] struct {
	key K
	// owns is set once the key is the caller's. Guarded by window.mu.
	owns bool
	// turn is closed when the caller may go on, nil if it need not wait. Guarded by window.mu
	// until the caller waits.
	turn chan struct{}
	// flight is the element of window.flying, nil while the request is not in flight, and sent
	// is since when it is. Guarded by window.mu.
	flight *list.Element
	sent   time.Time
}

func newWindow[K comparable](size int) *window[K] {
	return &window[K]{pace: newPace(size), busy: make(map[K]struct{}, size)}
}

// acquire waits for the caller's turn. Each success is followed by a release.
func (w *window[K]) acquire(ctx context.Context, key K, urgent bool) (*place[K], error) {
	me := &place[K]{key: key}
	w.mu.Lock()
	if w.flying.Len() == 0 && time.Since(w.restsAt) >= paceRest {
		w.pace.rested()
	}
	line := &w.normal
	if urgent {
		line = &w.urgent
	}
	*line = append(*line, me)
	w.admitLocked()
	admitted := me.flight != nil
	if !admitted {
		me.turn = make(chan struct{})
	}
	w.mu.Unlock()
	if admitted {
		return me, nil
	}
	if _, err := w.wait(ctx, me, nil); err != nil {
		w.release(me)
		return nil, err
	}
	return me, nil
}

// again waits until a request that may be in flight no more can be repeated, or until it
// is done after all.
func (w *window[K]) again(ctx context.Context, me *place[K], done <-chan struct{}) (ended bool, err error) {
	w.mu.Lock()
	if me.flight != nil {
		w.mu.Unlock()
		return false, nil
	}
	me.turn = make(chan struct{})
	w.repeating = append(w.repeating, me)
	w.admitLocked()
	w.mu.Unlock()
	return w.wait(ctx, me, done)
}

// wait waits for the caller's turn, which may come in the moment in which ctx ends.
func (w *window[K]) wait(ctx context.Context, me *place[K], done <-chan struct{}) (ended bool, err error) {
	select {
	case <-me.turn:
		return false, nil
	case <-done:
		ended = true
	case <-ctx.Done():
		err = ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	isMe := func(other *place[K]) bool { return other == me }
	for _, line := range []*[]*place[K]{&w.repeating, &w.urgent, &w.normal} {
		*line = slices.DeleteFunc(*line, isMe)
	}
	return ended, err
}

// late takes in that there is no reply in time to a request that was sent at that moment,
// and whether the gateway answered others since.
func (w *window[K]) late(sent time.Time, others bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pace.late(sent, time.Now(), others)
}

// land notes that a request is lost: it is in flight no more.
func (w *window[K]) land(me *place[K]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pace.most > 1 {
		w.landLocked(me)
		w.admitLocked()
	}
}

// answered takes in that the reply came to a request that was sent at these moments first
// and last.
func (w *window[K]) answered(me *place[K], first, last time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	full := w.flying.Len() >= w.pace.size
	w.landLocked(me)
	w.pace.answered(first, last, time.Now(), full, w.oldestLocked())
	w.admitLocked()
}

// oldestLocked returns when the oldest request in flight was sent, zero if there is none.
func (w *window[K]) oldestLocked() (sent time.Time) {
	if first := w.flying.Front(); first != nil {
		if oldest, ok := first.Value.(*place[K]); ok { // nothing else is in the list
			sent = oldest.sent
		}
	}
	return sent
}

// inFlight returns how many requests are in flight.
func (w *window[K]) inFlight() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flying.Len()
}

// patience is how long after a request its reply comes in time.
func (w *window[K]) patience() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pace.patience()
}

// brisk is how long a reply takes at most when it meets no queue.
func (w *window[K]) brisk() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pace.brisk()
}

// release makes room for the next.
func (w *window[K]) release(me *place[K]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.landLocked(me)
	if me.owns {
		delete(w.busy, me.key)
		me.owns = false
	}
	w.admitLocked()
}

// landLocked frees the place of a request.
func (w *window[K]) landLocked(me *place[K]) {
	if me.flight == nil {
		return
	}
	w.flying.Remove(me.flight)
	me.flight, w.restsAt = nil, time.Now()
}

// admitLocked lets in whom there is room for.
func (w *window[K]) admitLocked() {
	for _, line := range []*[]*place[K]{&w.repeating, &w.urgent, &w.normal} {
		if len(*line) > 0 && w.flying.Len() < w.pace.size {
			*line = slices.DeleteFunc(*line, w.admitOneLocked)
		}
	}
}

// admitOneLocked says whether the caller was let in.
func (w *window[K]) admitOneLocked(next *place[K]) bool {
	if w.flying.Len() >= w.pace.size {
		return false
	}
	if _, busy := w.busy[next.key]; busy && !next.owns {
		return false
	}
	w.busy[next.key], next.owns = struct{}{}, true
	next.flight, next.sent = w.flying.PushBack(next), time.Now()
	if next.turn != nil {
		close(next.turn)
	}
	return true
}
