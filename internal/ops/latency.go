package ops

import (
	"slices"
	"sync"
	"time"
)

const (
	// recentFor is how long an answer's time is of interest: one slow request must not
	// stand on the page until somebody asks the next time.
	recentFor = 5 * time.Minute
	// recentCount is of how many answers the usual time is told.
	recentCount = 9
)

// latency is how long one hop takes: a histogram for the metrics, the usual time of the
// last answers for the page, and an average for each step of the chart.
type latency struct {
	histogram histogram

	mu     sync.Mutex // guards what follows; held for moments only
	recent [recentCount]sample
	next   int           // where in recent the next one goes
	sum    time.Duration // of the step under way
	count  int
}

// sample is how long one answer took, and when it came.
type sample struct {
	at   time.Time
	took time.Duration
}

// observe takes in one duration.
func (l *latency) observe(d time.Duration) {
	l.histogram.observe(d)
	l.note(time.Now(), d)
}

// note keeps one duration for the page.
func (l *latency) note(at time.Time, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sum += d
	l.count++
	l.recent[l.next] = sample{at: at, took: d}
	l.next = (l.next + 1) % recentCount
}

// usual returns the median of the last answers, 0 without any in the last minutes. An
// average would tell of one slow answer for long.
func (l *latency) usual(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := make([]time.Duration, 0, recentCount)
	for _, s := range l.recent {
		if s.took > 0 && now.Sub(s.at) < recentFor {
			took = append(took, s.took)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[(len(took)-1)/2]
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
