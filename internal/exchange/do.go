package exchange

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// Schedule says when a request is repeated: after First, then after twice the
// time, and so on. The last try is waited for twice as long as the one before.
type Schedule struct {
	// First is the time to the first repetition.
	First time.Duration
	// Tries is how many packets are sent at most.
	Tries int
	// Spread returns the factor of each time, about 1, so that many clients do not
	// repeat in step. Nil is 1.
	Spread func() float64
}

// spread returns the time with its factor.
func (s Schedule) spread(d time.Duration) time.Duration {
	if s.Spread == nil {
		return d
	}
	return time.Duration(s.Spread() * float64(d))
}

// heeded is how many tries of a request tell how many the gateway can stand. A request
// that is never answered says nothing about others.
const heeded = 2

// Job is a request to be made.
type Job[K comparable, Q any] struct {
	// Key is what replies are matched by: there are never two requests in flight for one.
	Key K
	// Request is handed to those who match replies.
	Request Q
	// Packet is the request on the wire.
	Packet []byte
	// Schedule says when it is repeated.
	Schedule Schedule
	// Urgent requests go before others if the window is full.
	Urgent bool
}

// Do sends the request, repeats it, and waits for its reply. The error is [*Refused],
// [*Timeout] or [ErrStopped].
func (x *Exchange[K, Q, A]) Do(ctx context.Context, job Job[K, Q]) (A, error) {
	var none A
	mine, err := x.window.acquire(ctx, job.Key, job.Urgent)
	if err != nil {
		return none, &Timeout{Err: err, Send: x.link.err()}
	}
	defer x.window.release(mine)
	x.began(job.Request)
	cl := x.pending.add(job.Request)
	cl.place = mine
	defer x.pending.remove(cl)

	end := &Timeout{Err: context.DeadlineExceeded}
	gap := job.Schedule.spread(job.Schedule.First)
	for try := range job.Schedule.Tries {
		ended, err := x.window.again(ctx, mine, cl.done)
		if !ended && err == nil {
			err = x.try(ctx, cl, job.Packet, end, gap, try < heeded)
		}
		switch {
		case errors.Is(err, ErrStopped):
			return none, err
		case err == nil && cl.refused:
			return none, &Refused{Tries: end.Tries}
		case err == nil:
			x.window.answered(mine, cl.first, cl.last)
			return cl.answer, nil
		case ctx.Err() != nil:
			end.Err = ctx.Err()
			return none, x.timedOut(end)
		}
		gap = job.Schedule.spread(2 * gap)
	}
	return none, x.timedOut(end)
}

// timedOut returns the error of a call that got no reply.
func (x *Exchange[K, Q, A]) timedOut(end *Timeout) error {
	x.count.timeouts.Add(1)
	x.link.replaceIfSilent(silenceLimit)
	return end
}

// try sends the packet once and waits for the reply, until it is time to repeat it. Heed
// is set if the window is to learn from it.
func (x *Exchange[K, Q, A]) try(ctx context.Context, cl *call[K, Q, A], packet []byte, end *Timeout, gap time.Duration, heed bool) error {
	cl.last = time.Now()
	if cl.first.IsZero() {
		cl.first = cl.last
	}
	switch err := x.transmit(ctx, packet, end.Tries > 0); {
	case err == nil:
		end.Tries++
		x.pending.sent(cl, x.window.inFlight()-1)
	case errors.Is(err, ErrStopped):
		return err
	case errors.Is(err, errInVain):
		return x.waitOn(ctx, cl, gap, gap)
	default:
		end.Send, heed = err, false
	}
	patience := x.window.patience()
	if patience > gap {
		return x.waitOn(ctx, cl, gap, gap) // a gateway so far away is never late
	}
	if err := cl.wait(ctx, patience); err == nil || ctx.Err() != nil {
		return err
	}
	x.late(cl, heed)
	return x.waitOn(ctx, cl, gap, gap-patience)
}

// late deals with a request that has no reply in time.
func (x *Exchange[K, Q, A]) late(cl *call[K, Q, A], heed bool) {
	others, queued := x.pending.moved(cl)
	if heed {
		x.window.late(cl.last, others)
	}
	if !queued {
		x.window.land(cl.place)
	}
}

// waitOn waits for the outcome for the rest of the time after which a request is repeated,
// and for longer if it is likely to wait in the gateway's queue.
func (x *Exchange[K, Q, A]) waitOn(ctx context.Context, cl *call[K, Q, A], gap, rest time.Duration) error {
	err := context.DeadlineExceeded
	if rest > 0 {
		err = cl.wait(ctx, rest)
	}
	for err != nil && ctx.Err() == nil && x.pending.queued(cl) {
		err = cl.wait(ctx, gap)
	}
	return err
}

// wait waits for the outcome, but not longer than the duration or the context.
func (cl *call[K, Q, A]) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-cl.done:
		return nil
	case <-timer.C:
		return context.DeadlineExceeded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// transmit sends the packet once, when there is a connection. A packet that the system
// did not take for want of memory, or by its firewall, is a lost one. A connection that
// takes no packet for another reason is closed, so that Run makes a new one.
func (x *Exchange[K, Q, A]) transmit(ctx context.Context, packet []byte, again bool) error {
	conn, err := x.link.wait(ctx)
	if err != nil {
		return err
	}
	if x.inVain(ctx, again) {
		return errInVain
	}
	x.link.sending(time.Now()) // before, or the reply may come first
	switch err := conn.send(packet); {
	case errors.Is(err, syscall.ECONNREFUSED):
		// The kernel reports the refusal of an earlier packet, and did not send this one.
		x.refused()
		return err
	case err != nil:
		x.link.unsent()
		x.count.sendErrors.Add(1)
		x.onTrouble(err)
		if !passes(err) {
			_ = conn.Close() // its reader sees the error
		}
		return err
	}
	x.count.sent.Add(1)
	if again {
		x.count.retransmitted.Add(1)
	}
	return nil
}

// errInVain is that a packet was not sent because its reply could not come in time.
var errInVain = errors.New("too late to send")

// inVain says whether the context ends before a packet that is sent now can have its reply. It
// would still arrive, and the next request for the same might overtake it. The first packet of a
// request is sent unless that is sure, for a gateway may do what nobody hears of.
func (x *Exchange[K, Q, A]) inVain(ctx context.Context, again bool) bool {
	least := slack
	if again {
		least = x.window.brisk()
	}
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < least
}

// passes says whether an error of a socket is one of a moment and no fault of the
// socket: there is no room, or a firewall of this host dropped the packet.
func passes(err error) bool { return NoRoom(err) || errors.Is(err, syscall.EPERM) }

// NoRoom says whether the system or an interface had no room for a packet.
func NoRoom(err error) bool {
	return errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EAGAIN)
}
