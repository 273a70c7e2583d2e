// Package locktest has a store of locks in memory, for tests.
package locktest

import (
	"context"
	"sync"
	"time"

	"doublenat/internal/lock"
)

// Server keeps one lock, as a router or Kubernetes would. Its zero value is ready to use, with a
// lock that nobody has.
type Server struct {
	// Now is the server's clock; nil is the host's. It is set before the first use.
	Now func() time.Time

	mu     sync.Mutex
	holder *Store    // guarded by mu; nil is nobody
	until  time.Time // guarded by mu
	log    []Grant   // guarded by mu
}

// Grant is one time in which one holder had the lock.
type Grant struct {
	// Name is the holder's.
	Name string
	// From and Until are by the server's clock. Until is when the lock ran out, was released, or
	// will run out.
	From, Until time.Time
}

// Store is one holder's way to the lock of a [Server].
type Store struct {
	server *Server
	name   string

	mu   sync.Mutex
	away error // guarded by mu; why the server cannot be reached, nil if it can
}

var _ lock.Store = (*Store)(nil)

// Store returns a way to the lock for one more holder.
func (s *Server) Store(name string) *Store { return &Store{server: s, name: name} }

// Grants returns who had the lock until now, in order.
func (s *Server) Grants() []Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Grant(nil), s.log...)
}

func (s *Server) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// Away makes every call fail with err until it is called with nil.
func (s *Store) Away(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = err
}

// reach fails if the server cannot be reached.
func (s *Store) reach(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away
}

// Acquire implements [lock.Store].
func (s *Store) Acquire(ctx context.Context, lease time.Duration) (lock.Holder, error) {
	if err := s.reach(ctx); err != nil {
		return lock.Holder{}, err
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	now := s.server.now()
	taken := s.server.holder != nil && now.Before(s.server.until)
	if taken && s.server.holder != s {
		return lock.Holder{Name: s.server.holder.name}, nil
	}
	if !taken {
		s.server.log = append(s.server.log, Grant{Name: s.name, From: now})
	}
	s.server.grant(s, now.Add(lease))
	return lock.Holder{Name: s.name, Mine: true}, nil
}

// Renew implements [lock.Store].
func (s *Store) Renew(ctx context.Context, lease time.Duration) error {
	if err := s.reach(ctx); err != nil {
		return err
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	now := s.server.now()
	if s.server.holder != s || !now.Before(s.server.until) {
		return lock.ErrLost
	}
	s.server.grant(s, now.Add(lease))
	return nil
}

// Release implements [lock.Store].
func (s *Store) Release(ctx context.Context) error {
	if err := s.reach(ctx); err != nil {
		return err
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if now := s.server.now(); s.server.holder == s && now.Before(s.server.until) {
		s.server.grant(nil, now)
	}
	return nil
}

// grant gives the lock to a holder until then. It needs mu.
func (s *Server) grant(to *Store, until time.Time) {
	s.holder, s.until = to, until
	s.log[len(s.log)-1].Until = until
}

// Take gives the lock to somebody who has no [Store], whoever had it.
func (s *Server) Take(name string, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if len(s.log) > 0 && s.log[len(s.log)-1].Until.After(now) {
		s.log[len(s.log)-1].Until = now
	}
	s.log = append(s.log, Grant{Name: name, From: now})
	s.grant(&Store{server: s, name: name}, until)
}
