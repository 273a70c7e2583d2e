package natpmp

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// schedule says when a request is repeated: after first, then after twice the
// time, and so on. The last try is waited for twice as long as the one before.
type schedule struct {
	first time.Duration
	tries int
}

// standardSchedule is the one of RFC 6886 §3.1: nine tries in 63.75 s, the last
// of which is waited for 64 s.
func standardSchedule() schedule { return schedule{first: 250 * time.Millisecond, tries: 9} }

// renewalSchedule leaves the gateway more time. The mapping stands meanwhile.
func renewalSchedule() schedule { return schedule{first: time.Second, tries: 7} }

// deletionSchedule makes three tries in 1.75 s (RFC 6886 §3.4 allows fewer than
// nine): a mapping that is not deleted expires.
func deletionSchedule() schedule { return schedule{first: 250 * time.Millisecond, tries: 3} }

// do sends the request, repeats it, and waits for its reply.
func (c *Client) do(ctx context.Context, req Request, s schedule, urgent bool) (Response, error) {
	key := callKey{opcode: req.Opcode, internalPort: req.InternalPort}
	if err := c.window.acquire(ctx, key, urgent); err != nil {
		return Response{}, &TimeoutError{Err: err, Send: c.link.err()}
	}
	defer c.window.release(key)
	cl := c.pending.add(req)
	defer c.pending.remove(cl)

	packet := req.Append(make([]byte, 0, mapRequestSize))
	end := &TimeoutError{Err: context.DeadlineExceeded}
	gap := s.first
	for range s.tries {
		if err := c.transmit(ctx, packet, end.Tries > 0); err == nil {
			end.Tries++
			c.pending.sent(cl)
		} else if errors.Is(err, ErrClientStopped) {
			return Response{}, err
		} else {
			end.Send = err
		}
		o, err := cl.wait(ctx, gap)
		for err != nil && ctx.Err() == nil && c.pending.queued(cl) {
			o, err = cl.wait(ctx, gap)
		}
		if err == nil {
			return o.result(req.Opcode, end.Tries)
		}
		if ctx.Err() != nil {
			end.Err = ctx.Err()
			break
		}
		gap *= 2
	}
	c.count.timeouts.Add(1)
	c.link.replaceIfSilent(silenceLimit)
	return Response{}, end
}

// wait waits for the outcome, but not longer than the duration or the context.
func (cl *call) wait(ctx context.Context, d time.Duration) (outcome, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case o := <-cl.done:
		return o, nil
	case <-timer.C:
		return outcome{}, context.DeadlineExceeded
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	}
}

// transmit sends the packet once, when there is a connection. A connection that
// takes no packet is closed, so that Run makes a new one.
func (c *Client) transmit(ctx context.Context, packet []byte, again bool) error {
	conn, err := c.link.wait(ctx)
	if err != nil {
		return err
	}
	_, err = conn.Write(packet)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		// The kernel reports the refusal of an earlier packet, and did not send this one.
		c.refused()
		return err
	case err != nil:
		c.count.sendErrors.Add(1)
		_ = conn.Close() // its reader sees the error
		return err
	}
	c.count.sent.Add(1)
	if again {
		c.count.retransmitted.Add(1)
	}
	return nil
}

// result turns the outcome into what the caller gets.
func (o outcome) result(op Opcode, sent int) (Response, error) {
	switch {
	case o.refused:
		return Response{}, &RefusedError{Tries: sent}
	case o.response.Result != ResultSuccess:
		return Response{}, &ResultError{Opcode: op, Result: o.response.Result}
	default:
		return o.response, nil
	}
}
