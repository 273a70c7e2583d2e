// Package lock lets several doublenats agree on which of them is active. A store keeps the lock
// where all of them reach it: on the router, or as a Lease object of Kubernetes.
package lock

import (
	"context"
	"errors"
	"time"
)

// Store keeps one lock for one holder in one term: the next term, of the same process too, is
// another holder and has another Store. Otherwise a request of the former term that arrives late,
// a release above all, would take the lock from the latter. Its methods are called by one goroutine at a time, and may
// take until their context ends.
type Store interface {
	// Acquire takes the lock for the time of a lease if nobody has it, and says who has it now.
	// If we have it already, as after a reply that got lost, that is renewed. An error says
	// nothing about who has it: the request may have arrived.
	Acquire(ctx context.Context, lease time.Duration) (Holder, error)
	// Renew extends the lock by a lease that begins when the store reads the request. The error
	// wraps [ErrLost] if we have the lock no more; any other one says nothing about that.
	Renew(ctx context.Context, lease time.Duration) error
	// Release gives the lock to whoever comes next. Nil is that we have it no more, whether we
	// had it before or not.
	Release(ctx context.Context) error
}

// Holder is who has a lock.
type Holder struct {
	// Name is what the holder calls itself (LOCK_NAME). Empty is nobody that is known: another
	// one took the lock just now.
	Name string
	// Mine says that it is us. It is not the name that says so: two may be given the same one
	// by mistake.
	Mine bool
}

// ErrLost is wrapped by the error of a renewal when the lock has expired or has another holder.
var ErrLost = errors.New("the lock was lost")

// Watcher is a [Store] that can notice that a lock was given away sooner than by asking for it about
// every second.
type Watcher interface {
	Store
	// Watch looks at the lock of somebody else until the context ends, beside other calls.
	Watch(ctx context.Context)
	// Freed has a value when the lock may be free.
	Freed() <-chan struct{}
}
