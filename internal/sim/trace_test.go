package sim_test

import (
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"
)

// traceLines is how much of a trace is kept for reading.
const traceLines = 600

// trace is what happened in a simulation, as a number to compare two runs by and as
// the last lines for whoever has to understand a failure.
type trace struct {
	start time.Time
	all   bool // keep all lines

	mu    sync.Mutex // guards what follows
	sum   uint64
	count int
	lines []string
}

// note adds a line. Lines of one instant may come in any order: goroutines that are
// woken at the same time run as the scheduler likes.
func (tr *trace) note(format string, args ...any) {
	line := fmt.Sprintf("%15.6f ", time.Since(tr.start).Seconds()) + fmt.Sprintf(format, args...)
	h := fnv.New64a()
	_, _ = h.Write([]byte(line)) // never fails
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.sum += h.Sum64()
	tr.count++
	if !tr.all && len(tr.lines) == 2*traceLines {
		tr.lines = append(tr.lines[:0], tr.lines[traceLines:]...)
	}
	tr.lines = append(tr.lines, line)
}

// digest returns a number that is equal for equal runs.
func (tr *trace) digest() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return fmt.Sprintf("%016x/%d", tr.sum, tr.count)
}

// tail returns the last lines.
func (tr *trace) tail() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	lines := tr.lines
	if !tr.all && len(lines) > traceLines {
		lines = lines[len(lines)-traceLines:]
	}
	return strings.Join(lines, "\n")
}
