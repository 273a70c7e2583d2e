package frontend

import (
	"sync"
	"time"
)

// bucket bounds how many mappings all clients together may make: so many a second, and
// a number at once. Unlike a [golang.org/x/time/rate.Limiter] it takes back what was
// not used. A nil bucket has no bound.
type bucket struct {
	perSecond, size float64

	mu sync.Mutex // guards what follows; held for moments only
	// tokens is how many there are, below zero if more was made than there were.
	tokens float64
	at     time.Time // when tokens was counted, zero for never
}

// newBucket returns a full bucket, or nil if perSecond is 0.
func newBucket(perSecond, size int) *bucket {
	if perSecond == 0 {
		return nil
	}
	return &bucket{perSecond: float64(perSecond), size: float64(size), tokens: float64(size)}
}

// take takes a token if there is one above those to keep.
func (b *bucket) take(keep float64, now time.Time) bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fillLocked(now)
	if b.tokens < 1+min(keep, b.size-1) {
		return false
	}
	b.tokens--
	return true
}

// give puts a token back.
func (b *bucket) give() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.size, b.tokens+1)
}

// charge takes a token whether there is one or not.
func (b *bucket) charge(now time.Time) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fillLocked(now)
	b.tokens--
}

// fillLocked adds what came since the last look. Whoever looked at the clock before that
// and comes after it adds nothing: b.at never goes back, or time would count twice.
func (b *bucket) fillLocked(now time.Time) {
	if b.at.IsZero() {
		b.at = now
	}
	if since := now.Sub(b.at); since > 0 {
		b.tokens, b.at = min(b.size, b.tokens+b.perSecond*since.Seconds()), now
	}
}
