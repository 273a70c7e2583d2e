package datagram

import (
	"sync"
	"time"
)

// maxLines is how many lines a second are logged about packets that are dropped:
// who sends them must not fill a disk, nor slow the server down.
const maxLines = 20

// LineLimit counts log lines. The zero value is ready. It is safe for
// concurrent use.
type LineLimit struct {
	mu     sync.Mutex // guards what follows; held for moments only
	second time.Time  // when the present second began
	lines  int        // in it
}

// Allow says whether one more line may be logged.
func (l *LineLimit) Allow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.second) >= time.Second {
		l.second, l.lines = now, 0
	}
	l.lines++
	return l.lines <= maxLines
}
