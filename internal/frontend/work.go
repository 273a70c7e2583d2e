package frontend

import (
	"context"
	"net/netip"

	"doublenat/natpmp"
)

// task is a piece of work: the same request of the same client is the same work,
// from whatever port it comes. It is comparable.
type task struct {
	client netip.Addr
	req    natpmp.Request
}

// work is a task that somebody is at.
type work struct {
	// done is closed when out is there.
	done chan struct{}
	out  outcome
	// sources are the client's ports that wait for the outcome. Guarded by Frontend.mu.
	sources map[uint16]struct{}
}

// share does the work, or waits for the one who is at it already. It returns
// false when a request from the same address and port, which is a copy
// (RFC 6886 §3.3), is waiting already: that one gets the reply. Clients exist that
// take a second one for the answer to their next request.
func (f *Frontend) share(ctx context.Context, client netip.AddrPort, req natpmp.Request) (outcome, bool) {
	t := task{client: client.Addr(), req: req}
	f.mu.Lock()
	f.supersedeLocked(t)
	w, joined := f.works[t]
	if !joined {
		w = &work{
			done: make(chan struct{}),
			// What a panic leaves; it goes on to the server, which logs it.
			out:     outcome{result: natpmp.ResultNetworkFailure},
			sources: make(map[uint16]struct{}, 1),
		}
		f.works[t] = w
	}
	_, copied := w.sources[client.Port()]
	w.sources[client.Port()] = struct{}{}
	f.mu.Unlock()

	switch {
	case copied:
		return outcome{}, false
	case joined:
		f.count.shared.Add(1)
		return w.wait(ctx), true
	}
	defer f.finish(t, w)
	w.out = f.perform(ctx, t.client, req)
	return w.out, true
}

// supersedeLocked ends the sharing of work that the new task contradicts: a request for
// a mapping after a deletion, or the other way round, is none of the copies of what was
// asked before. Some clients map, delete and map again within a moment.
func (f *Frontend) supersedeLocked(t task) {
	for other := range f.works {
		if other.contradicts(t) {
			delete(f.works, other)
		}
	}
}

// contradicts says whether one of two tasks asks for a mapping that the other ends.
func (t task) contradicts(other task) bool {
	mapping, deletion := t, other
	if t.req.Lifetime == 0 {
		mapping, deletion = other, t
	}
	return t.client == other.client && t.req.Opcode == other.req.Opcode && mapping.req.Lifetime != 0 && deletion.req.Lifetime == 0 &&
		(deletion.req.InternalPort == mapping.req.InternalPort || deletion.req.InternalPort == 0)
}

// finish forgets the work and tells those who wait.
func (f *Frontend) finish(t task, w *work) {
	f.mu.Lock()
	if f.works[t] == w {
		delete(f.works, t)
	}
	f.mu.Unlock()
	close(w.done)
}

// wait waits for the outcome, or for the server to stop.
func (w *work) wait(ctx context.Context) outcome {
	select {
	case <-w.done:
		return w.out
	case <-ctx.Done():
		return outcome{result: natpmp.ResultNetworkFailure}
	}
}
