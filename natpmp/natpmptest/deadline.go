package natpmptest

import (
	"sync"
	"time"
)

// deadline is a point in time that may be moved and waited for.
type deadline struct {
	mu sync.Mutex // guards all fields, for moments only
	// at is the deadline; zero for never.
	at time.Time
	// passed is closed while the deadline lies in the past.
	passed chan struct{}
	// timer closes passed; nil without a deadline to come.
	timer *time.Timer
}

// newDeadline returns a deadline that never passes.
func newDeadline() *deadline { return &deadline{passed: make(chan struct{})} }

// set moves the deadline. The zero time is never.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.passed // the timer is closing it now
	}
	d.timer, d.at = nil, t
	left := time.Until(t)
	if !t.IsZero() && left <= 0 {
		if !isClosed(d.passed) {
			close(d.passed)
		}
		return
	}
	if isClosed(d.passed) {
		d.passed = make(chan struct{})
	}
	if !t.IsZero() {
		passed := d.passed
		d.timer = time.AfterFunc(left, func() { close(passed) })
	}
}

// wait returns a channel that is closed once the deadline has passed.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

// past says whether the deadline has passed, also in the moment before the timer
// says so.
func (d *deadline) past() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.at.IsZero() && !time.Now().Before(d.at)
}

// isClosed says whether c, to which nobody sends, is closed.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
