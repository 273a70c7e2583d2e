package nat

import (
	"context"
	"errors"
	"sync"
	"time"
)

var errForeignForward = errors.New("a rule that doublenat did not make forwards this port")

// runUnmap deletes the mapping of a key in its turn.
func (s *Service) runUnmap(ctx context.Context, key Key) error {
	s.mu.Lock()
	// Whatever is at work on the port is waited for: few clients repeat a deletion.
	ctx, end, err := s.beginLocked(ctx, s.cfg.CreateTimeout+ruleTime+undoTimeout+removeTimeout)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	defer s.work.Done()
	defer end()

	s.supersede(key)
	unlock, err := s.locks.lock(ctx, key.Port())
	if err != nil {
		s.letExpire(key)
		return &Error{Reason: ReasonUnreachable, Err: err}
	}
	defer unlock()
	if e := s.lookup(key); e != nil {
		var companion error
		var both sync.WaitGroup
		both.Go(func() { companion = s.dismissCompanion(ctx, key) })
		err := s.takeDown(ctx, e, EventDeleted)
		both.Wait()
		return errors.Join(err, companion)
	}
	// A mapping for port 0 and a rule for all ports have one key, and nothing else in common.
	if key.InternalPort != 0 && s.forwarded(func(f Forward) bool { return f.Key == key || f.Key == key.Port().all(key.Protocol) }) {
		return &Error{Hop: HopRouter, Reason: ReasonDenied, Err: errForeignForward}
	}
	return nil
}

// letExpire ends a mapping as soon as it has its turn, unless its client has thought
// better of it by then.
func (s *Service) letExpire(key Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[key]; e != nil {
		e.until, e.unwanted = earlier(e.until, time.Now()), true
		s.poke()
	}
}

// all returns the key that stands for all ports of a client, as in [Forward].
func (c ClientPort) all(p Protocol) Key { return Key{Client: c.Client, Protocol: p} }

// takeDown ends a mapping on both layers side by side. A lease that is not
// confirmed to be gone is owed; a rule that is not makes the error, the entry stays
// and the scheduler tries again. The caller holds the client port's lock.
func (s *Service) takeDown(ctx context.Context, e *entry, cause EventKind) error {
	s.mu.Lock()
	if !e.closing {
		e.closing, e.cause, e.failures, e.released = true, cause, 0, false
	}
	// What is being tried now is not due.
	e.closeAt = time.Now().Add(removeTimeout)
	rules, leaseUntil, released := e.rules(), later(e.leaseUntil, e.mayLive), e.released
	overtaken, requested := e.interrupted, e.requested
	e.released = true
	s.mu.Unlock()

	var layers sync.WaitGroup
	if !released {
		layers.Go(func() {
			s.giveBack(ctx, e.key, e.inner, leaseUntil)
			if overtaken {
				// The renewal may come to the gateway after this: give it back once more.
				s.owe(e.key, e.inner, time.Now().Add(requested))
			}
		})
	}
	rctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	err := s.removeForms(rctx, rules)
	layers.Wait()

	s.mu.Lock()
	if err != nil {
		e.failures++
		e.closeAt = time.Now().Add(backoff(e.failures))
		s.poke()
		s.mu.Unlock()
		return err
	}
	s.dropLocked(e)
	m, ended := e.mapping(), e.cause
	s.mu.Unlock()
	s.emit(ended, m, nil)
	return nil
}

// removeForms removes a rule that may stand in several forms.
func (s *Service) removeForms(ctx context.Context, rules []Rule) error {
	for _, r := range rules {
		if err := s.cfg.Router.RemoveRule(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// expire ends a mapping that was not renewed. By the time it is its turn a renewal
// may have come first: the renewal wins.
func (s *Service) expire(ctx context.Context, e *entry) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout+removeTimeout)
	defer cancel()
	unlock, err := s.locks.lock(ctx, e.key.Port())
	if err != nil {
		return err
	}
	defer unlock()
	s.mu.Lock()
	over, cause := s.entries[e.key] == e && (e.closing || !time.Now().Before(e.until)), EventExpired
	if e.unwanted {
		cause = EventDeleted
	}
	s.mu.Unlock()
	if !over {
		return nil
	}
	return s.takeDown(ctx, e, cause)
}
