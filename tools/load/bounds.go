package main

import (
	"fmt"
	"time"
)

// The bounds that -bounds holds the figures to.
const (
	// renewalClients is with how many clients renewals are held to their bounds.
	renewalClients = 64
	// renewalCPU is the most processor time of a renewal.
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

// misses are the bounds that were missed, each in words.
type misses []string

// add notes one.
func (m *misses) add(format string, args ...any) {
	*m = append(*m, fmt.Sprintf(format, args...))
}

// missed returns which bounds the results do not hold.
func (r results) missed() misses {
	var m misses
	for i := range r.figures {
		m.judge(&r.figures[i])
	}
	if r.growth.ratio > renewalGrowth {
		m.add("%v, want %.2f", r.growth, renewalGrowth)
	}
	for n, most := range []int{idleMemory, mappingsMemory, rulesMemory} {
		if n < len(r.rests) && r.rests[n].held.resident > most {
			m.add("%s: RSS %s, want %s", r.rests[n].name, mebibytes(r.rests[n].held.resident), mebibytes(most))
		}
	}
	return m
}

// judge looks at one row.
func (m *misses) judge(f *figures) {
	slow := f.delays.gateway > 0 && f.delays.router > 0
	switch {
	case f.failed > 0:
		m.add("%v: %d failed, the first: %v", f.scenario, f.failed, f.failure)
	case f.op == opAddress && f.share < addressShare:
		m.add("%v: %.2f of the echo's throughput, want %.2f", f.scenario, f.share, addressShare)
	case f.op == opRenew && f.clients == renewalClients && f.cpuEach() > renewalCPU:
		m.add("%v: %v of CPU, want %v", f.scenario, f.cpuEach().Round(time.Microsecond), renewalCPU)
	case f.op == opCreate && f.clients == 1 && slow:
		if most := time.Duration(createShare * float64(f.delays.gateway+f.delays.router)); f.quantile(50) > most {
			m.add("%v: %v, want %v", f.scenario, f.quantile(50).Round(10*time.Microsecond), most)
		}
	case f.op == opBurst && f.clients == hosts && f.quantile(99) > burstTime:
		m.add("%v: p99 %v, want %v", f.scenario, f.quantile(99).Round(time.Millisecond), burstTime)
	}
}
