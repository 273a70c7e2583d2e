package natpmp

import (
	"slices"
	"sync"
)

// outcome is how a call ended: a response, or a refusal by the host.
type outcome struct {
	response Response
	refused  bool
}

// call is a request in flight.
type call struct {
	req Request
	// done gets the one outcome; it has room, so that nobody waits for the caller.
	done chan outcome
	// ahead is how many others were in flight when the request last went out, and
	// sentAt is how many had been answered then, lookedAt how many responses had come
	// at the last look, and waits how often it was found in the queue since. Guarded by
	// the mutex of pending.
	ahead, sentAt, lookedAt, waits int
}

// pending has the requests in flight, for those who bring the outcomes.
type pending struct {
	mu sync.Mutex
	// calls is in the order of their start. It is as short as the window. Guarded by mu.
	calls []*call
	// answered counts the requests that were answered, heard the responses, second
	// ones to a request that was repeated included. Guarded by mu.
	answered, heard int
}

// add registers a request. Each add is followed by a remove.
func (p *pending) add(req Request) *call {
	c := &call{req: req, done: make(chan outcome, 1)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, c)
	return c
}

// remove forgets a request, also one that has its outcome already.
func (p *pending) remove(c *call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = slices.DeleteFunc(p.calls, func(other *call) bool { return other == c })
}

// sent notes that the request went out, behind all others in flight.
func (p *pending) sent(c *call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.ahead = len(p.calls) - 1
	c.sentAt, c.lookedAt, c.waits = p.answered, p.heard, 0
}

// queued says whether the request is likely to be in the gateway's queue and not
// lost: since the last look something was heard, be it a second answer to a request
// that was repeated, and not yet more requests were answered than were ahead
// of it. Many gateways do one thing after the other; to repeat what waits there
// would make the queue longer for everybody. Anybody can make something to be heard:
// the request is given its turn as often as there are others, and once more.
func (p *pending) queued(c *call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	moved := p.heard > c.lookedAt
	c.lookedAt = p.heard
	c.waits++
	return moved && p.answered-c.sentAt <= c.ahead && c.waits <= c.ahead+1
}

// expects notes that a response came, and says whether there is a request that it
// answers.
func (p *pending) expects(resp Response) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard++
	return slices.ContainsFunc(p.calls, func(c *call) bool { return answers(resp, c.req) })
}

// deliver gives a response to the request that it answers, if that is still waiting.
func (p *pending) deliver(resp Response) {
	all := resp.Result == ResultUnsupportedVersion // it concerns all requests
	p.end(func(req Request) bool { return answers(resp, req) }, outcome{response: resp}, !all)
}

// refuse ends all requests: it is the host that has nobody on that port, not one
// of the requests that is refused.
func (p *pending) refuse() {
	p.end(func(Request) bool { return true }, outcome{refused: true}, false)
}

// end gives the outcome to the first or to all requests that match.
func (p *pending) end(match func(Request) bool, o outcome, one bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := false
	p.calls = slices.DeleteFunc(p.calls, func(c *call) bool {
		if found && one || !match(c.req) {
			return false
		}
		found = true
		p.answered++
		c.done <- o
		return true
	})
}

// answers says whether the response can be meant for the request.
func answers(resp Response, req Request) bool {
	switch {
	case resp.Result == ResultUnsupportedVersion:
		return true // it has opcode 0 whatever was asked (RFC 6886 §3.5)
	case resp.Opcode != req.Opcode:
		return false
	case !req.Opcode.isMap():
		return true
	case resp.Result != ResultSuccess:
		// Some gateways leave out what follows the header; the oldest request then has it.
		return resp.InternalPort == req.InternalPort || resp.InternalPort == 0
	case req.Lifetime == 0 && resp.Lifetime != 0:
		// A late answer to a request for the mapping that is now to end.
		return false
	case req.Lifetime != 0 && resp.Lifetime == 0 && resp.ExternalPort == 0:
		// A late answer to a deletion (RFC 6886 §3.4), after which the port is asked for again.
		return false
	default:
		return resp.InternalPort == req.InternalPort
	}
}
