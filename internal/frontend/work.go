package frontend

import (
	"context"
	"net/netip"
	"slices"

	"doublenat/internal/datagram"
	"doublenat/internal/nat"
)

// task is a piece of work: the same request of the same client is the same work,
// from whatever port it comes. It is comparable.
type task struct {
	client netip.Addr
	req    request
}

// work is a task that somebody is at.
type work struct {
	// done is closed when out is there; nil while nobody else waits for it. Guarded by
	// Frontend.mu.
	done chan struct{}
	out  outcome
	// sources are the client's ports that wait for the outcome. Guarded by Frontend.mu.
	sources []uint16
}

// share does the work, or waits for the one who is at it already. It returns
// false when a request from the same address and port, which is a copy
// (RFC 6886 §3.3), is waiting already: that one gets the reply. Clients exist that
// take a second one for the answer to their next request.
func (f *Frontend) share(ctx context.Context, from datagram.Arrival, req request) (outcome, bool) {
	t := task{client: from.Client.Addr(), req: req}
	f.mu.Lock()
	f.supersedeLocked(t)
	w, joined := f.works[t]
	if !joined {
		w = &work{out: outcome{err: errNoOutcome}} // What a panic leaves; it goes on to the server, which logs it.
		f.works[t] = w
		if t.ends() {
			f.deletions++
		}
	}
	copied := slices.Contains(w.sources, from.Client.Port())
	if !copied {
		w.sources = append(w.sources, from.Client.Port())
	}
	if joined && w.done == nil {
		w.done = make(chan struct{})
	}
	f.mu.Unlock()

	switch {
	case copied:
		return outcome{}, false
	case joined:
		f.count.shared.Add(1)
		return w.wait(ctx), true
	}
	defer f.finish(t, w)
	w.out = f.perform(ctx, from, req)
	return w.out, true
}

// supersedeLocked ends the sharing of work that the new task contradicts: a request for
// a mapping after a deletion, or the other way round, is none of the copies of what was
// asked before, and neither is one after another filter. Some clients map, delete and map
// again within a moment.
func (f *Frontend) supersedeLocked(t task) {
	if !t.ends() && f.deletions == 0 && t.req.filter.Op == nat.FilterKeep {
		return // nothing is ended, as nearly always
	}
	for other := range f.works {
		if other.contradicts(t) {
			f.dropLocked(other)
		}
	}
}

// dropLocked forgets a task that is in works.
func (f *Frontend) dropLocked(t task) {
	delete(f.works, t)
	if t.ends() {
		f.deletions--
	}
}

// ends says whether a task ends mappings.
func (t task) ends() bool { return t.req.want == wantEnd }

// contradicts says whether one of two tasks asks for a mapping that the other ends, or for
// another filter of it.
func (t task) contradicts(other task) bool {
	if t.req.want == wantMapping && other.req.want == wantMapping {
		return t.req.key(t.client) == other.req.key(other.client) && t.req.filter != other.req.filter &&
			t.req.filter.Op != nat.FilterKeep && other.req.filter.Op != nat.FilterKeep
	}
	makes, ends := t.req, other.req
	if t.ends() {
		makes, ends = ends, makes
	}
	return t.client == other.client && makes.want == wantMapping && ends.want == wantEnd &&
		(ends.protocol == makes.protocol || ends.protocol == 0) &&
		(ends.internalPort == makes.internalPort || ends.internalPort == 0)
}

// finish forgets the work and tells those who wait.
func (f *Frontend) finish(t task, w *work) {
	f.mu.Lock()
	if f.works[t] == w {
		f.dropLocked(t)
	}
	if w.done != nil {
		close(w.done)
	}
	f.mu.Unlock()
}

// wait waits for the outcome, or for the server to stop.
func (w *work) wait(ctx context.Context) outcome {
	select {
	case <-w.done:
		return w.out
	case <-ctx.Done():
		return outcome{err: errNoOutcome}
	}
}
