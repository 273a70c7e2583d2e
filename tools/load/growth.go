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

// growth is how much dearer a renewal is with many mappings than with few.
type growth struct {
	few, many int
	// ratio is that of the processor times, the median of the turns; 0 if it was not measured.
	ratio float64
}

// String says it in words.
func (g growth) String() string {
	return fmt.Sprintf("a renewal, %d clients, in turns: %d mappings take %.2f of the CPU with %d", renewalClients, g.many, g.ratio, g.few)
}

// grows says whether the plan has two numbers of mappings to compare.
func (p plan) grows() bool {
	operation := string(opRenew)
	return len(p.mappings) > 1 && slices.Contains(p.clients, renewalClients) && strings.Contains(operation, p.only)
}

// growth measures the fewest and the most mappings in turns: the rows of the table are minutes
// apart, in which other work on the machine changes more than that.
func (p plan) growth(ctx context.Context, s settings, progress io.Writer) (g growth, err error) {
	g.few, g.many = slices.Min(p.mappings), slices.Max(p.mappings)
	s.profiling = true
	var worlds [2]*world
	for n, mappings := range []int{g.few, g.many} {
		w, err := newWorld(ctx, s)
		if err != nil {
			return g, err
		}
		defer w.end()
		if err := w.fill(ctx, max(mappings, renewalClients)); err != nil {
			return g, err
		}
		worlds[n] = w
	}
	ratios, err := inTurns(ctx, worlds, p.each)
	if err != nil {
		return g, err
	}
	g.ratio = ratios[len(ratios)/2]
	fmt.Fprintln(progress, g)
	return g, nil
}

// inTurns returns by how much renewals are dearer in the second world, in each turn, the least first.
func inTurns(ctx context.Context, worlds [2]*world, each time.Duration) (ratios []float64, err error) {
	row := scenario{op: opRenew, clients: renewalClients}
	for range turns {
		few, failed := worlds[0].measure(ctx, row, each)
		many, broken := worlds[1].measure(ctx, row, each)
		if err := errors.Join(failed, broken, few.failure, many.failure); err != nil {
			return nil, err
		}
		ratios = append(ratios, float64(many.cpuEach())/float64(few.cpuEach()))
	}
	slices.Sort(ratios)
	return ratios, nil
}
