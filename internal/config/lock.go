package config

import (
	"errors"
	"strings"
	"time"
)

// LockKind says where the lock is by which several doublenats agree on the active one.
type LockKind string

// The places of a lock.
const (
	// LockNone is one doublenat alone.
	LockNone LockKind = "none"
	// LockRouter keeps the lock on the router.
	LockRouter LockKind = "router"
	// LockKubernetes keeps it in a Lease object of a Kubernetes cluster.
	LockKubernetes LockKind = "kubernetes"
)

// Lock says how several doublenats agree on which of them is active. Its zero value is a single one.
type Lock struct {
	// Kind is where the lock is (LOCK), LockNone for a doublenat that is always active.
	Kind LockKind
	// Lease is after how long a standby may take over from one that is silent (LOCK_LEASE), in
	// whole seconds.
	Lease time.Duration
	// Name is what the others call this one (LOCK_NAME). Empty is the name of the host.
	Name string
	// Redirect makes the active one move the clients' redirect on the router to itself (LOCK_REDIRECT).
	Redirect bool
}

// Shared reports whether this doublenat may have to stand by.
func (l Lock) Shared() bool { return l.Kind == LockRouter || l.Kind == LockKubernetes }

// The bounds of LOCK_LEASE. A third of it is the time for one renewal, and the margin for clocks that
// differ; the router counts whole seconds of it. Nothing is answered for as long as it lasts once the active one died.
const (
	leastLockLease   = 6 * time.Second
	longestLockLease = 5 * time.Minute
)

// lock reads the settings of the lock.
func (p *parser) lock(given raw) Lock {
	l := Lock{
		Kind:  value(p, "LOCK", given.Lock, parseLock),
		Lease: value(p, "LOCK_LEASE", given.LockLease, parseLockLease),
		Name:  value(p, "LOCK_NAME", given.LockName, parseLockName),
	}
	if follows := value(p, "LOCK_REDIRECT", given.LockRedirect, parseLockRedirect); follows != nil {
		l.Redirect = follows(l.Kind)
	}
	return l
}

// parseLock reads a [LockKind].
func parseLock(s string) (LockKind, error) {
	switch kind := LockKind(strings.ToLower(s)); kind {
	case LockNone, LockRouter, LockKubernetes:
		return kind, nil
	default:
		return "", errors.New("is none of none, router and kubernetes")
	}
}

// parseLockLease reads how long a lock is leased.
func parseLockLease(s string) (time.Duration, error) {
	return parseSeconds(s, leastLockLease, longestLockLease,
		"is not from 6s to 5m: a third of it is the time for a renewal, and all of it may pass until another doublenat takes over")
}

// parseLockName reads what a doublenat calls itself. It is shown in a comment on the router.
func parseLockName(s string) (string, error) {
	allowed := func(r rune) bool {
		return r < 0x80 && (r == '.' || !notInName(r))
	}
	if len(s) > 63 || strings.ContainsFunc(s, func(r rune) bool { return !allowed(r) }) {
		return "", errors.New("has more than 63 characters or others than A-Z a-z 0-9 . _ -")
	}
	return s, nil
}

// parseLockRedirect reads whether the redirect is moved, given where the lock is.
func parseLockRedirect(s string) (func(LockKind) bool, error) {
	if strings.EqualFold(s, "auto") {
		return func(k LockKind) bool { return k == LockRouter }, nil
	}
	on, err := parseSwitch(s)
	if err != nil {
		return nil, errors.New("is none of auto, on and off")
	}
	return func(k LockKind) bool { return on && k != LockNone }, nil
}

// stopOf returns what a stop leaves behind: with a lock all, for the next doublenat.
func (p *parser) stopOf(environ map[string]string, cfg Config) Shutdown {
	if !cfg.Lock.Shared() {
		return cfg.Shutdown
	}
	if s := environ["SHUTDOWN"]; strings.EqualFold(s, string(ShutdownClean)) {
		p.fail("SHUTDOWN", s, "contradicts LOCK, with which a stop hands rules and leases over to the next doublenat: leave SHUTDOWN out, or set it to keep")
	}
	return ShutdownKeep
}

// lockWarnings warns of settings that have no effect with or without a lock.
func lockWarnings(environ map[string]string, cfg Config) (all []string) {
	if cfg.Lock.Shared() && cfg.ReadOnly {
		all = append(all, "READ_ONLY is set, so LOCK is not used: this doublenat only looks, and neither takes the lock nor waits for it")
	}
	if !cfg.Lock.Shared() {
		for _, name := range []string{"LOCK_LEASE", "LOCK_NAME", "LOCK_REDIRECT"} {
			if environ[name] != "" {
				all = append(all, name+" has no effect without LOCK")
			}
		}
	}
	return all
}
