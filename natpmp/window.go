package natpmp

import (
	"context"
	"slices"
	"sync"
)

// callKey is what a reply can be matched by: NAT-PMP has no transaction numbers
// (RFC 6886 §3.5), hence never two requests in flight for one key.
type callKey struct {
	opcode       Opcode
	internalPort uint16
}

// window bounds the requests in flight. Urgent callers go before the others, and
// among equals the first to come goes first; who waits for its own key lets
// others pass.
type window struct {
	mu sync.Mutex
	// free is how many more requests may be in flight. Guarded by mu.
	free int
	// busy has the keys in flight. Guarded by mu.
	busy map[callKey]struct{}
	// urgent and normal are those who wait, in the order of their coming. Guarded by mu.
	urgent, normal []*waiter
}

// waiter is a caller in the queue.
type waiter struct {
	key callKey
	// turn is closed when the caller may go on.
	turn chan struct{}
}

func newWindow(size int) *window {
	return &window{free: size, busy: make(map[callKey]struct{}, size)}
}

// acquire waits for the caller's turn. Each success is followed by a release.
func (w *window) acquire(ctx context.Context, key callKey, urgent bool) error {
	me := &waiter{key: key, turn: make(chan struct{})}
	w.mu.Lock()
	if urgent {
		w.urgent = append(w.urgent, me)
	} else {
		w.normal = append(w.normal, me)
	}
	w.admitLocked()
	w.mu.Unlock()

	select {
	case <-me.turn:
		return nil
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-me.turn:
		w.releaseLocked(key)
	default:
		isMe := func(other *waiter) bool { return other == me }
		w.urgent = slices.DeleteFunc(w.urgent, isMe)
		w.normal = slices.DeleteFunc(w.normal, isMe)
	}
	return ctx.Err()
}

// release makes room for the next.
func (w *window) release(key callKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.releaseLocked(key)
}

func (w *window) releaseLocked(key callKey) {
	delete(w.busy, key)
	w.free++
	w.admitLocked()
}

// admitLocked lets in whom there is room for.
func (w *window) admitLocked() {
	w.urgent = slices.DeleteFunc(w.urgent, w.admitOneLocked)
	w.normal = slices.DeleteFunc(w.normal, w.admitOneLocked)
}

// admitOneLocked says whether the waiter was let in.
func (w *window) admitOneLocked(next *waiter) bool {
	if _, busy := w.busy[next.key]; busy || w.free == 0 {
		return false
	}
	w.free--
	w.busy[next.key] = struct{}{}
	close(next.turn)
	return true
}
