package model_test

import (
	"container/heap"
	"time"
)

// agenda is what is going to happen, in order. Of several things at one moment the one
// that was planned first comes first.
type agenda struct {
	items []*item
	last  uint64
}

type item struct {
	at    time.Time
	order uint64
	do    func()
}

// Len implements [heap.Interface].
func (a *agenda) Len() int { return len(a.items) }

// Less implements [heap.Interface].
func (a *agenda) Less(i, j int) bool {
	x, y := a.items[i], a.items[j]
	if x.at.Equal(y.at) {
		return x.order < y.order
	}
	return x.at.Before(y.at)
}

// Swap implements [heap.Interface].
func (a *agenda) Swap(i, j int) { a.items[i], a.items[j] = a.items[j], a.items[i] }

// Push implements [heap.Interface].
func (a *agenda) Push(x any) {
	i, _ := x.(*item)
	a.items = append(a.items, i)
}

// Pop implements [heap.Interface].
func (a *agenda) Pop() any {
	last := len(a.items) - 1
	i := a.items[last]
	a.items[last] = nil
	a.items = a.items[:last]
	return i
}

// plan lets something happen at a time.
func (a *agenda) plan(at time.Time, do func()) {
	a.last++
	heap.Push(a, &item{at: at, order: a.last, do: do})
}

// next returns when the next thing happens, zero for never.
func (a *agenda) next() time.Time {
	if len(a.items) == 0 {
		return time.Time{}
	}
	return a.items[0].at
}

// pop takes the next thing from the agenda.
func (a *agenda) pop() func() {
	i, _ := heap.Pop(a).(*item)
	return i.do
}
