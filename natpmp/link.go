package natpmp

import (
	"context"
	"net"
	"sync"
	"time"
)

// link is the connection to the gateway as those who send see it: it may be
// absent, and another one after a while. One goroutine connects and reads; see
// [Client.Run].
type link struct {
	mu sync.Mutex
	// conn is nil while there is none. Guarded by mu.
	conn net.Conn
	// changed is closed, and replaced, when conn or stopped changes. Guarded by mu.
	changed chan struct{}
	// heard is when the latest packet came on conn, at first when conn was made. Guarded by mu.
	heard time.Time
	// silent is set when conn was closed because nothing was heard. Guarded by mu.
	silent bool
	// lastErr is why there is no connection, nil while there is one. Guarded by mu.
	lastErr error
	// stopped is set when nobody connects any more. Guarded by mu.
	stopped bool
}

func newLink() *link { return &link{changed: make(chan struct{})} }

// wait returns the connection, as soon as there is one. When the context ends
// before, the error is why there is none, as far as that is known.
func (l *link) wait(ctx context.Context) (net.Conn, error) {
	for {
		l.mu.Lock()
		conn, stopped, changed := l.conn, l.stopped, l.changed
		l.mu.Unlock()
		switch {
		case stopped:
			return nil, ErrClientStopped
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
	l.conn, l.lastErr, l.heard, l.silent = conn, nil, time.Now(), false
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
func (l *link) hear(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = now
}

// replaceIfSilent closes a connection on which nothing was heard for so long. A
// socket keeps the source address that it got when it was made; when the tunnel
// has another one since, only a new socket is heard by the gateway.
func (l *link) replaceIfSilent(limit time.Duration) {
	l.mu.Lock()
	conn := l.conn
	if conn == nil || l.silent || time.Since(l.heard) < limit {
		l.mu.Unlock()
		return
	}
	l.silent = true
	l.mu.Unlock()
	_ = conn.Close() // its reader sees the error
}
