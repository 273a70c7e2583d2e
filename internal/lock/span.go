package lock

import (
	"fmt"
	"time"
)

// Instant is a moment on both clocks of the machine. Neither is enough alone: Go's monotonic one
// stands still while a machine is suspended, and the wall clock can be set. On Linux the former takes
// in suspensions here (CLOCK_BOOTTIME).
type Instant struct {
	Mono time.Duration // since some moment of this process
	Wall time.Time     // without a monotonic reading
}

// newClock returns what reads both clocks.
func newClock() func() Instant {
	start, boot := time.Now(), sinceBoot()
	return func() Instant {
		now := time.Now()
		return Instant{Mono: max(now.Sub(start), sinceBoot()-boot), Wall: now.Round(0)}
	}
}

// Span is the time for which the lock is ours. It and the times below are what a [Keeper] decides by,
// apart from clocks, waits and calls; the simulation of the core (internal/sim/model) uses them
// in virtual time.
type Span struct {
	sent  Instant       // before the request was sent that was granted
	lasts time.Duration // from then
}

// NewSpan returns the time that a lease gives us that was asked for at sent. A third of it is the
// margin: see [Config.Lease].
func NewSpan(sent Instant, lease time.Duration) Span {
	return Span{sent: sent, lasts: lease - lease/3}
}

// Check returns nil while the span lasts on both clocks, and else an error that wraps [ErrLost]. A
// wall clock that was set back could hide a suspension from us, so that ends it as well; what it may
// be adjusted by is far below the margin.
func (s Span) Check(now Instant) error {
	mono, wall := now.Mono-s.sent.Mono, now.Wall.Sub(s.sent.Wall)
	switch {
	case mono >= s.lasts:
		return fmt.Errorf("%w: it was not renewed for %s", ErrLost, mono.Round(time.Millisecond))
	case wall >= s.lasts:
		return fmt.Errorf("%w: by the wall clock it was not renewed for %s (this machine was suspended, or its clock was set)", ErrLost, wall.Round(time.Millisecond))
	case mono-wall >= s.lasts/10:
		return fmt.Errorf("%w: the wall clock was set back by %s", ErrLost, (mono - wall).Round(time.Millisecond))
	}
	return nil
}

// Rests is how long it is until the span should be renewed, when half of it is over; zero for now.
func (s Span) Rests(now Instant) time.Duration { return max(s.Left(now)-s.lasts/2, 0) }

// Patience is for how long bytes may be on their way to the router that were sent in the last moment of a
// term: three quarters of the margin, less the second that the router counts by.
func Patience(lease time.Duration) time.Duration { return (lease/3 - time.Second) * 3 / 4 }

// Left is how long the span lasts if nobody sets a clock. It is positive: a timer that fires early
// asks again.
func (s Span) Left(now Instant) time.Duration {
	used := max(now.Mono-s.sent.Mono, now.Wall.Sub(s.sent.Wall))
	return max(s.lasts-used, time.Millisecond)
}

// RenewEvery is how long after a renewal the next one is sent, and how long a request of a
// keeper may take.
func RenewEvery(lease time.Duration) time.Duration { return lease / 3 }

// RetryEvery is how long after a renewal that failed another one is sent.
func RetryEvery(lease time.Duration) time.Duration { return min(pollEvery, lease/15) }

// PollEvery is how long who stands by waits until it asks again. Jitter, from 0 up to 1, keeps
// several that wait from asking at the same moment for ever.
func PollEvery(jitter float64) time.Duration {
	return time.Duration((0.8 + 0.2*jitter) * float64(pollEvery))
}
