package datagram

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestCrew: goroutines are used again while the crew is open, and all of them have ended
// when it is closed, or the bubble would say so.
func TestCrew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c crew
		resting := func() int {
			synctest.Wait()
			c.mu.Lock()
			defer c.mu.Unlock()
			return len(c.resting)
		}
		c.do(func() {})
		if n := resting(); n != 0 {
			t.Errorf("%d wait though nobody opened the crew", n)
		}
		c.begin()
		c.begin()
		done := 0
		for range 10 {
			c.do(func() { done++ })
			if n := resting(); n != 1 {
				t.Fatalf("%d wait, want the one that is used again and again", n)
			}
		}
		if done != 10 {
			t.Errorf("%d things were done, want 10", done)
		}
		hold := make(chan struct{})
		var all sync.WaitGroup
		for range 2 * maxResting {
			all.Add(1)
			c.do(func() { <-hold; all.Done() })
		}
		close(hold)
		all.Wait()
		if n := resting(); n != maxResting {
			t.Errorf("%d wait, want %d at most", n, maxResting)
		}
		for range 20 { // the last one is needed all the time
			time.Sleep(restTime / 10)
			c.do(func() {})
		}
		if n := resting(); n != 1 {
			t.Errorf("%d wait after two minutes in which one was needed", n)
		}
		time.Sleep(3 * restTime)
		if n := resting(); n != 0 {
			t.Errorf("%d wait after minutes without work", n)
		}
		c.do(func() {})
		c.end()
		if n := resting(); n != 1 {
			t.Errorf("%d wait while somebody has the crew open", n)
		}
		c.end()
		if n := resting(); n != 0 {
			t.Errorf("%d wait after the end", n)
		}
	})
}
