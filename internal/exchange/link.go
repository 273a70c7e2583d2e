package exchange

import (
	"context"
	"net"
	"sync"
	"time"
)

// link is the connection to the gateway as those who send see it: it may be
// absent, and another one after a while. One goroutine connects and reads; see
// [Exchange.Run].
type link struct {
	mu sync.Mutex
	// conn is nil while there is none. Guarded by mu.
	conn *linkConn
	// changed is closed, and replaced, when conn or stopped changes. Guarded by mu.
	changed chan struct{}
	// unheard is how many packets went out on conn since the latest one came, and asked
	// is when the first of them did. Guarded by mu.
	unheard int
	asked   time.Time
	// silent is set when conn was closed because nothing was heard. Guarded by mu.
	silent bool
	// lastErr is why there is no connection, nil while there is one. Guarded by mu.
	lastErr error
	// stopped is set when nobody connects any more. Guarded by mu.
	stopped bool
}

// silentPackets is how many packets have to stay unanswered before a connection counts
// as silent: one may be lost.
const silentPackets = 3

func newLink() *link { return &link{changed: make(chan struct{})} }

// wait returns the connection, as soon as there is one. When the context ends
// before, the error is why there is none, as far as that is known.
func (l *link) wait(ctx context.Context) (*linkConn, error) {
	for {
		l.mu.Lock()
		conn, stopped, changed := l.conn, l.stopped, l.changed
		l.mu.Unlock()
		switch {
		case stopped:
			return nil, ErrStopped
		case conn != nil:
			return conn, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if err := l.err(); err != nil {
				return nil, err
			}
			return nil, ctx.Err()
		}
	}
}

// up makes the connection known to those who wait.
func (l *link) up(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.lastErr, l.unheard, l.silent = newLinkConn(conn), nil, 0, false
	l.changeLocked()
}

// down takes the connection away. It says whether that was for silence, which is true
// once: an attempt that fails afterwards is a failure like any other.
func (l *link) down(err error) (silent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	silent = l.silent
	l.conn, l.lastErr, l.silent = nil, err, false
	l.changeLocked()
	return silent
}

// stop lets everybody know that there will be no connection any more.
func (l *link) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.stopped = nil, true
	l.changeLocked()
}

func (l *link) changeLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// err returns why there is no connection.
func (l *link) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastErr
}

// hear notes that a packet came.
func (l *link) hear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unheard = 0
}

// sending notes that a packet goes out.
func (l *link) sending(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unheard == 0 {
		l.asked = now
	}
	l.unheard++
}

// unsent takes back that a packet went out.
func (l *link) unsent() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unheard = max(l.unheard-1, 0)
}

// replaceIfSilent closes a connection on which was asked for so long, and nothing was
// heard. A socket keeps the source address that it got when it was made; when the
// tunnel has another one since, only a new socket is heard by the gateway.
func (l *link) replaceIfSilent(limit time.Duration) {
	l.mu.Lock()
	conn := l.conn
	if conn == nil || l.silent || l.unheard < silentPackets || time.Since(l.asked) < limit {
		l.mu.Unlock()
		return
	}
	l.silent = true
	l.mu.Unlock()
	_ = conn.Close() // its reader sees the error
}
