package hook

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// courier takes events to one receiver, one after the other.
type courier struct {
	queue *queue
	log   *slog.Logger
	// deliver takes one event there. An error that wraps errFinal is not tried again.
	deliver func(context.Context, Event) error
	random  func() float64

	mu        sync.Mutex
	delivered uint64 // guarded by mu, as what follows
	failed    uint64
	lost      uint64 // events that were given up
	lastError string // what was logged last; empty after a success
}

// errFinal is a failure that another try would not mend.
var errFinal = errors.New("not tried again")

const (
	// retryFirst and retryMax bound the wait after a failed delivery, which doubles.
	retryFirst, retryMax = time.Second, time.Minute
	// patience is how long an event is tried before it is given up.
	patience = time.Hour
	// drainTimeout bounds what is still delivered when the daemon stops.
	drainTimeout = 2 * time.Second
)

// run delivers until ctx ends, and then for a moment what still waits, so that the
// end of the mappings is told too.
func (c *courier) run(ctx context.Context) {
	work, cancel := outlive(ctx, drainTimeout)
	defer cancel()
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
		err := c.deliver(work, it.event)
		switch {
		case ctx.Err() != nil && err != nil:
			c.queue.again(it)
		case c.note(ctx, it, err):
			failures++
			sleep(ctx, c.backoff(failures))
		default:
			failures = 0
		}
	}
	c.drain(work)
}

// outlive returns a context that ends some time after ctx does, so that a delivery
// under way is not cut off.
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

// note counts and logs the outcome of a delivery, and says whether to wait: the
// receiver may be better soon, and the event goes back into the queue unless it has
// become too old.
func (c *courier) note(ctx context.Context, it item, err error) bool {
	final := errors.Is(err, errFinal)
	tooOld := time.Since(it.since) >= patience
	c.mu.Lock()
	before := c.lastError
	c.lastError = ""
	if err == nil {
		c.delivered++
	} else {
		c.lastError = err.Error()
		c.failed++
		if final || tooOld {
			c.lost++
		}
	}
	now := c.lastError
	c.mu.Unlock()

	switch {
	case now != "" && now != before:
		c.log.WarnContext(ctx, "event could not be delivered", "event", it.event.Kind, "error", err)
	case now == "" && before != "":
		c.log.InfoContext(ctx, "events are delivered again")
	}
	if err == nil || final {
		return false
	}
	if !tooOld {
		c.queue.again(it)
	}
	return true
}

// backoff returns the wait after so many failures in a row, shortened by up to a
// tenth at random.
func (c *courier) backoff(failures int) time.Duration {
	d := min(retryFirst<<min(failures-1, 10), retryMax)
	return d - time.Duration(c.random()*float64(d)/10)
}

// drain tries once to deliver what still waits, until ctx ends.
func (c *courier) drain(ctx context.Context) {
	for ctx.Err() == nil {
		it, ok := c.queue.take()
		if !ok {
			return
		}
		err := c.deliver(ctx, it.event)
		c.mu.Lock()
		if err == nil {
			c.delivered++
		} else {
			c.failed++
			c.lost++
		}
		c.mu.Unlock()
		if err != nil {
			c.log.WarnContext(ctx, "event could not be delivered before the end", "event", it.event.Kind, "error", err)
			return // The others would meet the same.
		}
	}
}

// stats returns how the receiver is doing.
func (c *courier) stats() Stats {
	waiting, dropped := c.queue.state()
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Waiting: waiting, Delivered: c.delivered, Failed: c.failed, Lost: c.lost + dropped}
}

// sleep waits until the time is over or ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
