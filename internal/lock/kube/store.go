package kube

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"doublenat/internal/lock"
)

// Config says where the Lease is and who we are.
type Config struct {
	// Server is the API server, as https://10.96.0.1:443.
	Server string
	// Namespace and Name are the Lease's. Both have to be valid there, see [LeaseName].
	Namespace, Name string
	// Holder is what we call ourselves. A suffix by chance makes it ours alone.
	Holder string
	// Token returns what authenticates us. It is asked each time: tokens of pods live for an hour.
	Token func() (string, error)
	// Transport reaches the server. Nil is [http.DefaultTransport].
	Transport http.RoundTripper
}

// Store is a Lease. Make one with [New]. It implements [lock.Store].
type Store struct {
	api      api
	cfg      Config
	identity string

	// version is the state in which we wrote the Lease last. Empty is that we never had it: a patch of
	// no version would take it from whoever has it.
	version string
	// tried is set once a request was sent that may have taken the Lease.
	tried bool
	// others is how somebody else's Lease looks.
	others sighting
}

// New returns the store. It asks nobody.
func New(cfg Config) *Store {
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport
	}
	return &Store{api: newAPI(cfg), cfg: cfg, identity: cfg.Holder + "_" + rand.Text()}
}

var _ lock.Store = (*Store)(nil)

// LeaseName returns the Lease's name for an INSTANCE: names of objects have no capitals and no
// underscores (RFC 1123), so each of those becomes a minus and others may collide; they need other names.
func LeaseName(instance string) string {
	name := strings.Map(func(r rune) rune {
		if r == '_' {
			return '-'
		}
		return r
	}, strings.ToLower(instance))
	return strings.TrimRight("doublenat-"+name, "-")
}

// Acquire implements [lock.Store]. A Lease that somebody else has is taken when it was not renewed for
// its duration, or for ours if that is longer, while we looked.
func (s *Store) Acquire(ctx context.Context, d time.Duration) (lock.Holder, error) {
	was, err := s.api.get(ctx)
	now := time.Now()
	if errors.Is(err, errNotFound) {
		s.tried = true
		return s.taken(s.api.create(ctx, s.spec(d, now, 0)))
	}
	if err != nil {
		return lock.Holder{}, err
	}
	s.others.see(was, now)
	switch {
	case was.Spec.HolderIdentity == s.identity:
		return s.taken(s.api.patch(ctx, was.Metadata.ResourceVersion, s.renewal(d, now)))
	case s.others.free(was, d, now):
		s.tried = true
		return s.taken(s.api.patch(ctx, was.Metadata.ResourceVersion, s.spec(d, now, was.Spec.LeaseTransitions+1)))
	default:
		return lock.Holder{Name: name(was.Spec.HolderIdentity)}, nil
	}
}

// taken returns what came of taking the Lease. That its state was another one by then means that
// somebody else was faster.
func (s *Store) taken(l *lease, err error) (lock.Holder, error) {
	if errors.Is(err, errConflict) {
		return lock.Holder{}, nil
	}
	if err != nil {
		return lock.Holder{}, err
	}
	s.version = l.Metadata.ResourceVersion
	return lock.Holder{Name: s.cfg.Holder, Mine: true}, nil
}

// Renew implements [lock.Store].
func (s *Store) Renew(ctx context.Context, d time.Duration) error {
	if s.version == "" {
		return fmt.Errorf("the Lease was never ours: %w", lock.ErrLost)
	}
	l, err := s.api.patch(ctx, s.version, s.renewal(d, time.Now()))
	if errors.Is(err, errConflict) {
		// The reply to our last one may have got lost, or somebody put a label on it.
		if l, err = s.ours(ctx); err == nil {
			l, err = s.api.patch(ctx, l.Metadata.ResourceVersion, s.renewal(d, time.Now()))
		}
	}
	switch {
	case errors.Is(err, errNotFound):
		return fmt.Errorf("somebody has deleted the Lease: %w", lock.ErrLost)
	case err != nil:
		return err
	}
	s.version = l.Metadata.ResourceVersion
	return nil
}

// ours returns the Lease, or an error that wraps [lock.ErrLost] if somebody else has it.
func (s *Store) ours(ctx context.Context) (*lease, error) {
	l, err := s.api.get(ctx)
	if err != nil {
		return nil, err
	}
	if l.Spec.HolderIdentity != s.identity {
		return nil, fmt.Errorf("%s has the Lease: %w", name(l.Spec.HolderIdentity), lock.ErrLost)
	}
	return l, nil
}

// Release implements [lock.Store]. The Lease stays, with nobody's name in it. Who never tried to take it
// asks nobody: the API server may be away, and who stood by need not wait for it to stop.
func (s *Store) Release(ctx context.Context) error {
	if !s.tried {
		return nil
	}
	l, err := s.ours(ctx)
	if err == nil {
		_, err = s.api.patch(ctx, l.Metadata.ResourceVersion, spec{LeaseDurationSeconds: 1, RenewTime: stamp(time.Now())})
	}
	if errors.Is(err, errNotFound) || errors.Is(err, lock.ErrLost) {
		return nil
	}
	return err
}

// spec is the Lease when we take it, and renewal when we have it.
func (s *Store) spec(d time.Duration, now time.Time, transitions int) spec {
	taken := s.renewal(d, now)
	taken.AcquireTime, taken.LeaseTransitions = taken.RenewTime, &transitions
	return taken
}

func (s *Store) renewal(d time.Duration, now time.Time) spec {
	return spec{HolderIdentity: s.identity, LeaseDurationSeconds: seconds(d), RenewTime: stamp(now)}
}

// name returns what a holder calls itself.
func name(identity string) string {
	if i := strings.LastIndexByte(identity, '_'); i > 0 {
		return identity[:i]
	}
	return identity
}
