package datagram

import "slices"

// A client that asks for a mapping and then for its end, or the other way round, means
// them in this order, whatever rank they have and however soon one follows the other: a
// renewal that is served after the deletion that was sent behind it would leave a port
// open that its client gave up.

// lookAhead is how many requests of a line are looked at for one that may be worked on
// while those before it wait for their opposite.
const lookAhead = 32

// lineLocked returns the line for a request: that of its rank, unless one about the same
// mapping waits in another one, which it must not overtake.
func (q *queue) lineLocked(j *job, rank Rank) *line {
	key := lineKey{client: j.from.Addr(), rank: rank}
	for other := range Rank(ranks) {
		o := q.lines[lineKey{client: key.client, rank: other}]
		if other != rank && o != nil && slices.ContainsFunc(o.jobs, func(o *job) bool { return o.overlaps(j) }) {
			return o
		}
	}
	l := q.lines[key]
	if l == nil {
		l = &line{lineKey: key}
		q.lines[key] = l
	}
	return l
}

// nextLocked returns the first waiting request of a line that may be worked on, -1 if
// there is none.
func (q *queue) nextLocked(l *line) int {
	for i, j := range l.jobs[:min(len(l.jobs), lookAhead)] {
		if !q.heldUpLocked(j, l.jobs[:i]) {
			return i
		}
	}
	return -1
}

// heldUpLocked says whether the opposite of the request is in work, or waits before it.
// Copies, and requests for other mappings, do not hold it up.
func (q *queue) heldUpLocked(j *job, before []*job) bool {
	opposite := func(o *job) bool { return o.contradicts(j) }
	for rank := range Rank(ranks) {
		l := q.lines[lineKey{client: j.from.Addr(), rank: rank}]
		if l != nil && slices.ContainsFunc(l.working, opposite) {
			return true
		}
	}
	return slices.ContainsFunc(before, opposite)
}

// overlaps says whether two requests are about the same mapping.
func (j *job) overlaps(o *job) bool { return j.request.Subject().overlaps(o.request.Subject()) }

// contradicts says whether one of two requests asks for a mapping that the other ends.
func (j *job) contradicts(o *job) bool { return j.request.Subject().contradicts(o.request.Subject()) }
