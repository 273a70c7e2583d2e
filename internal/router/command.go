package router

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"doublenat/routeros"
)

// changeTimeout is how long each command of a change may take. A router that
// works takes milliseconds; whoever waits for the mapping has a few seconds, in
// which a lost reply has to be noticed and looked into.
const changeTimeout = 3 * time.Second

// maxTable is the memory that the rows of one table may take that is kept whole while
// it is looked at: some ten thousand interfaces or addresses.
const maxTable = 2 << 20

// do sends a command and keeps the books. A refusal for want of a right comes
// back as a PermissionError.
func (r *Router) do(ctx context.Context, cmd routeros.Command) (*routeros.Reply, error) {
	if r.fences(cmd) {
		within, done, err := r.cfg.Fence(ctx)
		if err != nil {
			return nil, fmt.Errorf("not sending %s: %w", cmd.Path, err)
		}
		defer done()
		ctx = within
	}
	return r.command(cmd, func() (*routeros.Reply, error) { return r.client.Do(ctx, cmd) })
}

// each is do for a table of any size: it calls f with each row, see
// [routeros.Client.Each]. It returns how many rows were too long to be read.
func (r *Router) each(ctx context.Context, cmd routeros.Command, f func(routeros.Row) error) (skipped int, err error) {
	reply, err := r.command(cmd, func() (*routeros.Reply, error) { return r.client.Each(ctx, cmd, f) })
	if err != nil {
		return 0, err
	}
	return reply.Skipped, nil
}

// keep is each with a function that keeps the rows, up to maxTable.
func (r *Router) keep(ctx context.Context, cmd routeros.Command) ([]routeros.Row, error) {
	var rows []routeros.Row
	size := 0
	_, err := r.each(ctx, cmd, func(row routeros.Row) error {
		if size += row.Size(); size > maxTable {
			return &routeros.LimitError{Path: cmd.Path, Text: fmt.Sprintf("table of more than %d bytes", maxTable)}
		}
		rows = append(rows, row.Clone())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// command sends a command by calling send, and once more if it is refused for want
// of a right that a new login may have: a command that was refused did nothing.
func (r *Router) command(cmd routeros.Command, send func() (*routeros.Reply, error)) (*routeros.Reply, error) {
	policy, count := "write", &r.writes
	if strings.HasSuffix(cmd.Path, "/print") || strings.HasSuffix(cmd.Path, "/check") {
		policy, count = "read", &r.reads
	}
	reply, err := r.timed(count, send)
	if strings.HasSuffix(cmd.Path, "/check") {
		return reply, err // whoever asks for it does without
	}
	if routeros.IsNotPermitted(err) && r.loginAnew() {
		reply, err = r.timed(count, send)
	}
	if routeros.IsNotPermitted(err) {
		err = &PermissionError{Policy: policy, Err: err}
		r.deny(policy, err)
		return nil, err
	}
	switch {
	case err == nil:
		r.allow(policy, cmd.Path)
	case strings.HasPrefix(cmd.Path, natPath) && refused(err) && !routeros.IsNoSuchItem(err) && !routeros.IsBadPlace(err):
		r.reject(cmd.Path, err)
	}
	return reply, err
}

// timed calls send, and counts and times what it does.
func (r *Router) timed(count *atomic.Uint64, send func() (*routeros.Reply, error)) (*routeros.Reply, error) {
	count.Add(1)
	stood, start := r.stands(), time.Now()
	reply, err := send()
	if err != nil {
		r.errs.Add(1)
	}
	// A command that waited for the connection says nothing about the router's speed.
	if r.cfg.Observe != nil && stood && (err == nil || refused(err)) {
		r.cfg.Observe(time.Since(start))
	}
	return reply, err
}

// reject logs the first of a series of refusals of a command on the NAT table,
// which fail every mapping. What a look at the table mends is none of them.
func (r *Router) reject(path string, err error) {
	r.mu.Lock()
	_, known := r.denied[path]
	r.denied[path] = struct{}{}
	r.mu.Unlock()
	if !known {
		advice, _ := advise(err)
		r.log.Warn("router refuses a command", "command", path, "error", err, "remedy", advice)
	}
}

// stands says whether there is a connection at this moment.
func (r *Router) stands() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.connected
}

// outcome notes how a change of the table went. One that its caller gave up says
// nothing about the router.
func (r *Router) outcome(err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, errGone) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changeErr, r.changeAt = err, time.Now()
}

// deny logs the first of a series of refusals.
func (r *Router) deny(policy string, err error) {
	r.mu.Lock()
	_, known := r.denied[policy]
	r.denied[policy] = struct{}{}
	r.lastErr = err
	r.mu.Unlock()
	if !known {
		advice, _ := advise(err)
		r.log.Error("router denies permission", "policy", policy, "error", err, "remedy", advice)
	}
}

// allow notes that a command worked, and says so if it had been refused before.
func (r *Router) allow(policy, path string) {
	r.mu.Lock()
	_, was := r.denied[policy]
	_, refusedBefore := r.denied[path]
	delete(r.denied, policy)
	delete(r.denied, path)
	r.success = time.Now()
	r.mu.Unlock()
	if was {
		r.log.Info("router grants permission again", "policy", policy)
	}
	if refusedBefore {
		r.log.Info("router accepts the command again", "command", path)
	}
}
