package ops

import (
	"sync"
	"time"
)

// latency is how long one hop takes: a histogram for the metrics, a smoothed value
// for the page, and an average for each step of the chart.
type latency struct {
	histogram histogram

	mu     sync.Mutex // guards what follows; held for moments only
	smooth time.Duration
	sum    time.Duration // of the step under way
	count  int
}

// observe takes in one duration.
func (l *latency) observe(d time.Duration) {
	l.histogram.observe(d)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sum += d
	l.count++
	if l.smooth == 0 {
		l.smooth = d
		return
	}
	l.smooth += (d - l.smooth) / 8 // as TCP smooths its round trips (RFC 6298 §2.3)
}

// smoothed returns the smoothed value, 0 before the first.
func (l *latency) smoothed() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.smooth
}

// average ends a step and returns its average in milliseconds, nil if there was
// nothing in it.
func (l *latency) average() *float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count == 0 {
		return nil
	}
	mean := l.sum / time.Duration(l.count)
	l.sum, l.count = 0, 0
	return milliseconds(mean)
}
