package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// operation is what clients do again and again.
type operation string

// The operations.
const (
	// opEcho is one packet to a server that sends it back, and one from it: the floor.
	opEcho operation = "UDP echo"
	// opAddress is a request for the public address.
	opAddress operation = "address"
	// opRenew is the renewal of a mapping.
	opRenew operation = "renewal"
	// opCreate is a new mapping, and then its deletion. The time is that of the first.
	opCreate operation = "create, delete"
	// opBurst is a new mapping of every client in one moment, and then their deletion.
	// The time is that of the first.
	opBurst operation = "all create at once"
)

// scenario is one row of the table.
type scenario struct {
	op       operation
	clients  int
	mappings int
	delays   delays
}

// String names the scenario for messages.
func (s scenario) String() string {
	return fmt.Sprintf("%s, %d clients, %d mappings, %v", s.op, s.clients, s.mappings, s.delays)
}

// figures is what came out.
type figures struct {
	scenario

	// took is how long each operation took that was answered as hoped, in order.
	took []time.Duration
	// failed is how many were not, failure is the first of those, nil for none.
	failed  int
	failure error
	// repeats is how many packets clients sent again.
	repeats int
	// elapsed is how long all of it lasted, cpu the processor time of the server.
	elapsed, cpu time.Duration
	// allocations, packets and commands are those of all operations together.
	allocations       int
	packets, commands uint64
	// resident is the server's memory at the end.
	resident int
	// share is the throughput as a part of the floor's that was measured in the same
	// moments, 0 if that was not measured.
	share float64
}

// add takes in what came out when the same was measured again.
func (f *figures) add(more figures) {
	took := slices.Concat(f.took, more.took)
	slices.Sort(took)
	*f = figures{
		scenario: more.scenario, took: took,
		failed: f.failed + more.failed, failure: cmp.Or(f.failure, more.failure), repeats: f.repeats + more.repeats,
		elapsed: f.elapsed + more.elapsed, cpu: f.cpu + more.cpu, allocations: f.allocations + more.allocations,
		packets: f.packets + more.packets, commands: f.commands + more.commands, resident: more.resident,
	}
}

// quantile returns how long so many in a hundred operations took at most.
func (f *figures) quantile(percent int) time.Duration {
	if len(f.took) == 0 {
		return 0
	}
	return f.took[min(len(f.took)*percent/100, len(f.took)-1)]
}

// perSecond is the throughput.
func (f *figures) perSecond() float64 { return float64(len(f.took)) / max(f.elapsed.Seconds(), 1e-9) }

// each returns what one operation has of a number for all.
func (f *figures) each(all float64) float64 { return all / float64(max(len(f.took), 1)) }

// cpuEach is the processor time of one operation.
func (f *figures) cpuEach() time.Duration { return time.Duration(f.each(float64(f.cpu))) }

// worker is one of the clients that ask at the same time. It speaks for its hosts, one
// after the other.
type worker struct {
	hosts []*host
	took  []time.Duration
	// failed counts, failure is the first.
	failed  int
	failure error
}

// note takes in how an operation went.
func (w *worker) note(took time.Duration, err error) {
	if err == nil {
		w.took = append(w.took, took)
		return
	}
	w.failed++
	if w.failure == nil {
		w.failure = err
	}
}

// timed does something for which the time counts.
func (w *worker) timed(f func() error) {
	start := time.Now()
	err := f()
	w.note(time.Since(start), err)
}

// crew makes workers of the hosts.
func crew(all []*host, clients int) []*worker {
	workers := make([]*worker, clients)
	for n := range workers {
		workers[n] = new(worker)
		for i := n; i < len(all); i += clients {
			workers[n].hosts = append(workers[n].hosts, all[i])
		}
	}
	return workers
}

// work does the operation until the time is over.
func (w *worker) work(ctx context.Context, op operation, until time.Time) {
	for n := 0; time.Now().Before(until) && ctx.Err() == nil; n++ {
		h := w.hosts[n%len(w.hosts)]
		switch op {
		case opEcho:
			w.timed(func() error { return h.echo(ctx) })
		case opAddress:
			w.timed(func() error { return h.address(ctx) })
		case opRenew:
			if len(h.keys) == 0 {
				continue
			}
			k := h.keys[n/len(w.hosts)%len(h.keys)]
			w.timed(func() error { return h.mapPort(ctx, k) })
		case opCreate, opBurst:
			k := h.fresh()
			w.timed(func() error { return h.mapPort(ctx, k) })
			if err := h.unmapPort(ctx, k); err != nil {
				w.note(0, err)
			}
		}
	}
}

// burst lets all workers make a mapping at once, and delete it, until the time is over.
func burst(ctx context.Context, workers []*worker, until time.Time) {
	for time.Now().Before(until) && ctx.Err() == nil {
		keys := make([]key, len(workers))
		together(workers, func(n int, w *worker) {
			keys[n] = w.hosts[0].fresh()
			w.timed(func() error { return w.hosts[0].mapPort(ctx, keys[n]) })
		})
		together(workers, func(n int, w *worker) {
			if err := w.hosts[0].unmapPort(ctx, keys[n]); err != nil {
				w.note(0, err)
			}
		})
	}
}

// together calls f for each worker at the same time, and waits.
func together(workers []*worker, f func(int, *worker)) {
	var all sync.WaitGroup
	for n, w := range workers {
		all.Go(func() { f(n, w) })
	}
	all.Wait()
}

// drive runs the operation for so long, and returns what the clients saw.
func drive(ctx context.Context, all []*host, s scenario, d time.Duration) figures {
	workers := crew(all, s.clients)
	for _, h := range all {
		h.repeats = 0
	}
	start := time.Now()
	if s.op == opBurst {
		burst(ctx, workers, start.Add(d))
	} else {
		together(workers, func(_ int, w *worker) { w.work(ctx, s.op, start.Add(d)) })
	}
	f := figures{scenario: s, elapsed: time.Since(start)}
	for _, w := range workers {
		f.took = append(f.took, w.took...)
		f.failed += w.failed
		f.failure = cmp.Or(f.failure, w.failure)
	}
	for _, h := range all {
		f.repeats += h.repeats
	}
	slices.Sort(f.took)
	return f
}

// measure runs a scenario and puts what the clients saw beside what it cost.
func (w *world) measure(ctx context.Context, s scenario, d time.Duration) (figures, error) {
	w.delay(s.delays)
	// Whatever the last scenario left to be done is done.
	_ = drive(ctx, w.hosts, s, d/8)
	allocated, _, err := w.daemon.allocations(ctx)
	if err != nil {
		return figures{}, err
	}
	before, err := w.daemon.usage()
	if err != nil {
		return figures{}, err
	}
	asked := w.traffic()
	f := drive(ctx, w.hosts, s, d)
	after, err := w.daemon.usage()
	if err != nil {
		return figures{}, err
	}
	asks := w.traffic()
	allocates, cost, err := w.daemon.allocations(ctx)
	if err != nil {
		return figures{}, err
	}
	if len(f.took) == 0 {
		return f, errors.Join(fmt.Errorf("%v: nothing was answered", s), f.failure)
	}
	f.resident, f.cpu = w.daemon.memory().resident, after.cpu-before.cpu
	// Two looks lie between the counts: the second of allocations, and the look after.
	f.allocations = max(allocates-allocated-2*cost, 0)
	f.packets, f.commands = asks.packets-asked.packets, asks.commands-asked.commands
	return f, nil
}
