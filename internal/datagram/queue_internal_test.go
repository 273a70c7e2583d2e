package datagram

import (
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
)

// making is the subject of a request for a mapping.
func making(port uint16) Subject { return Subject{Effect: Makes, Protocol: 6, Port: port} }

// Nothing of a client outlives its requests, whether they were worked on, waited, or
// were dropped: addresses can be forged without end.
func TestQueueForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(queueLimits{working: [ranks]int{2, 2, 2}, perClient: 1, waiting: 8})
		hold := make(chan struct{})
		var done sync.WaitGroup
		verdicts := make(map[verdict]int)
		for i := range 100 {
			client := netip.AddrFrom4([4]byte{10, 0, byte(i % 2), byte(i / 2)})
			for range 2 {
				done.Add(1)
				verdicts[q.submit(&job{
					from: netip.AddrPortFrom(client, 40000), request: &plainRequest{subject: making(80)},
					run: func() { <-hold }, done: done.Done,
				}, Rank(i%ranks))]++
			}
		}
		close(hold)
		done.Wait()
		synctest.Wait()
		if len(q.lines) != 0 || q.waiting != 0 || q.working != [ranks]int{} {
			t.Errorf("%d lines, %d waiting, %v in work are left", len(q.lines), q.waiting, q.working)
		}
		if verdicts[accepted] == 0 || verdicts[repeated] == 0 || verdicts[overload] == 0 {
			t.Errorf("not every verdict was seen: %v", verdicts)
		}
	})
}

// filled returns a queue in which one request is at work and each client has so many
// requests waiting.
func filled(t *testing.T, hold chan struct{}, waiting ...int) (*queue, *sync.WaitGroup) {
	t.Helper()
	q, done := newQueue(queueLimits{working: [ranks]int{1, 1, 1}, perClient: 1, waiting: 100}), new(sync.WaitGroup)
	for client, jobs := range waiting {
		for port := range uint16(jobs) {
			done.Add(1)
			q.submit(&job{
				from:    netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(client)}), 40000),
				request: &plainRequest{subject: making(1 + port)}, run: func() { <-hold }, done: done.Done,
			}, RankStranger)
		}
	}
	return q, done
}

// Room is made in the longest line, and lines without requests take no turns.
func TestQueueLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		q, done := filled(t, hold, 1, 2, 9, 3) // the first is at work
		if l := q.longestLocked(RankStranger); l == nil || len(l.jobs) != 9 || l.client != netip.AddrFrom4([4]byte{10, 0, 0, 2}) {
			t.Errorf("the longest line is %+v", l)
		}
		close(hold)
		done.Wait()
		synctest.Wait()
		for rank, turns := range q.turns {
			if len(turns) != 0 {
				t.Errorf("%d lines of rank %d wait for a turn, and nothing is in them", len(turns), rank)
			}
		}
	})
}
