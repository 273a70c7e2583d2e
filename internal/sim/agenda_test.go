package sim_test

import (
	"cmp"
	"container/heap"
	"time"
)

// agenda is what the driver of a simulation has to do and when. Only the driver's
// goroutine uses it. No two entries are due at the same instant, so that their order
// is never left to chance.
type agenda struct {
	entries entries
	serial  uint64
}

// entry is one thing to do.
type entry struct {
	at     time.Time
	serial uint64
	do     func()
}

// at plans something for the given time, rounded to the microsecond and moved by
// some nanoseconds of its own.
func (a *agenda) at(when time.Time, do func()) {
	a.serial++
	when = when.Truncate(time.Microsecond).Add(time.Duration(1 + a.serial%999))
	heap.Push(&a.entries, entry{at: when, serial: a.serial, do: do})
}

// after plans something for so long from now.
func (a *agenda) after(d time.Duration, do func()) { a.at(time.Now().Add(d), do) }

// run does everything that is due until the given time, in virtual time.
func (a *agenda) run(until time.Time) {
	for len(a.entries) > 0 && a.entries[0].at.Before(until) {
		if next, ok := heap.Pop(&a.entries).(entry); ok {
			time.Sleep(time.Until(next.at))
			next.do()
		}
	}
	time.Sleep(time.Until(until))
}

// entries is a heap, the next one first.
type entries []entry

var _ heap.Interface = (*entries)(nil)

func (e *entries) Len() int { return len(*e) }

func (e *entries) Less(i, j int) bool {
	a, b := (*e)[i], (*e)[j]
	return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.serial, b.serial)) < 0
}

func (e *entries) Swap(i, j int) { (*e)[i], (*e)[j] = (*e)[j], (*e)[i] }

func (e *entries) Push(x any) {
	if next, ok := x.(entry); ok {
		*e = append(*e, next)
	}
}

func (e *entries) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = entry{}
	*e = (*e)[:last]
	return x
}
