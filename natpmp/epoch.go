package natpmp

import (
	"sync"
	"sync/atomic"
	"time"
)

// Epoch counts the seconds since the mapping table was initialized, SSSoE
// (RFC 6886 §3.6). It follows the monotonic clock, so that it neither stops nor
// jumps when somebody sets the time of day. It is safe for concurrent use.
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

// EpochWatch is the client's side of the epoch: it notices when a gateway has
// lost its mappings (RFC 6886 §3.6). Every reply of the gateway has to be shown
// to it, failures included. The zero value has seen none and
// is ready for use. It is safe for concurrent use.
type EpochWatch struct {
	mu sync.Mutex
	// seen is false until there is a packet to compare with. Guarded by mu.
	seen bool
	// last and at are the epoch and the time of the latest packet. Guarded by mu.
	last uint32
	at   time.Time
}

// Observe takes the epoch of a packet that came at the given time and says
// whether the gateway lost its state since the packet before: the value is more
// than 2 seconds below 7/8 of what it should have become. One loss is reported
// once. The first packet never is one.
//
// A counter that wraps after 136 years looks like a loss, which does no harm.
func (w *EpochWatch) Observe(epoch uint32, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	lost := w.lostLocked(epoch, now)
	w.seen, w.last, w.at = true, epoch, now
	return lost
}

// Suspect says what [EpochWatch.Observe] would, and takes in nothing: for packets
// that anybody may have sent.
func (w *EpochWatch) Suspect(epoch uint32, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lostLocked(epoch, now)
}

// lostLocked compares an epoch with what it should have become.
func (w *EpochWatch) lostLocked(epoch uint32, now time.Time) bool {
	if !w.seen {
		return false
	}
	elapsed := max(now.Sub(w.at), 0)
	advance := time.Duration(int64(epoch)-int64(w.last)) * time.Second
	return advance < elapsed-elapsed/8-2*time.Second
}
