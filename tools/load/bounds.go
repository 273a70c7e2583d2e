package main

import (
	"fmt"
	"time"
)

// The bounds that -bounds holds the figures to.
const (
	// renewalCPU is the most processor time of a renewal with 64 clients.
	renewalCPU = 70 * time.Microsecond
	// renewalGrowth is how much dearer a renewal may be with the most mappings than with
	// the fewest.
	renewalGrowth = 1.2
	// addressShare is the least part of the echo's throughput that address requests have.
	addressShare = 0.8
	// createShare is how much longer than both delays together a create may take.
	createShare = 1.05
	// burstTime is the 99th percentile of all clients' creates in one moment.
	burstTime = 400 * time.Millisecond
	// The memory of daemons at rest.
	idleMemory, mappingsMemory, rulesMemory = 10 << 20, 14 << 20, 15 << 20
)

// judge collects what is missed.
type judge struct {
	missed []string
}

// miss notes something.
func (j *judge) miss(format string, args ...any) {
	j.missed = append(j.missed, fmt.Sprintf(format, args...))
}

// missed returns which bounds the results do not hold, each in words.
func (r results) missed() []string {
	var j judge
	for i := range r.figures {
		j.judge(&r.figures[i])
	}
	if r.growth.ratio > renewalGrowth {
		j.miss("%v, want %.2f", r.growth, renewalGrowth)
	}
	for n, most := range []int{idleMemory, mappingsMemory, rulesMemory} {
		if n < len(r.rests) && r.rests[n].held.resident > most {
			j.miss("%s: RSS %s, want %s", r.rests[n].name, mebibytes(r.rests[n].held.resident), mebibytes(most))
		}
	}
	return j.missed
}

// judge looks at one row.
func (j *judge) judge(f *figures) {
	slow := f.delays.gateway > 0 && f.delays.router > 0
	switch {
	case f.failed > 0:
		j.miss("%v: %d failed, the first: %v", f.scenario, f.failed, f.failure)
	case f.op == opAddress && f.share < addressShare:
		j.miss("%v: %.2f of the echo's throughput, want %.2f", f.scenario, f.share, addressShare)
	case f.op == opRenew && f.clients == 64 && f.cpuEach() > renewalCPU:
		j.miss("%v: %v of CPU, want %v", f.scenario, f.cpuEach().Round(time.Microsecond), renewalCPU)
	case f.op == opCreate && f.clients == 1 && slow:
		if most := time.Duration(createShare * float64(f.delays.gateway+f.delays.router)); f.quantile(50) > most {
			j.miss("%v: %v, want %v", f.scenario, f.quantile(50).Round(10*time.Microsecond), most)
		}
	case f.op == opBurst && f.clients == hosts && f.quantile(99) > burstTime:
		j.miss("%v: p99 %v, want %v", f.scenario, f.quantile(99).Round(time.Millisecond), burstTime)
	}
}
