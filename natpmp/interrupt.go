package natpmp

import (
	"context"
	"time"
)

// onDone calls f when the context ends, unless the returned function is called
// before. That function waits for f if it has begun, so that nothing of it is
// left to surprise the next user of a connection.
func onDone(ctx context.Context, f func()) (release func()) {
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

// interrupt makes a blocked read return when the context ends, and all later
// reads too. The error of a connection that is closed already does not matter.
func interrupt(ctx context.Context, conn interface{ SetReadDeadline(t time.Time) error }) (release func()) {
	return onDone(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
}

// pause waits for the duration or the end of the context.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
