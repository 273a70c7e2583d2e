package main

import (
	"context"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"doublenat/internal/nat"
)

const (
	// firstTrim is when memory is given back for the first time: the start has used much
	// that is never used again.
	firstTrim = 5 * time.Second
	// trimEvery is how often it is looked at afterwards.
	trimEvery = time.Minute
	// worthTrimming is how much of the heap has to be of no use, in bytes: to give it back
	// costs a collection.
	worthTrimming = 1 << 20
	// heapGoal is from how many bytes on the runtime collects as often as it has to, and not
	// when the heap has doubled: rows that a hostile router sends may take half of that.
	heapGoal = 24 << 20
	// heapPerMapping is by how much more for each mapping: twice of what it takes.
	heapPerMapping = 4 << 10
	// goalStep is how many mappings move the goal at once: that stops the world for a moment.
	goalStep = 256
)

// limitMemory sets the goal, unless the environment has one (GOMEMLIMIT). It is none that
// could not be passed: then collecting takes time, and nothing fails.
func limitMemory() {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(heapGoal)
	}
}

// tableMemory moves the goal with the number of mappings.
type tableMemory struct {
	mappings int64 // events come one at a time
	set      func(bytes int64)
}

// newTableMemory leaves a goal alone that is not the one of limitMemory.
func newTableMemory() *tableMemory {
	if debug.SetMemoryLimit(-1) != heapGoal {
		return &tableMemory{set: func(int64) {}}
	}
	return &tableMemory{set: func(bytes int64) { debug.SetMemoryLimit(bytes) }}
}

// observe is told of what happens to mappings: a large table is no reason to collect all
// the time, which took four fifths of the processor with 10,000 of them.
func (m *tableMemory) observe(ev nat.Event) {
	switch ev.Kind {
	case nat.EventCreated, nat.EventAdopted:
		m.mappings++
	case nat.EventExpired, nat.EventDeleted, nat.EventLost, nat.EventEvicted, nat.EventShutdown:
		m.mappings--
	case nat.EventPortChanged, nat.EventRuleRestored:
		return
	}
	if m.mappings%goalStep == 0 {
		m.set(heapGoal + m.mappings*heapPerMapping)
	}
}

// keepSmall gives memory that is not needed back to the system, now and then until stop
// is called, which waits for its end. The Go runtime keeps what was needed once for
// minutes, and a router has little.
func keepSmall(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { keepTrimming(ctx) })
	return func() {
		cancel()
		keeper.Wait()
	}
}

// keepTrimming trims until ctx ends.
func keepTrimming(ctx context.Context) {
	timer := time.NewTimer(firstTrim)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			trim()
			timer.Reset(trimEvery)
		case <-ctx.Done():
			return
		}
	}
}

// trim gives back what is not needed now.
func trim() {
	if unusedHeap() >= worthTrimming {
		debug.FreeOSMemory()
	}
	forgetProgram()
}

// unusedHeap returns how many bytes of the heap are there and hold nothing, or something
// of which nobody knows any more since the last collection.
func unusedHeap() uint64 {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(samples)
	value := func(i int) uint64 { return samples[i].Value.Uint64() }
	return value(0) + value(1) + value(2) - min(value(3), value(0))
}
