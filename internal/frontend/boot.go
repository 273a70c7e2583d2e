package frontend

import (
	"context"
	"errors"
	"time"

	"doublenat/internal/nat"
)

const (
	// bootPatience is how long a gateway may take to come up. One that has said nothing for
	// so long is no gateway, and clients are told of it again.
	bootPatience = 10 * time.Minute
	// bootWait is how long one request for the public address waits: longer than most
	// programs repeat it, since a copy that comes meanwhile does not wait in its turn.
	bootWait = 30 * time.Second
)

// boot is the time from the start until the gateway answers. After a power cut programs
// start before a gateway that takes a minute, and most do not ask again for minutes or hours
// after a failure: all they get is silence, in which they repeat their requests.
type boot struct {
	settled <-chan struct{} // nil if there is nothing to wait for
	until   time.Time
}

func newBoot(settled <-chan struct{}) boot {
	return boot{settled: settled, until: time.Now().Add(bootPatience)}
}

// over says whether clients are told how it is.
func (b *boot) over() bool {
	select {
	case <-b.settled:
		return true
	default:
		return b.settled == nil || !time.Now().Before(b.until)
	}
}

// wait waits until the gateway has said whether it has an address, or for as long as a
// request may wait.
func (b *boot) wait(ctx context.Context) {
	timer := time.NewTimer(bootWait)
	defer timer.Stop()
	select {
	case <-b.settled:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// awaitAddress returns the public address when it is known, or silence.
func (f *Frontend) awaitAddress(ctx context.Context) outcome {
	if !f.boot.over() {
		f.boot.wait(ctx)
	}
	if addr, ok := f.external(); ok {
		return outcome{address: addr}
	}
	return outcome{err: errNoAddress, silent: !f.boot.over()}
}

// hush has a request get no answer that failed because the gateway is not there yet.
func (f *Frontend) hush(out outcome) outcome {
	e, ok := errors.AsType[*nat.Error](out.err)
	if ok && e.Hop == nat.HopGateway && e.Reason == nat.ReasonUnreachable && !f.boot.over() {
		out.silent = true
	}
	return out
}
