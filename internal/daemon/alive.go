package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// stuckAfter is how long the reader of requests or the core may be busy with one
	// thing. Both take moments; the core's loop waits for a free worker at most, whose
	// work is bounded by less than this.
	stuckAfter = 20 * time.Second
	// probeTime is how long the parts may take to say how they are. They read memory.
	probeTime = 5 * time.Second
)

// Alive reports what of the daemon does not go on any more, nil if all does: the
// reader of requests and the core's loop come round, and every part still says how it
// is, so that no lock is held for ever. It does not wait for the network, and a router
// or a gateway out of reach is no reason: a restart would help nobody.
func (d *Daemon) Alive() error {
	if busy := d.server.Busy(); busy > stuckAfter {
		return fmt.Errorf("the reader of requests is stuck for %v", busy.Round(time.Second))
	}
	if err := d.probe.run(func() { _ = d.parts() }); err != nil {
		return err
	}
	if busy := d.service.Busy(); busy > stuckAfter {
		return fmt.Errorf("the core is stuck for %v", busy.Round(time.Second))
	}
	return nil
}

// probe asks something that may never return, once at a time.
type probe struct {
	mu    sync.Mutex
	since time.Time     // when the question under way began; zero for none. Guarded by mu
	done  chan struct{} // closed when it is answered. Guarded by mu
}

// run asks and waits for a moment. It returns an error if a question of this time or
// of an earlier one is not answered.
func (p *probe) run(ask func()) error {
	p.mu.Lock()
	if p.since.IsZero() {
		p.since, p.done = time.Now(), make(chan struct{})
		go p.ask(ask, p.done)
	}
	since, done := p.since, p.done
	p.mu.Unlock()
	timer := time.NewTimer(probeTime - time.Since(since))
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return fmt.Errorf("a part of the daemon does not say how it is for %v", time.Since(since).Round(time.Second))
	}
}

// ask asks, and says that the answer came.
func (p *probe) ask(ask func(), done chan struct{}) {
	ask()
	p.mu.Lock()
	p.since = time.Time{}
	p.mu.Unlock()
	close(done)
}

// refresh looks at the router again each time that somebody asks for it, until ctx ends.
func (d *Daemon) refresh(ctx context.Context, asked <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
			d.log.InfoContext(ctx, "SIGHUP: comparing the rules with the router; settings are only read at the start")
			d.service.Reconcile() //nolint:contextcheck // It does not wait, and what it begins outlives the caller.
			if d.pool != nil {
				d.pool.Reload()
			}
		}
	}
}
