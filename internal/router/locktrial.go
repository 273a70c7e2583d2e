package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// UnfitError is a router that does not do what a lock needs.
type UnfitError struct {
	// What the router does, a phrase that goes on from "the router".
	What string
}

// unfit returns an UnfitError.
func unfit(format string, args ...any) error { return &UnfitError{What: fmt.Sprintf(format, args...)} }

// Error returns what the router does.
func (e *UnfitError) Error() string {
	return "the router cannot keep a lock: it " + e.What
}

// Advice says how to do without.
func (e *UnfitError) Advice() remedy.Advice { return remedy.NoLock() }

// StuckError is an entry in the place of the lock that has no timeout, so that nobody ever gets it.
type StuckError struct {
	// List is the name of the address list, Comment what the entry says.
	List, Comment string
}

// Error returns where the entry is.
func (e *StuckError) Error() string {
	return fmt.Sprintf("the entry %s of the address list %s has no timeout and never goes (comment %q)", lockAddress, e.List, e.Comment)
}

// Advice has the command that removes the entry.
func (e *StuckError) Advice() remedy.Advice { return remedy.StuckLock(e.List, lockAddress) }

// The times of a trial: long enough for all steps but the last, a change that shows, and what is
// waited for at the end.
const (
	trialFirst  = 20 * time.Second
	trialLonger = 40 * time.Second
	trialLast   = 2 * time.Second
	trialPause  = 500 * time.Millisecond
	trialAgain  = time.Minute
	trialSlack  = 3 * time.Second // by how much an entry may stay too long
)

// trial finds out whether the router does what a lock needs, with an entry of another address. It
// is done once for each version of RouterOS that is met. What a restart of the router does to an
// entry cannot be tried: if it stays, it stays for the rest of its time or is a [StuckError].
type trial struct {
	passed  bool
	reuses  bool      // the router gives the id of an entry that is gone to the next
	version string    // of the router that passed; empty if that is not known
	failed  error     // an UnfitError of a router that did not
	at      time.Time // when it did not
	// waiting is set while nothing is left but to wait: entry is the one whose end is waited
	// for, asked when it was told to end.
	waiting bool
	entry   held
	address string
	asked   time.Time // before the request
	told    time.Time // after its answer
}

// known reports whether the outcome is known for a router of this version. One that did not pass is
// tried again after a minute: somebody may have removed the entry by hand.
func (t *trial) known(version string) bool {
	return (version == "" || t.version == "" || version == t.version) && (t.passed || t.failed != nil && time.Since(t.at) < trialAgain)
}

// pass returns nil for a router that is fit. If ctx ends before that is known, the next call goes on.
func (t *trial) pass(ctx context.Context, l *Lock) error {
	version := ""
	if s := l.r.current(nil); s != nil {
		version = s.version
	}
	if t.known(version) {
		t.version = cmp.Or(t.version, version)
		return t.failed
	}
	if t.waiting && l.r.connection() != t.entry.connection {
		t.waiting = false // The router may have been restarted: it begins anew.
	}
	var err error
	if !t.waiting {
		err = t.begin(ctx, l)
	}
	if err == nil {
		err = t.end(ctx, l)
	}
	if _, bad := errors.AsType[*UnfitError](err); bad || err == nil {
		*t = trial{passed: err == nil, reuses: t.reuses, failed: err, version: version, at: time.Now()}
	}
	return err
}

// begin makes the entry and does everything with it that takes no time.
func (t *trial) begin(ctx context.Context, l *Lock) error {
	seen, err := l.look(ctx)
	if err != nil {
		return err
	}
	for _, e := range seen.trials { // what an unfit router kept of an earlier trial
		if e.stuck() && e.comment == l.trialComment() {
			_ = l.remove(ctx, held{id: e.id, connection: seen.connection, until: seen.sent.Add(trialFirst)})
		}
	}
	t.address = fmt.Sprintf("192.0.2.%d", 2+rand.IntN(253)) //nolint:gosec // no secret: two that try at once should not meet
	if err := t.reuse(ctx, l, seen.connection); err != nil {
		return err
	}
	sent := time.Now()
	id, err := l.add(ctx, t.address, l.trialComment(), trialFirst)
	if err != nil {
		return err
	}
	t.reuses = t.reuses || id == t.entry.id
	if _, err = l.add(ctx, t.address, l.trialComment(), trialFirst); err == nil {
		return unfit("takes the same address into one list twice")
	} else if !declined(err) {
		return err
	}
	e, seen, err := t.see(ctx, l)
	switch {
	case err != nil:
		return err
	case e.id != id:
		return unfit("does not show an entry that it took")
	case e.stuck():
		_ = l.remove(ctx, held{id: id, connection: seen.connection, until: sent.Add(trialFirst)})
		return unfit("keeps an entry with a timeout for ever")
	case e.left > trialFirst:
		return unfit("makes %v of a timeout of %v", e.left, trialFirst)
	}
	t.entry = held{id: id, connection: seen.connection, until: sent.Add(trialFirst - early)}
	if err := t.gone(ctx, l, seen.connection); err != nil {
		return err
	}
	return t.change(ctx, l)
}

