package hook

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// courier takes events to one receiver.
type courier struct {
	queue *queue
	log   *slog.Logger
	// deliver takes one event there. An error that wraps errFinal is not tried again.
	deliver func(context.Context, Event) error
	// external returns the public address of now.
	external func() (netip.Addr, bool)
	random   func() float64
	// once is set for a receiver that gets an event once, whether that works or not.
	once bool
	// told is the address that the receiver heard of last as news; the zero Addr is
	// none. It belongs to run.
	told netip.Addr
	// tried is the address of the last delivery, if that failed: the receiver may have
	// read it all the same. Nil after a success. It belongs to run.
	tried *netip.Addr

	mu        sync.Mutex
	delivered uint64 // guarded by mu, as what follows
	failed    uint64
	lastError string // what was logged last; empty after a success
}

// errFinal is wrapped by a failure after which the same event is not tried again.
var errFinal = errors.New("not tried again")

const (
	// retryFirst and retryMax bound the wait after a failed delivery, which doubles.
	retryFirst, retryMax = time.Second, time.Minute
	// patience is how long an event is tried before it is given up for now.
	patience = time.Hour
	// drainTimeout bounds what is still delivered when the daemon stops, and drainTry one
	// delivery of it: one that hangs must not cost all others their turn.
	drainTimeout, drainTry = 2 * time.Second, time.Second
)

// run delivers until ctx ends, then what waits, within drainTimeout. A delivery that has begun when
// ctx ends gets no longer than those after it.
func (c *courier) run(ctx context.Context) {
	work, cancel := outlive(ctx, drainTimeout)
	defer cancel()
	begun, give := outlive(ctx, drainTry)
	defer give()
	failures := 0
	for ctx.Err() == nil {
		it, ok := c.queue.take()
		if !ok {
			select {
			case <-ctx.Done():
			case <-c.queue.wake:
			}
			continue
		}
		if c.note(ctx, it, c.send(begun, it.event)) {
			failures++
			sleep(ctx, c.backoff(failures))
		} else {
			failures = 0
		}
	}
	c.drain(context.WithoutCancel(ctx), work)
}

// outlive returns a context that ends some time after ctx.
func outlive(ctx context.Context, more time.Duration) (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		sleep(work, more)
		cancel()
	})
	return work, func() {
		stop()
		cancel()
	}
}

// send delivers an event with the address that is true now. That the address is the
// one which the receiver heard of last is no news, and is not sent; unless another one
// may have arrived since, whose reply got lost.
func (c *courier) send(ctx context.Context, ev Event) error {
	now, _ := c.external()
	if !ev.ofAddress() {
		ev.ExternalAddress = now
		return c.deliver(ctx, ev)
	}
	switch {
	case !c.told.IsValid():
	case c.told != now:
		ev.OldExternalAddress = c.told
	case c.tried == nil:
		return nil
	default:
		ev.OldExternalAddress = *c.tried
	}
	ev.ExternalAddress, ev.Active = now, now.IsValid()
	if err := c.deliver(ctx, ev); err != nil {
		c.tried = &now
		return err
	}
	c.told, c.tried = now, nil
	return nil
}

// note takes in how a delivery went, and says whether to wait before the next one.
func (c *courier) note(ctx context.Context, it item, err error) bool {
	final := errors.Is(err, errFinal)
	c.mu.Lock()
	before := c.lastError
	c.lastError = ""
	if err == nil {
		c.delivered++
	} else {
		c.lastError = err.Error()
		c.failed++
	}
	now := c.lastError
	c.mu.Unlock()

	switch {
	case now != "" && now != before:
		c.log.WarnContext(ctx, "event could not be delivered", "event", it.event.Kind, "error", err)
	case now == "" && before != "":
		c.log.InfoContext(ctx, "events are delivered again")
	}
	switch {
	case err == nil:
		c.queue.resume()
		return false
	case final && c.once:
		c.queue.drop()
	case final:
		it.rejected++
		c.queue.park(it)
	case time.Since(it.since) >= patience:
		c.queue.park(it)
	default:
		c.queue.again(it)
	}
	return !final
}

// backoff returns how long to wait after so many failures in a row.
func (c *courier) backoff(failures int) time.Duration {
	d := min(retryFirst<<min(failures-1, 10), retryMax)
	return d - time.Duration(c.random()*float64(d)/10)
}

// drain delivers what waits, each event once, until there is nothing left or the work's
// time is up. What was not delivered is one line.
func (c *courier) drain(ctx, work context.Context) {
	var first error
	undelivered := 0
	for {
		it, ok := c.queue.take()
		if !ok {
			break
		}
		err := work.Err()
		if err == nil {
			try, cancel := context.WithTimeout(work, drainTry)
			err = c.send(try, it.event)
			cancel()
		}
		c.mu.Lock()
		if err == nil {
			c.delivered++
		} else {
			c.failed++
		}
		c.mu.Unlock()
		if err != nil {
			c.queue.drop()
			undelivered++
			if first == nil {
				first = err
			}
		}
	}
	if undelivered > 0 {
		c.log.WarnContext(ctx, "events not delivered before the stop", "events", undelivered, "error", first)
	}
}

// stats returns how the receiver is doing.
func (c *courier) stats() Stats {
	waiting, lost := c.queue.state()
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Waiting: waiting, Delivered: c.delivered, Failed: c.failed, Lost: lost}
}

// sleep waits, at most until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
