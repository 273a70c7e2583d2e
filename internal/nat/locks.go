package nat

import (
	"context"
	"sync"
)

// portLocks lets one thing at a time happen to a client port, so that requests
// for it are handled in the order in which they came. A lock is held across
// network calls: it is a channel and not a mutex, waiting for it obeys a context,
// and waiters get it first come, first served. A lock that nobody holds or waits
// for takes no memory.
type portLocks struct {
	mu    sync.Mutex // guards locks and the users counts
	locks map[ClientPort]*portLock
}

type portLock struct {
	slot  chan struct{} // capacity 1; full while held
	users int           // holder and waiters
}

// lock waits for the client port and returns how to give it back. The only error
// is the context's.
func (l *portLocks) lock(ctx context.Context, port ClientPort) (unlock func(), err error) {
	lock := l.enter(port)
	select {
	case lock.slot <- struct{}{}:
		return func() {
			<-lock.slot
			l.leave(port, lock)
		}, nil
	case <-ctx.Done():
		l.leave(port, lock)
		return nil, ctx.Err()
	}
}

func (l *portLocks) enter(port ClientPort) *portLock {
	l.mu.Lock()
	defer l.mu.Unlock()
	lock := l.locks[port]
	if lock == nil {
		if l.locks == nil {
			l.locks = make(map[ClientPort]*portLock)
		}
		lock = &portLock{slot: make(chan struct{}, 1)}
		l.locks[port] = lock
	}
	lock.users++
	return lock
}

func (l *portLocks) leave(port ClientPort, lock *portLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lock.users--; lock.users == 0 {
		delete(l.locks, port)
	}
}
