package nat

import (
	"sync/atomic"
	"time"
)

// backlogs has the background work of each layer: one that is silent leaves the other's
// alone.
type backlogs struct{ gateway, router backlog }

// of returns that of the layer that an action is for.
func (b *backlogs) of(a Action) *backlog {
	switch a.(type) {
	case LeaseAction, ReleaseAction:
		return &b.gateway
	default:
		return &b.router
	}
}

// backlog has actions of a layer for which nobody waits: so many are under way at once, and
// the others wait for a free worker. It is guarded by [Service.mu].
type backlog struct {
	waiting []func()
	busy    int // how many are under way or wait
}

// add takes an action and begins it if a worker is free.
func (b *backlog) add(do func()) {
	b.waiting = append(b.waiting, do)
	b.busy++
	if b.busy <= workers {
		b.start()
	}
}

// done gives the place of an action that has ended to the next one.
func (b *backlog) done() {
	b.busy--
	if len(b.waiting) > 0 {
		b.start()
	}
}

func (b *backlog) start() {
	do := b.waiting[0]
	b.waiting[0] = nil
	b.waiting = b.waiting[1:]
	go do()
}

// round is when the clock began what it is at.
type round struct {
	base time.Time
	at   atomic.Int64 // nanoseconds after base, 0 while it waits
}

func (r *round) begin() { r.at.Store(max(1, int64(time.Since(r.base)))) }
func (r *round) end()   { r.at.Store(0) }

// lasts returns for how long the clock has been at it, 0 while it waits.
func (r *round) lasts() time.Duration {
	began := r.at.Load()
	if began == 0 {
		return 0
	}
	return time.Since(r.base) - time.Duration(began)
}
