package datagram

import (
	"net/netip"
	"slices"
	"sync"
)

// queue decides which requests are worked on now, which wait, and which are
// dropped. Each client has a line of its own for each rank and the lines of a rank
// take turns, so that a client with many requests delays itself only. Higher ranks
// go first, and some of the work is kept for them.
type queue struct {
	limits queueLimits
	crew   crew

	mu sync.Mutex // guards what follows; held for moments only
	// lines has the lines with requests in work or waiting.
	lines map[lineKey]*line
	// turns has the lines with waiting requests by rank, the next one first.
	turns [ranks][]*line
	// working counts the requests in work by rank, waiting all that wait.
	working [ranks]int
	waiting int
}

// queueLimits is how much a [queue] takes.
type queueLimits struct {
	// working is the most requests in work of each rank and those below it.
	working [ranks]int
	// perClient is the most requests in work of one client and rank.
	perClient int
	// waiting is the most requests that wait. One client has a quarter of it.
	waiting int
}

// lineKey tells lines.
type lineKey struct {
	client netip.Addr
	rank   Rank
}

// line has the requests of one client and rank.
type line struct {
	lineKey

	// working are the jobs in work, jobs those that wait.
	working []*job
	jobs    []*job
}

// job is a request that is to be worked on.
type job struct {
	// from and request tell copies of a request.
	from    netip.AddrPort
	request Request
	// run does the work. It is called by another goroutine.
	run func()
	// done is called at the end, whether the request was worked on or given up.
	done func()
}

// verdict is what became of a request that was handed to a [queue].
type verdict uint8

const (
	accepted verdict = iota // in work, or waiting
	repeated                // dropped: the same request is waiting already
	overload                // dropped: no room
)

func newQueue(limits queueLimits) *queue {
	return &queue{limits: limits, lines: make(map[lineKey]*line)}
}

// submit takes a request. Whatever becomes of it, done is called in the end.
func (q *queue) submit(j *job, rank Rank) verdict {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lineLocked(j, rank)
	if q.mayStartLocked(l) && !q.heldUpLocked(j, l.jobs) && q.nextLocked(l) < 0 {
		q.startLocked(l, j)
		return accepted
	}
	v := accepted
	switch {
	case slices.ContainsFunc(l.jobs, func(o *job) bool { return o.from == j.from && o.request.Same(j.request) }):
		v = repeated
	case q.waitingOfLocked(l.client) >= max(q.limits.waiting/4, 1), q.waiting >= q.limits.waiting && !q.makeRoomLocked(l):
		v = overload
	}
	if v != accepted {
		j.done()
		q.forgetLocked(l)
		return v
	}
	if len(l.jobs) == 0 {
		q.turns[l.rank] = append(q.turns[l.rank], l)
	}
	l.jobs = append(l.jobs, j)
	q.waiting++
	return accepted
}

// waitingOfLocked returns how many requests of the client wait.
func (q *queue) waitingOfLocked(client netip.Addr) (n int) {
	for rank := range ranks {
		if l := q.lines[lineKey{client: client, rank: Rank(rank)}]; l != nil {
			n += len(l.jobs)
		}
	}
	return n
}

// makeRoomLocked gives up the youngest request of the longest line: of the lowest
// rank below the line's that has one, else of its own if that one is clearly longer.
func (q *queue) makeRoomLocked(l *line) bool {
	for rank := range l.rank + 1 {
		longest := q.longestLocked(rank)
		switch {
		case longest == nil, longest == l:
		case rank < l.rank, len(longest.jobs) >= len(l.jobs)+2:
			q.giveUpLocked(longest)
			return true
		}
	}
	return false
}

// longestLocked returns the line of the rank with most requests waiting, nil if none has.
func (q *queue) longestLocked(rank Rank) *line {
	var longest *line
	for _, l := range q.turns[rank] {
		if longest == nil || len(l.jobs) > len(longest.jobs) {
			longest = l
		}
	}
	return longest
}

// giveUpLocked drops the youngest request of the line.
func (q *queue) giveUpLocked(l *line) {
	last := len(l.jobs) - 1
	l.jobs[last].done()
	l.jobs = slices.Delete(l.jobs, last, last+1)
	q.waiting--
	if last == 0 {
		q.turns[l.rank] = slices.DeleteFunc(q.turns[l.rank], func(o *line) bool { return o == l })
		q.forgetLocked(l)
	}
}

// mayStartLocked says whether there is room for work for the line: what a rank may
// have counts for those below it together, and for all above.
func (q *queue) mayStartLocked(l *line) bool {
	if len(l.working) >= q.limits.perClient {
		return false
	}
	working := 0
	for rank, n := range q.working {
		working += n
		if rank >= int(l.rank) && working >= q.limits.working[rank] {
			return false
		}
	}
	return true
}

// startLocked begins the work.
func (q *queue) startLocked(l *line, j *job) {
	q.working[l.rank]++
	l.working = append(l.working, j)
	q.crew.do(func() {
		defer j.done()
		defer q.end(l, j)
		j.run()
	})
}

// end notes that a request is done and starts those that have room now.
func (q *queue) end(l *line, j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.working[l.rank]--
	l.working = slices.DeleteFunc(l.working, func(o *job) bool { return o == j })
	q.forgetLocked(l)
	for rank := ranks - 1; rank >= 0; rank-- {
		for q.startNextLocked(rank) {
			continue
		}
	}
}

// startNextLocked starts one request of the first line that may, and puts that
// line behind the others. It returns false when none may.
func (q *queue) startNextLocked(rank int) bool {
	next := -1
	i := slices.IndexFunc(q.turns[rank], func(l *line) bool {
		if q.mayStartLocked(l) {
			next = q.nextLocked(l)
		}
		return next >= 0
	})
	if i < 0 {
		return false
	}
	l := q.turns[rank][i]
	q.turns[rank] = slices.Delete(q.turns[rank], i, i+1)
	j := l.jobs[next]
	l.jobs = slices.Delete(l.jobs, next, next+1)
	if len(l.jobs) > 0 {
		q.turns[rank] = append(q.turns[rank], l)
	}
	q.waiting--
	q.startLocked(l, j)
	return true
}

// forgetLocked drops a line without requests: nothing outlives its client.
func (q *queue) forgetLocked(l *line) {
	if len(l.working) == 0 && len(l.jobs) == 0 {
		delete(q.lines, l.lineKey)
	}
}
