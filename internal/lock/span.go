package lock

import (
	"fmt"
	"time"
)

// instant is a moment on both clocks of the machine. Neither is enough alone: the monotonic one
// stands still while a machine is suspended, and the wall clock can be set.
type instant struct {
	mono time.Duration // since some moment of this process
	wall time.Time     // without a monotonic reading
}

// newClock returns what reads both clocks.
func newClock() func() instant {
	start := time.Now()
	return func() instant {
		now := time.Now()
		return instant{mono: now.Sub(start), wall: now.Round(0)}
	}
}

// span is the time for which the lock is ours.
type span struct {
	sent  instant       // before the request was sent that was granted
	lasts time.Duration // from then
}

// check returns nil while the span lasts on both clocks. A wall clock that was set back could hide
// a suspension from us, so that ends it as well; what it may be adjusted by is far below the margin.
func (s span) check(now instant) error {
	mono, wall := now.mono-s.sent.mono, now.wall.Sub(s.sent.wall)
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

// left is how long the span lasts if nobody sets a clock. It is positive: a timer that fires early
// asks again.
func (s span) left(now instant) time.Duration {
	used := max(now.mono-s.sent.mono, now.wall.Sub(s.sent.wall))
	return max(s.lasts-used, time.Millisecond)
}
