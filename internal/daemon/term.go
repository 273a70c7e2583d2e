package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/lock"
	"doublenat/internal/ops"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/routeros"
)

// ErrTermOver is wrapped by the error of a [Daemon.Run] that lost the lock: another doublenat may
// be the active one by now. Nothing was written since, and another Daemon may stand by.
var ErrTermOver = errors.New("this doublenat is not the active one any more")

// releasePatience is how long a stop may take to give the lock away, which runs out by itself else.
const releasePatience = 2 * time.Second

// role is what a daemon is among those that share its lock.
type role uint32

const (
	// roleStandby waits for the lock. It reads the router for the page, and nothing else.
	roleStandby role = iota
	// roleActive has the lock, or shares it with nobody.
	roleActive
	// roleEnded lost the lock or released it. It writes nothing and answers nobody.
	roleEnded
)

// term is the one time of a daemon as the active one of several.
type term struct {
	keeper *lock.Keeper
	conns  *fencedConns
	state  atomic.Uint32 // a role
	name   string        // what the others call this one
	terms  int           // how many this process had before
	before atomic.Value  // the name of the active one that was seen last
}

// lockStatus returns how this doublenat stands among several, and what to do about its lock.
func (d *Daemon) lockStatus() (l ops.Lock, advice remedy.Advice) {
	if d.term == nil {
		return l, advice
	}
	view := d.term.keeper.View()
	l = ops.Lock{Name: d.term.name, Active: view.Holder, Since: view.Since, Terms: d.term.terms}
	switch d.role() {
	case roleStandby:
		l.Role = ops.RoleStandby
	case roleActive:
		l.Role, l.Active = ops.RoleActive, d.term.name
		l.Terms++
	case roleEnded:
		l.Role = ops.RoleEnded
	}
	if view.Error != nil {
		l.Error = view.Error.Error()
		advice, _ = remedy.For(view.Error)
	}
	return l, advice
}

// lockRemedy says what to do about an error of the lock's store.
func lockRemedy(err error) string {
	advice, _ := remedy.For(err)
	return advice.String()
}

// lockChanged is told by the keeper that its view is another one.
func (d *Daemon) lockChanged() {
	if name := d.term.keeper.View().Holder; name != "" {
		d.term.before.Store(name)
	}
	d.monitor.Changed()
}

// shared reports whether this daemon may have to stand by. One that changes nothing has nothing
// to agree about, and must not keep another one from being active.
func shared(cfg config.Config) bool { return cfg.Lock.Shared() && !cfg.ReadOnly }

// role returns what the daemon is now. A process that was stopped is not the active one from the first
// moment in which it runs again, whichever of its goroutines that is.
func (d *Daemon) role() role {
	if d.term == nil {
		return roleActive
	}
	r := role(d.term.state.Load())
	if r == roleActive && d.term.keeper.Mine() != nil {
		return roleEnded
	}
	return r
}

// whenActive returns what calls f if the daemon is the active one. What is known of the router
// before that means nothing to the core, which reads all of it when it begins.
func (d *Daemon) whenActive(f func()) func() {
	return func() {
		if d.role() == roleActive {
			f()
		}
	}
}

// makeFence puts the fence around what changes the router and the gateway, if others may be
// active. It asks the keeper, which is made when the router is there that may keep its lock.
func (d *Daemon) makeFence(Options) error {
	if !shared(d.cfg) {
		return nil
	}
	d.term = new(term)
	d.term.conns = newFencedConns(func() error { return d.term.keeper.Sends() })
	if d.net.DialRouter == nil {
		d.net.DialRouter = func(ctx context.Context) (net.Conn, error) { return routeros.Dial(ctx, d.cfg.Router.String()) }
	}
	// What was written in the last moment of a term may be on its way for the rest of the lease: a
	// third of it, of which some is for clocks that differ.
	d.net = d.net.fence(d.term.conns, tcpPatience(lock.Patience(d.cfg.Lock.Lease)))
	return nil
}

// guard is asked before each write. Nil is nobody: the daemon shares its lock with nobody.
func (d *Daemon) guard() guard {
	if d.term == nil {
		return nil
	}
	return func(ctx context.Context) (context.Context, context.CancelFunc, error) {
		return d.term.keeper.Guard(ctx)
	}
}

// makeKeeper makes the keeper of the lock.
func (d *Daemon) makeKeeper(opts Options) error {
	if d.term == nil {
		return nil
	}
	d.term.name, d.term.terms = cmp.Or(d.cfg.Lock.Name, opts.Host, d.cfg.Instance), opts.terms
	store, err := d.store(opts, d.term.name)
	if err != nil {
		return fmt.Errorf("LOCK=%s: %w", d.cfg.Lock.Kind, err)
	}
	d.term.keeper, err = lock.New(lock.Config{
		Store: store, Lease: d.cfg.Lock.Lease, OnChange: d.lockChanged, Remedy: lockRemedy,
		Logger: d.log.With("component", "lock"), Random: opts.Random,
	})
	return err
}

// store makes the store of the lock for one term.
func (d *Daemon) store(opts Options, name string) (lock.Store, error) {
	if d.cfg.Lock.Kind == config.LockRouter && opts.LockStore == nil {
		return d.router.NewLock(router.LockConfig{Name: name}), nil
	}
	open := opts.LockStore
	if open == nil {
		open = func(name string) (lock.Store, error) { return newLease(opts, name) }
	}
	store, err := open(name)
	if err != nil || d.cfg.Lock.Kind == config.LockRouter {
		return store, err
	}
	return &reaching{Store: store, connected: func() bool { return d.router.Status().Connected }}, nil
}

// stand waits for the lock. False is that ctx ended first.
func (d *Daemon) stand(ctx context.Context) bool {
	if d.term == nil {
		return true
	}
	if d.term.keeper.Acquire(ctx) != nil {
		return false
	}
	before, _ := d.term.before.Load().(string)
	d.stateLost() // Clients knew another epoch than ours until now.
	d.term.state.Store(uint32(roleActive))
	d.log.InfoContext(ctx, "active: this doublenat has the lock")
	d.monitor.BecameActive(before)
	return true
}

// hold renews the lock until ctx ends. If the lock is lost it ends the term before it returns.
func (d *Daemon) hold(ctx context.Context, end context.CancelCauseFunc) error {
	err := d.term.keeper.Hold(ctx)
	if err == nil {
		return nil
	}
	d.term.state.Store(uint32(roleEnded))
	d.term.conns.abort()
	err = fmt.Errorf("%w: %w", ErrTermOver, err)
	d.log.WarnContext(ctx, "lost the lock, writing nothing more", "error", err)
	end(err)
	return err
}

// handOver gives the lock away, after everything else was done.
func (d *Daemon) handOver(ctx context.Context) {
	d.term.state.Store(uint32(roleEnded))
	ctx, cancel := context.WithTimeout(ctx, releasePatience)
	defer cancel()
	if err := d.term.keeper.Release(ctx); err != nil {
		d.log.WarnContext(ctx, "lock not released, another doublenat waits until it runs out", "error", err)
	}
}
