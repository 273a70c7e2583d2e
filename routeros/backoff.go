package routeros

import "time"

// backoff says how long to wait before connecting again: least after the first
// failure, twice as long after each further one, at most most.
type backoff struct {
	least, most time.Duration
	random      func() float64 // see Config.Random
	last        time.Duration  // the pause before it was spread; zero after a success
}

// reset forgets the failures.
func (b *backoff) reset() { b.last = 0 }

// next counts a failure and returns the pause before the next attempt.
func (b *backoff) next() time.Duration {
	b.last = max(b.least, min(2*b.last, b.most))
	return spread(b.last, b.random())
}

// spread returns a duration between half of d and d, by a random number from 0 to 1,
// so that the clients of a router that comes back do not all arrive at once.
func spread(d time.Duration, random float64) time.Duration {
	return d/2 + time.Duration(random*float64(d/2))
}
