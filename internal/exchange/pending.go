package exchange

import (
	"slices"
	"sync"
	"time"
)

// call is a request in flight.
type call[K comparable, Q, A any] struct {
	req Q
	// place is that in the window, first and last are when the request went out first and
	// last. Only the caller uses them.
	place       *place[K]
	first, last time.Time
	// done is closed when the call has its outcome: an answer, or a refusal by the host.
	done    chan struct{}
	answer  A
	refused bool
	// ahead is how many others were in flight when the request last went out, and
	// sentAt is how many had been answered then, lookedAt how many packets had come
	// at the last look, and waits how often it was found in the queue since. Guarded by
	// the mutex of pending.
	ahead, sentAt, lookedAt, waits int
}

// pending has the requests in flight, for those who bring the outcomes.
type pending[K comparable, Q, A any] struct {
	mu sync.Mutex
	// calls is in the order of their start. Guarded by mu.
	calls []*call[K, Q, A]
	// answered counts the requests that were answered, heard the replies, second
	// ones to a request that was repeated included. Guarded by mu.
	answered, heard int
}

// add registers a request. Each add is followed by a remove.
func (p *pending[K, Q, A]) add(req Q) *call[K, Q, A] {
	c := &call[K, Q, A]{req: req, done: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, c)
	return c
}

// remove forgets a request, also one that has its outcome already.
func (p *pending[K, Q, A]) remove(c *call[K, Q, A]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = slices.DeleteFunc(p.calls, func(other *call[K, Q, A]) bool { return other == c })
}

// sent notes that the request went out, behind so many others in flight.
func (p *pending[K, Q, A]) sent(c *call[K, Q, A], others int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.ahead = others
	c.sentAt, c.lookedAt, c.waits = p.answered, p.heard, 0
}

// moved says whether anything was heard since the request was looked at last, be it a
// second answer to a request that was repeated, and whether the request is likely to wait
// in the gateway's queue and not lost: then not yet more were answered than were ahead of
// it, too.
func (p *pending[K, Q, A]) moved(c *call[K, Q, A]) (heard, waits bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.movedLocked(c)
}

func (p *pending[K, Q, A]) movedLocked(c *call[K, Q, A]) (heard, waits bool) {
	heard = p.heard > c.lookedAt
	return heard, heard && p.answered-c.sentAt <= c.ahead
}

// queued says whether the request is likely to be in the gateway's queue and not
// lost. Many gateways do one thing after the other; to repeat what waits there
// would make the queue longer for everybody. Anybody can make something to be heard:
// the request is given its turn as often as there are others, and once more.
func (p *pending[K, Q, A]) queued(c *call[K, Q, A]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, waits := p.movedLocked(c)
	c.lookedAt = p.heard
	c.waits++
	return waits && c.waits <= c.ahead+1
}

// expects notes that a reply came, and says whether there is a request that it answers.
func (p *pending[K, Q, A]) expects(match func(Q) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard++
	return slices.ContainsFunc(p.calls, func(c *call[K, Q, A]) bool { return match(c.req) })
}

// look calls f with the requests in flight, in the order of their start.
func (p *pending[K, Q, A]) look(f func([]Q)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Q, len(p.calls))
	for i, c := range p.calls {
		all[i] = c.req
	}
	f(all)
}

// refuse ends all requests: it is the host that has nobody on that port, not one
// of the requests that is refused.
func (p *pending[K, Q, A]) refuse() {
	p.end(func(Q) bool { return true }, false, func(c *call[K, Q, A]) { c.refused = true })
}

// end gives the outcome to the first or to all requests that match.
func (p *pending[K, Q, A]) end(match func(Q) bool, one bool, outcome func(*call[K, Q, A])) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := false
	p.calls = slices.DeleteFunc(p.calls, func(c *call[K, Q, A]) bool {
		if found && one || !match(c.req) {
			return false
		}
		found = true
		p.answered++
		outcome(c)
		close(c.done)
		return true
	})
}
