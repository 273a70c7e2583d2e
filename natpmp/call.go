package natpmp

import (
	"context"
	"errors"
	"time"

	"doublenat/internal/exchange"
)

// standardSchedule is the one of RFC 6886 §3.1: nine tries in 63.75 s, the last
// of which is waited for 64 s.
func standardSchedule() exchange.Schedule {
	return exchange.Schedule{First: 250 * time.Millisecond, Tries: 9}
}

// renewalSchedule leaves the gateway more time. The mapping stands meanwhile.
func renewalSchedule() exchange.Schedule { return exchange.Schedule{First: time.Second, Tries: 7} }

// deletionSchedule makes three tries in 1.75 s (RFC 6886 §3.4 allows fewer than
// nine): a mapping that is not deleted expires.
func deletionSchedule() exchange.Schedule {
	return exchange.Schedule{First: 250 * time.Millisecond, Tries: 3}
}

// call is a request in flight.
type call struct {
	req Request
	// odd is what was wrong with a reply that may have been meant for it. Guarded by
	// exchange.Look while the call is in flight.
	odd Oddity
}

// key returns what its reply is matched by.
func (cl *call) key() callKey {
	return callKey{opcode: cl.req.Opcode, internalPort: cl.req.InternalPort}
}

// answer is a reply, with its version.
type answer struct {
	response Response
	version  uint8
}

// do sends the request, repeats it, and waits for its reply.
func (c *Client) do(ctx context.Context, req Request, s exchange.Schedule, urgent bool) (Response, error) {
	cl := &call{req: req}
	a, err := c.exchange.Do(ctx, exchange.Job[callKey, *call]{
		Key: cl.key(), Request: cl, Packet: req.Append(make([]byte, 0, mapRequestSize)), Schedule: s, Urgent: urgent,
	})
	var timeout *exchange.Timeout
	switch {
	case errors.Is(err, exchange.ErrStopped):
		return Response{}, ErrClientStopped
	case errors.As(err, &timeout):
		return Response{}, &TimeoutError{Tries: timeout.Tries, Err: timeout.Err, Send: timeout.Send, Odd: cl.odd}
	case err != nil:
		return Response{}, err
	case a.response.Result != ResultSuccess:
		return Response{}, &ResultError{Opcode: req.Opcode, Result: a.response.Result, Version: a.version}
	default:
		return a.response, nil
	}
}
