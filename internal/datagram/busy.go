package datagram

import (
	"sync/atomic"
	"time"
)

// busy says for how long somebody is at one piece of work. It allocates nothing: a
// flood passes here.
type busy struct {
	base  time.Time    // set once; work is timed against it, on the monotonic clock
	since atomic.Int64 // when the work under way began, in nanoseconds after base; 0 for none
}

// begin says that work begins now.
func (b *busy) begin(now time.Time) { b.since.Store(max(1, int64(now.Sub(b.base)))) }

// end says that it has ended.
func (b *busy) end() { b.since.Store(0) }

// time returns how long the work under way takes, 0 for none.
func (b *busy) time() time.Duration {
	since := b.since.Load()
	if since == 0 {
		return 0
	}
	return time.Since(b.base) - time.Duration(since)
}

// Busy returns for how long the reader has been at one packet, 0 while it waits for
// the next. It takes microseconds: one that takes seconds is stuck, and nobody is
// answered any more.
func (s *Server) Busy() time.Duration { return s.reader.time() }
