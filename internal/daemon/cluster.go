package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"doublenat/internal/lock"
	"doublenat/internal/lock/kube"
)

// newLease makes the store of LOCK=kubernetes, for the pod in which we run.
func newLease(opts Options, name string) (lock.Store, error) {
	cfg, err := kube.InCluster(opts.Environ, "")
	if err != nil {
		return nil, err
	}
	cfg.Name, cfg.Holder = kube.LeaseName(opts.Config.Instance), name
	return kube.New(cfg), nil
}

// errRouterAway is that of a doublenat which has no use for the lock.
var errRouterAway = errors.New("the router is out of reach, and another doublenat may reach it")

// reaching is a lock that is not on the router: who cannot reach the router must not have it, or nobody
// changes rules while another one could. It is given up when the router was out of reach for a lease: it
// runs out then, which is late, but not before we have ended all that goes on.
type reaching struct {
	lock.Store

	// connected says whether the router is within reach.
	connected func() bool
	// away is since when it is not; zero while it is.
	away time.Time
}

// Acquire implements [lock.Store].
func (r *reaching) Acquire(ctx context.Context, lease time.Duration) (lock.Holder, error) {
	if !r.connected() {
		return lock.Holder{}, errRouterAway
	}
	r.away = time.Time{}
	return r.Store.Acquire(ctx, lease)
}

// Renew implements [lock.Store].
func (r *reaching) Renew(ctx context.Context, lease time.Duration) error {
	switch {
	case r.connected():
		r.away = time.Time{}
	case r.away.IsZero():
		r.away = time.Now()
	case time.Since(r.away) >= lease:
		return fmt.Errorf("giving it up: %w: %w", errRouterAway, lock.ErrLost)
	}
	return r.Store.Renew(ctx, lease)
}
