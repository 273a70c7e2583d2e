package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// The worlds whose memory is looked at.
const (
	manyMappings = 1360
	manyRules    = 5000
)

// rest is what a daemon takes that has nothing to do.
type rest struct {
	name string
	// peak is the most that it ever had, held what it had at the end.
	peak int
	held memory
	// switches is how often its threads went to sleep in a minute, cpu what it used then.
	switches int
	cpu      time.Duration
}

// resting is a daemon that is to be looked at.
type resting struct {
	name              string
	mappings, foreign int
}

// restings are all of them.
func restings() []resting {
	return []resting{
		{name: "idle"},
		{name: fmt.Sprintf("%d mappings", manyMappings), mappings: manyMappings},
		{name: fmt.Sprintf("%d other rules", manyRules), foreign: manyRules},
	}
}

// settleTime is how long a daemon is left alone before its rest is measured: it has read
// the table of the router once more, and what it does not need has gone back to the system.
const settleTime = 70 * time.Second

// memories looks at all of them side by side: they have nothing to do.
func memories(ctx context.Context, s settings, watch time.Duration) ([]rest, error) {
	all := restings()
	found, failures := make([]rest, len(all)+1), make([]error, len(all)+1)
	var wg sync.WaitGroup
	for n, r := range all {
		wg.Go(func() { found[n], failures[n] = r.measure(ctx, s, watch) })
	}
	wg.Go(func() { found[len(all)], failures[len(all)] = emptyProgram(ctx) })
	wg.Wait()
	return found, errors.Join(failures...)
}

// measure starts a daemon and looks at it.
func (r resting) measure(ctx context.Context, s settings, watch time.Duration) (rest, error) {
	s.foreign, s.profiling = r.foreign, false
	w, err := newWorld(ctx, s)
	if err != nil {
		return rest{}, fmt.Errorf("%s: %w", r.name, err)
	}
	defer w.end()
	if err := w.fill(ctx, r.mappings); err != nil {
		return rest{}, fmt.Errorf("%s: %w", r.name, err)
	}
	pause(ctx, settleTime)
	before, err := w.daemon.usage()
	if err != nil {
		return rest{}, err
	}
	pause(ctx, watch)
	after, err := w.daemon.usage()
	if err != nil {
		return rest{}, err
	}
	perMinute := time.Minute.Seconds() / watch.Seconds()
	return rest{
		name: r.name, held: w.daemon.memory(), peak: w.daemon.peak(),
		switches: int(float64(after.switches-before.switches) * perMinute),
		cpu:      time.Duration(float64(after.cpu-before.cpu) * perMinute),
	}, ctx.Err()
}

// peak is the most memory that the process ever had.
func (p *program) peak() int { return field(p.file("status"), "VmHWM") * 1024 }

// nothing is a program that does nothing.
const nothing = `package main

import "time"

func main() { time.Sleep(time.Hour) }
`

// emptyProgram looks at a Go program that does nothing: what the runtime alone takes.
func emptyProgram(ctx context.Context) (rest, error) {
	dir, err := os.MkdirTemp("", "load")
	if err != nil {
		return rest{}, err
	}
	defer os.RemoveAll(dir)
	source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "nothing")
	if err := os.WriteFile(source, []byte(nothing), 0o600); err != nil {
		return rest{}, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, source) //nolint:gosec // both are in a folder of our own
	if out, err := build.CombinedOutput(); err != nil {
		return rest{}, fmt.Errorf("building a program that does nothing: %w: %s", err, out)
	}
	p, err := start(ctx, nil, nil, binary)
	if err != nil {
		return rest{}, err
	}
	defer p.stop()
	pause(ctx, time.Second)
	return rest{name: "a Go program that does nothing", held: p.memory(), peak: p.peak()}, nil
}
