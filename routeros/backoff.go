package routeros

import (
	"math/rand/v2"
	"time"
)

// backoff says how long to wait before connecting again: least after the first
// failure, twice as long after each further one, at most most.
type backoff struct {
	least, most time.Duration
	last        time.Duration // the pause before it was spread; zero after a success
}

// reset forgets the failures.
func (b *backoff) reset() { b.last = 0 }

// next counts a failure and returns the pause before the next attempt.
func (b *backoff) next() time.Duration {
	b.last = max(b.least, min(2*b.last, b.most))
	return spread(b.last)
}

// spread returns a random duration between half of d and d, so that the clients
// of a router that comes back do not all arrive at once.
func spread(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1) //nolint:gosec // spreads load; nothing depends on it being hard to guess
}
