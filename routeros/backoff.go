package routeros

import "time"

// settled is how long a session has to live to count as one that worked. At most
// once in this time a connection that worked is made anew without a pause.
const settled = time.Minute

// backoff says how long to wait before connecting again: least after the first
// failure, twice as long after each further one, at most most.
type backoff struct {
	least, most time.Duration
	random      func() float64 // see Config.Random
	last        time.Duration  // the pause before it was spread; zero after a success
	free        time.Time      // when there was no pause the last time
}

// next counts a failure and returns the pause before the next attempt.
func (b *backoff) next() time.Duration {
	b.last = max(b.least, min(2*b.last, b.most))
	return spread(b.last, b.random())
}

// after returns the pause after a session that was logged in, lived so long, and did
// what [Command.Proves] or not. A peer that proves itself and hangs up, again and
// again, gets no more logins than one that does not answer: a session that lived
// shorter than the pause before it was no success.
func (b *backoff) after(lived time.Duration, proven bool) time.Duration {
	if lived < settled && (!proven || lived < b.last) {
		return b.next()
	}
	b.last = 0
	if now := time.Now(); b.free.IsZero() || now.Sub(b.free) >= settled {
		b.free = now
		return 0
	}
	return b.next()
}

// spread returns a duration between half of d and d, by a random number from 0 to 1,
// so that the clients of a router that comes back do not all arrive at once.
func spread(d time.Duration, random float64) time.Duration {
	return d/2 + time.Duration(random*float64(d/2))
}
