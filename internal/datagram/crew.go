package datagram

import (
	"slices"
	"sync"
	"time"
)

const (
	// maxResting is how many goroutines of a crew wait for work at most.
	maxResting = 64
	// restTime is after how much time those go that were not needed.
	restTime = time.Minute
)

// crew does things in goroutines and uses these again while it is open. A new one begins
// with a small stack, and to let that grow takes a tenth of the time of a renewal.
type crew struct {
	mu sync.Mutex
	// open counts those who opened it and have not closed it yet. Guarded by mu.
	open int
	// resting has a channel for each goroutine that waits, the latest last. Guarded by mu.
	resting []chan func()
	// idle is how many of these, from the first on, were not needed since the last look,
	// and look is the next one, nil while nobody waits. Guarded by mu.
	idle int
	look *time.Timer
}

// do does something in a goroutine and does not wait for it.
func (c *crew) do(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.resting) - 1
	if last < 0 {
		go c.work(f)
		return
	}
	c.resting[last] <- f // it has room for one, and nobody else knows it any more
	c.resting = c.resting[:last]
	c.idle = min(c.idle, last)
}

// work does one thing after the other until there is nothing to wait for.
func (c *crew) work(f func()) {
	next := make(chan func(), 1)
	for f != nil {
		f()
		if !c.rest(next) {
			return
		}
		f = <-next
	}
}

// rest says whether the goroutine is to wait for the next thing.
func (c *crew) rest(next chan func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == 0 || len(c.resting) >= maxResting {
		return false
	}
	c.resting = append(c.resting, next)
	if c.look == nil {
		c.idle, c.look = 0, time.AfterFunc(restTime, c.thin)
	}
	return true
}

// thin lets those go that were not needed for a while.
func (c *crew) thin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.look == nil {
		return // it is over
	}
	c.dismissLocked(c.idle)
	c.idle = len(c.resting)
	if c.idle == 0 {
		c.look = nil
		return
	}
	c.look.Reset(restTime)
}

// dismissLocked lets the first of those that wait go.
func (c *crew) dismissLocked(n int) {
	for _, next := range c.resting[:n] {
		close(next)
	}
	c.resting = slices.Delete(c.resting, 0, n)
}

// begin opens the crew. It is followed by an end, which lets the goroutines that wait go
// if nobody else has it open.
func (c *crew) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
}

func (c *crew) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if c.open > 0 {
		return
	}
	c.dismissLocked(len(c.resting))
	if c.look != nil {
		c.look.Stop()
		c.look = nil
	}
}
