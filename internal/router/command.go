package router

import (
	"context"
	"errors"
	"strings"
	"time"

	"doublenat/routeros"
)

// changeTimeout is how long each command of a change may take. A router that
// works takes milliseconds; whoever waits for the mapping has a few seconds, in
// which a lost reply has to be noticed and looked into.
const changeTimeout = 3 * time.Second

// do sends a command and keeps the books. A refusal for want of a right comes
// back as a PermissionError.
func (r *Router) do(ctx context.Context, cmd routeros.Command) (*routeros.Reply, error) {
	policy, count := "write", &r.writes
	if strings.HasSuffix(cmd.Path, "/print") || strings.HasSuffix(cmd.Path, "/check") {
		policy, count = "read", &r.reads
	}
	count.Add(1)
	stood, start := r.stands(), time.Now()
	reply, err := r.client.Do(ctx, cmd)
	if err != nil {
		r.errs.Add(1)
	}
	// A command that waited for the connection says nothing about the router's speed.
	if r.cfg.Observe != nil && stood && (err == nil || refused(err)) {
		r.cfg.Observe(time.Since(start))
	}
	if strings.HasSuffix(cmd.Path, "/check") {
		return reply, err // whoever asks for it does without
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
		r.log.Info("router takes the command again", "command", path)
	}
}
