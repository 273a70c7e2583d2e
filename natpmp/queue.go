package natpmp

import (
	"net/netip"
	"slices"
	"sync"
)

// queue decides which requests are worked on now, which wait, and which are
// dropped. Each client has a line of its own and the lines take turns, so that a
// client with many requests delays itself only. Favored clients go first, and a
// quarter of the work is kept for them.
type queue struct {
	limits queueLimits

	mu sync.Mutex // guards what follows; held for moments only
	// lines has the clients with requests in work or waiting.
	lines map[netip.Addr]*line
	// turns has the lines with waiting requests, the next one first: favored
	// clients' and others'.
	turns [2][]*line
	// working and waiting count requests, strangers those in work of clients that
	// are not favored.
	working, waiting, strangers int
}

// queueLimits is how much a [queue] takes.
type queueLimits struct {
	// working is the most requests in work, perClient the most of one client, and
	// strangers the most of all clients that are not favored.
	working, perClient, strangers int
	// waiting is the most requests that wait. One client has a quarter of it.
	waiting int
}

// line has the requests of one client.
type line struct {
	client netip.Addr
	// favored does not change while requests wait.
	favored bool
	working int
	jobs    []job
}

// job is a request that is to be worked on.
type job struct {
	// from and req tell copies of a request.
	from netip.AddrPort
	req  Request
	// run does the work. It is called by a goroutine of its own.
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
	return &queue{limits: limits, lines: make(map[netip.Addr]*line)}
}

// submit takes a request. Whatever becomes of it, done is called in the end.
func (q *queue) submit(j job, favored bool) verdict {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[j.from.Addr()]
	if l == nil {
		l = &line{client: j.from.Addr()}
		q.lines[l.client] = l
	}
	if len(l.jobs) == 0 {
		l.favored = favored
		if q.mayStartLocked(l) {
			q.startLocked(l, j)
			return accepted
		}
	}
	v := accepted
	switch {
	case slices.ContainsFunc(l.jobs, func(o job) bool { return o.from == j.from && o.req == j.req }):
		v = repeated
	case len(l.jobs) >= max(q.limits.waiting/4, 1), q.waiting >= q.limits.waiting && !q.makeRoomLocked(l):
		v = overload
	}
	if v != accepted {
		j.done()
		q.forgetLocked(l)
		return v
	}
	if len(l.jobs) == 0 {
		turn := turnOf(l)
		q.turns[turn] = append(q.turns[turn], l)
	}
	l.jobs = append(l.jobs, j)
	q.waiting++
	return accepted
}

// turnOf returns which of the queue's turns a line takes.
func turnOf(l *line) int {
	if l.favored {
		return 0
	}
	return 1
}

// makeRoomLocked gives up the youngest request of the longest line of a stranger,
// for the sake of a favored client or of one with a line that is clearly shorter.
func (q *queue) makeRoomLocked(l *line) bool {
	var longest *line
	for _, o := range q.turns[1] {
		if longest == nil || len(o.jobs) > len(longest.jobs) {
			longest = o
		}
	}
	if longest == nil || longest == l || !l.favored && len(longest.jobs) < len(l.jobs)+2 {
		return false
	}
	last := len(longest.jobs) - 1
	longest.jobs[last].done()
	longest.jobs = slices.Delete(longest.jobs, last, last+1)
	q.waiting--
	if last == 0 {
		q.turns[1] = slices.DeleteFunc(q.turns[1], func(o *line) bool { return o == longest })
		q.forgetLocked(longest)
	}
	return true
}

// mayStartLocked says whether there is room for work for the client.
func (q *queue) mayStartLocked(l *line) bool {
	return q.working < q.limits.working && l.working < q.limits.perClient &&
		(l.favored || q.strangers < q.limits.strangers)
}

// startLocked begins the work.
func (q *queue) startLocked(l *line, j job) {
	stranger := !l.favored
	q.working++
	l.working++
	if stranger {
		q.strangers++
	}
	go func() {
		defer j.done()
		defer q.end(l, stranger)
		j.run()
	}()
}

// end notes that a request is done and starts those that have room now.
func (q *queue) end(l *line, stranger bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.working--
	l.working--
	if stranger {
		q.strangers--
	}
	q.forgetLocked(l)
	for turn := range q.turns {
		for q.startNextLocked(turn) {
			continue
		}
	}
}

// startNextLocked starts one request of the first line that may, and puts that
// line behind the others. It returns false when none may.
func (q *queue) startNextLocked(turn int) bool {
	i := slices.IndexFunc(q.turns[turn], q.mayStartLocked)
	if i < 0 {
		return false
	}
	l := q.turns[turn][i]
	q.turns[turn] = slices.Delete(q.turns[turn], i, i+1)
	j := l.jobs[0]
	l.jobs = slices.Delete(l.jobs, 0, 1)
	if len(l.jobs) > 0 {
		q.turns[turn] = append(q.turns[turn], l)
	}
	q.waiting--
	q.startLocked(l, j)
	return true
}

// forgetLocked drops a line without requests: nothing outlives its client.
func (q *queue) forgetLocked(l *line) {
	if l.working == 0 && len(l.jobs) == 0 {
		delete(q.lines, l.client)
	}
}
