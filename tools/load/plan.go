package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// plan is how much is measured.
type plan struct {
	// each is how long every scenario lasts.
	each time.Duration
	// clients, mappings and delays are what is combined.
	clients, mappings []int
	delays            []delays
	// only is a part of the name of the operations that are measured.
	only string
	// watch is how long idle daemons are watched, 0 for not at all.
	watch time.Duration
}

// The delays of real networks: a gateway at the other end of a tunnel, a router that
// writes to its flash.
const (
	slowGateway = 30 * time.Millisecond
	slowRouter  = 10 * time.Millisecond
)

// standard is what `make load` measures, in less than five minutes.
func standard() plan {
	return plan{
		each: time.Second, clients: []int{1, 64, hosts}, mappings: []int{100, 1000, 10000},
		delays: []delays{{}, {gateway: slowGateway, router: slowRouter}},
		watch:  time.Minute,
	}
}

// quick is what takes a minute.
func (p plan) quick() plan {
	p.each, p.mappings, p.watch = 500*time.Millisecond, []int{100, 1000}, 0
	return p
}

// full is for figures that are to be published.
func (p plan) full() plan {
	p.each = 3 * time.Second
	p.delays = []delays{{}, {gateway: slowGateway}, {router: slowRouter}, {gateway: slowGateway, router: slowRouter}}
	return p
}

// scenarios returns the rows for a world with so many mappings. What does not come to
// the router does not depend on how fast that is, and what neither of them is asked for
// depends on nothing.
func (p plan) scenarios(mappings int) (all []scenario) {
	for _, clients := range p.clients {
		s := scenario{clients: clients, mappings: mappings, op: opAddress}
		all = append(all, s)
		for _, d := range p.delays {
			s.delays = d
			if d.router == 0 || d.gateway != 0 && !p.has(delays{gateway: d.gateway}) {
				s.op = opRenew
				all = append(all, s)
			}
			s.op = opCreate
			all = append(all, s)
			if clients > 1 && d == (delays{gateway: slowGateway, router: slowRouter}) {
				s.op = opBurst
				all = append(all, s)
			}
		}
	}
	return slices.DeleteFunc(all, func(s scenario) bool { return !strings.Contains(string(s.op), p.only) })
}

// has says whether the plan has these delays.
func (p plan) has(d delays) bool {
	return slices.Contains(p.delays, d)
}

// results is all that was measured.
type results struct {
	figures []figures
	growth  growth
	rests   []rest
}

// run measures all of the plan. Progress gets a line for each row.
func (p plan) run(ctx context.Context, s settings, progress io.Writer) (r results, err error) {
	if p.watch > 0 {
		fmt.Fprintf(progress, "watching idle daemons for %v\n", settleTime+p.watch)
		if r.rests, err = memories(ctx, s, p.watch); err != nil {
			return r, err
		}
	}
	for _, mappings := range p.mappings {
		found, err := p.runWorld(ctx, s, mappings, progress)
		r.figures = append(r.figures, found...)
		if err != nil {
			return r, err
		}
	}
	if p.grows() {
		r.growth, err = p.growth(ctx, s, progress)
	}
	return r, err
}

// runWorld measures all rows with so many mappings, in one world, and the floor beside it:
// in the same minutes, as other work on the machine changes from one to the next.
func (p plan) runWorld(ctx context.Context, s settings, mappings int, progress io.Writer) (all []figures, err error) {
	floor, err := newEcho(ctx)
	if err != nil {
		return nil, err
	}
	defer floor.close()
	s.profiling = true
	w, err := newWorld(ctx, s)
	if err != nil {
		return nil, err
	}
	defer w.end()
	for _, scenario := range p.scenarios(mappings) {
		scenario.mappings = max(mappings, scenario.clients)
		if err := w.fill(ctx, scenario.mappings); err != nil {
			return all, err
		}
		found, err := p.measure(ctx, w, floor, scenario, s.profiles)
		if err != nil {
			return all, err
		}
		f := &found[len(found)-1]
		fmt.Fprintf(progress, "%v: p50 %v, p99 %v, %.0f/s, %v CPU\n", scenario, f.quantile(50), f.quantile(99), f.perSecond(), f.cpuEach())
		all = append(all, found...)
	}
	return all, ctx.Err()
}

// measure measures a row, and before it the floor where that tells something.
func (p plan) measure(ctx context.Context, w *world, floor *echo, s scenario, profiles string) (found []figures, err error) {
	done := w.daemon.record(ctx, profiles, s, p.each)
	var f, under figures
	if s.op == opAddress {
		under, f, err = floor.compare(ctx, w, s, p.each)
		found = append(found, under)
	} else {
		f, err = w.measure(ctx, s, p.each)
	}
	return append(found, f), errors.Join(err, done())
}
