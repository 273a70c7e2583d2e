package natpmp

import (
	"sync/atomic"
	"time"
)

// Epoch counts the seconds since the mapping table was initialized, SSSoE (RFC 6886 §3.6).
// It follows the monotonic clock, so it neither stops nor jumps when somebody sets the
// time of day. It is safe for concurrent use.
type Epoch struct {
	created time.Time
	// start is when the present epoch began, as nanoseconds after created.
	start atomic.Int64
}

// NewEpoch returns an epoch that begins now.
func NewEpoch() *Epoch { return &Epoch{created: time.Now()} }

// Seconds returns the whole seconds since the epoch began.
func (e *Epoch) Seconds() uint32 {
	return uint32((time.Since(e.created) - time.Duration(e.start.Load())) / time.Second) //nolint:gosec // 136 years
}

// Reset begins a new epoch, which tells clients that their mappings may be gone
// (RFC 6886 §3.6, §3.7). It should be followed by an announcement.
func (e *Epoch) Reset() { e.start.Store(int64(time.Since(e.created))) }
