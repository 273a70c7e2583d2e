package nat

import "time"

// leaseState says how a lease stands at the gateway as far as is known.
type leaseState uint8

const (
	// leaseAbsent is no lease.
	leaseAbsent leaseState = iota
	// leaseAsked is a request under way, for the first time or for a renewal.
	leaseAsked
	// leaseHeld is a lease that the gateway granted and that is not over.
	leaseHeld
	// leaseDoubtful is one that may stand: a reply got lost, it is over by our clock, the
	// gateway lost its state, or a former run had it.
	leaseDoubtful
	// leaseRefused is one that cannot be used, because its port is somebody else's.
	leaseRefused
	// leaseReturning is a release under way.
	leaseReturning
)

// String returns the state in one word.
func (s leaseState) String() string {
	return [...]string{"absent", "asked", "held", "doubtful", "refused", "returning"}[s]
}

// lease is what is known of a mapping's lease at the gateway.
type lease struct {
	state leaseState
	op    OpID // of what is under way
	// external is the port at the public address; suggested is asked for instead of it
	// when not 0.
	external, suggested uint16
	// granted is the lifetime that it was granted last, and since when that was.
	granted time.Duration
	since   time.Time
	// until is its end; mayLive until when it may stand for all that we know, if that is
	// later: a renewal had no answer, or the gateway granted more than was asked for.
	until, mayLive time.Time
	// asking is the lifetime in the request under way.
	asking time.Duration
	// nextAt is what is due without anybody asking: a request while the mapping is wanted
	// (zero for none), a release when it is not.
	nextAt time.Time
	// failures counts those in a row; deniedAt is when the gateway began to say no, zero
	// while it does not.
	failures int
	deniedAt time.Time
	// again is until when a renewal may be granted that a deletion interrupted: it may come
	// to the gateway after the release.
	again time.Time
	// tries counts grants of ports that cannot be used, err is the last failure.
	tries int
	err   error
}

// busy says whether a request is under way.
func (l *lease) busy() bool { return l.state == leaseAsked || l.state == leaseReturning }

// lives returns until when the lease may stand.
func (l *lease) lives() time.Time { return later(l.until, l.mayLive) }

// grant notes what the gateway granted at the given time.
func (l *lease) grant(got Lease, at time.Time) {
	l.state, l.external, l.suggested = leaseHeld, got.ExternalPort, 0
	l.granted, l.since, l.until, l.mayLive = got.Lifetime, at, at.Add(got.Lifetime), time.Time{}
	if got.longer > 0 {
		l.mayLive = got.mayLive(at)
	}
	l.failures, l.deniedAt, l.tries, l.err = 0, time.Time{}, 0, nil
}

// fail notes a request without success. What may have been granted without an answer, for so
// long at the most, is remembered, so that it is given back some day.
func (l *lease) fail(err error, now time.Time, longest time.Duration) {
	if ambiguous(err) {
		l.mayLive = later(l.mayLive, now.Add(longest))
	}
	switch {
	case unreachable(err):
		l.deniedAt = time.Time{}
	case l.deniedAt.IsZero():
		l.deniedAt = now
	}
	l.failures++
	l.err, l.nextAt = err, now.Add(backoff(l.failures))
}

// settle puts the lease into the state of what is known when no request is under way.
// Stood says that it was had before: then it may be there still, whatever our clock says.
func (l *lease) settle(now time.Time, stood bool) {
	switch {
	case l.until.After(now):
		l.state = leaseHeld
	case stood || l.mayLive.After(now):
		l.state = leaseDoubtful
	default:
		l.state = leaseAbsent
	}
}

// doubt notes that the lease is not known to stand any more. It may, as long as it was granted:
// not every gateway that lost leases lost all.
func (l *lease) doubt(now time.Time) {
	l.mayLive = later(l.mayLive, l.until)
	l.until = earlier(l.until, now)
	if l.state == leaseHeld {
		l.state = leaseDoubtful
	}
}

// released notes that the gateway has no lease: nothing is left of it that could be told, as
// there is of one that ran out while the gateway was out of reach.
func (l *lease) released() { l.state, l.until, l.mayLive = leaseAbsent, time.Time{}, time.Time{} }

// unreachable says whether a failure leaves hope: no answer yet, or none at all.
func unreachable(failure error) bool {
	if failure == nil {
		return true
	}
	e, ok := asError(failure)
	return ok && e.Reason == ReasonUnreachable
}

// backoff returns the wait before try n+1 of background work: doubling up to a bound.
func backoff(failures int) time.Duration {
	return min(retryFirst<<min(max(failures-1, 0), 10), retryMax)
}
