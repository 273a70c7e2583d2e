package exchange

import (
	"context"
	"time"
)

// OnDone calls f when the context ends, unless the returned function is called
// before. That function waits for f if it has begun, so that nothing of it is
// left to surprise the next user of a connection.
func OnDone(ctx context.Context, f func()) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		f()
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// Pause waits for the duration or the end of the context.
func Pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// ReadPause returns how long to wait after so many failures to read in a row:
// long enough not to spin, short enough not to be missed.
func ReadPause(failures int) time.Duration {
	return min(5*time.Millisecond<<min(failures, 10), time.Second)
}

// Interrupt makes a blocked read return when the context ends, and all later reads too,
// unless the returned function is called before. The error of a connection that is closed
// already does not matter.
func Interrupt(ctx context.Context, conn interface{ SetReadDeadline(t time.Time) error }) (release func()) {
	return OnDone(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
}