// reuse makes an entry and removes it, to see whether the next one gets its id.
func (t *trial) reuse(ctx context.Context, l *Lock, connection uint64) error {
	sent := time.Now()
	id, err := l.add(ctx, t.address, l.trialComment(), trialFirst)
	if err != nil {
		return err
	}
	t.entry = held{id: id, connection: connection, until: sent.Add(trialFirst - early)}
	return l.remove(ctx, t.entry)
}

// change makes the entry live longer, and then shorter.
func (t *trial) change(ctx context.Context, l *Lock) error {
	if err := l.setTimeout(ctx, t.entry, trialLonger); err != nil {
		return refusedAs(err, "does not let the timeout of an entry be changed (%v)")
	}
	e, _, err := t.see(ctx, l)
	switch {
	case err != nil:
		return err
	case e.id != t.entry.id || e.left <= trialFirst || e.left > trialLonger:
		return unfit("does not change the timeout of an entry as it was told to")
	}
	t.asked = time.Now()
	if err := l.setTimeout(ctx, t.entry, trialLast); err != nil {
		return refusedAs(err, "does not let the timeout of an entry be changed (%v)")
	}
	t.waiting, t.told = true, time.Now()
	return nil
}

// end waits until the entry is gone, neither too soon nor too late.
func (t *trial) end(ctx context.Context, l *Lock) error {
	for {
		e, seen, err := t.see(ctx, l)
		if err != nil {
			return err
		}
		if e.id == "" {
			if after := time.Since(t.asked); after < trialLast-early {
				return unfit("drops an entry after %v that was to last %v", after.Round(time.Millisecond), trialLast)
			}
			break
		}
		if seen.sent.Sub(t.told) > trialLast+trialSlack {
			_ = l.remove(ctx, held{id: e.id, connection: t.entry.connection, until: time.Now().Add(early)})
			return unfit("keeps an entry that was to last %v for longer than %v", trialLast, trialLast+trialSlack)
		}
		pause := time.NewTimer(trialPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		}
	}
	return nil
}

// noID is an id that no entry has: RouterOS counts up from 1.
const noID = "*FFFFFFFD"

// gone looks whether the router refuses to renew an entry that it does not have. It is asked with
// an id that no entry ever had: that of one which is gone may be another one's by now.
func (t *trial) gone(ctx context.Context, l *Lock, connection uint64) error {
	found := false
	_, err := l.r.each(ctx, routeros.Command{
		Path: addressListPath + "/print", Properties: []string{".id"}, Queries: []string{routeros.Equal(".id", noID)}, Timeout: l.timeout(),
	}, func(row routeros.Row) error {
		found = found || row.Value(".id") == noID
		return nil
	})
	if err != nil || found {
		return err
	}
	switch err := l.setTimeout(ctx, held{id: noID, connection: connection}, trialLast); {
	case err == nil:
		return unfit("says that it renews an entry which is gone")
	case !declined(err):
		return err
	}
	return nil
}

// see returns the entry as the router has it, the zero one if it has not.
func (t *trial) see(ctx context.Context, l *Lock) (e entry, seen look, err error) {
	seen, err = l.look(ctx)
	if err != nil {
		return entry{}, look{}, err
	}
	for _, other := range seen.trials {
		if other.address == t.address && other.comment == l.trialComment() {
			e = other
		}
	}
	return e, seen, nil
}

// trialComment is that of the entry.
func (l *Lock) trialComment() string {
	return commentPrefix + l.r.cfg.Instance + " trying whether this router can keep a lock"
}

// refusedAs returns what a refusal says about the router, and every other error as it is.
func refusedAs(err error, what string) error {
	if !declined(err) {
		return err
	}
	return unfit(what, err)
}

// declined reports whether the router did not carry out a command, for a reason of its own: not
// because it was too busy, nor because our user may not.
func declined(err error) bool {
	return refused(err) && !routeros.IsNotPermitted(err) && !routeros.Ambiguous(err)
}

// isOtherConnection reports whether a command was not sent because its connection has ended.
func isOtherConnection(err error) bool { return errors.Is(err, routeros.ErrOtherConnection) }
