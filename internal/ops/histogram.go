package ops

import (
	"math"
	"sync/atomic"
	"time"
)

// buckets is how many buckets have an upper end.
const buckets = 12

// bounds are the upper ends of the buckets in seconds, from a LAN's round trip to
// what a client waits at most.
func bounds() [buckets]float64 {
	return [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 8}
}

// histogram counts durations by their size. Its methods may be called from any
// goroutine and never wait.
type histogram struct {
	// counts are not cumulative; the last one has what is beyond all bounds.
	counts [buckets + 1]atomic.Uint64
	// nanoseconds is the sum of all; 2^64 of them are 584 years.
	nanoseconds atomic.Uint64
}

// observe counts one duration.
func (h *histogram) observe(d time.Duration) {
	d = max(d, 0)
	i := 0
	for ends := bounds(); i < len(ends) && d.Seconds() > ends[i]; {
		i++
	}
	h.counts[i].Add(1)
	h.nanoseconds.Add(uint64(d))
}

// lines returns what Prometheus wants to know of it: cumulative buckets, sum and
// count, with the bound of a bucket as its last label.
func (h *histogram) lines(labels []label) []line {
	var all []line
	total := uint64(0)
	ends := bounds()
	for i, end := range append(ends[:], math.Inf(1)) {
		total += h.counts[i].Load()
		bucket := append(append([]label(nil), labels...), label{"le", number(end)})
		all = append(all, line{suffix: "_bucket", labels: bucket, value: float64(total)})
	}
	sum := float64(h.nanoseconds.Load()) / float64(time.Second)
	return append(all, line{"_sum", labels, sum}, line{"_count", labels, float64(total)})
}
