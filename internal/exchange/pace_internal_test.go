package exchange

import (
	"testing"
	"time"
)

// answer lets so many requests be answered at a full window, each after that time, and
// returns the size then.
func (p *pace) answer(n int, now *time.Time, took time.Duration) int {
	for range n {
		sent := *now
		*now = now.Add(took)
		p.answered(sent, sent, *now, true, time.Time{})
	}
	return p.size
}

// TestPace walks through what may happen.
func TestPace(t *testing.T) {
	t.Parallel()
	const quick = 20 * time.Millisecond
	p, now := newPace(16), time.Now()
	want := func(what string, size int) {
		t.Helper()
		if p.size != size {
			t.Fatalf("%s: %d requests in flight, want %d", what, p.size, size)
		}
	}
	p.answered(now, now, now.Add(quick), false, time.Time{})
	want("a window that is not full", 16)
	p.answer(8, &now, quick)
	want("replies in time", 24)
	p.answer(8, &now, 100*time.Millisecond)
	want("replies that met a queue", 24)
	p.answered(now, now, now.Add(quick), true, now.Add(-time.Second))
	want("a reply that overtook another", 24)
	p.answer(100, &now, quick)
	want("the end of it", 64)

	sent := now
	now = now.Add(300 * time.Millisecond)
	p.late(sent, now, true)
	want("a reply that does not come", 32)
	p.late(sent, now, true)
	want("another of the same flight", 32)
	p.answer(31, &now, quick)
	want("replies above what was too much, at first", 32)
	p.answer(1, &now, quick)
	want("a round of them", 33)
	p.answered(now, now, now.Add(time.Second), true, time.Time{})
	now = now.Add(time.Second)
	want("a reply that comes too late", 16)
	for range 5 {
		now = now.Add(time.Second)
		p.late(now, now, true)
	}
	want("the least", 4)
	now = now.Add(paceMemory)
	p.answer(12, &now, quick)
	want("what is forgotten after a minute", 16)

	p.late(now, now, false)
	want("silence", 8)
	p.answer(8, &now, quick)
	want("and its end", 16)
	p.answer(30, &now, quick)
	p.rested()
	want("rest", 16)
	p.late(now, now, true)
	p.rested()
	want("rest after a loss", 8)
}

// TestPaceBounds: a strict window stays so, and what was asked for is there.
func TestPaceBounds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ start, least, most int }{{1, 1, 1}, {2, 1, 8}, {16, 4, 64}, {64, 16, 256}, {256, 64, 256}, {1000, 250, 1000}} {
		p, now := newPace(tt.start), time.Now()
		if most := p.answer(2000, &now, time.Millisecond); most != tt.most {
			t.Errorf("%d opens to %d, want %d", tt.start, most, tt.most)
		}
		for range 20 {
			now = now.Add(time.Second)
			p.late(now, now, true)
		}
		if p.size != tt.least {
			t.Errorf("%d closes to %d, want %d", tt.start, p.size, tt.least)
		}
	}
}
