package nat

import (
	"context"
	"time"
)

// debt is what has to be taken back and could not be yet: a lease that nobody
// uses, or a rule of which it is unknown whether it was made. It keeps its inner
// port from being given to anybody else.
type debt struct {
	key   Key
	inner uint16
	// until is when the lease ends by itself; zero when there is none.
	until time.Time
	// next is when to try again, tries how often that was done.
	next  time.Time
	tries int
	// rule is what may stand on the router, if hasRule is set. asked is the number
	// of the last snapshot that had begun then: a later one shows it or not.
	rule    Rule
	hasRule bool
	asked   uint64
	busy    bool
}

type debtKey struct {
	protocol Protocol
	inner    uint16
}

// owe notes a lease that may live until the given time; zero means there is none.
func (s *Service) owe(key Key, inner uint16, until time.Time) {
	if until.IsZero() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oweLocked(key, inner, until)
}

func (s *Service) oweLocked(key Key, inner uint16, until time.Time) {
	d := s.debtLocked(key, inner)
	d.until = later(d.until, until)
	s.poke()
}

// oweRule notes a rule that may have been made. The next reconcile finds out.
func (s *Service) oweRule(r Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.debtLocked(r.Key, r.InnerPort)
	d.rule, d.hasRule, d.asked = r, true, s.snapshot
	s.Reconcile()
}

func (s *Service) debtLocked(key Key, inner uint16) *debt {
	at := debtKey{key.Protocol, inner}
	d := s.debts[at]
	if d == nil {
		d = &debt{key: key, inner: inner, next: time.Now().Add(retryFirst)}
		s.debts[at] = d
		s.ports.use(inner, key.Port())
	}
	return d
}

// owedLocked counts the debts of all and of the key's client, without those that are
// the key's own or that stand beside a mapping of theirs, which counts by itself.
func (s *Service) owedLocked(key Key) (all, ofClient int) {
	for _, d := range s.debts {
		if d.key == key || s.entries[d.key] != nil || s.creating[d.key] {
			continue
		}
		all++
		if d.key.Client == key.Client {
			ofClient++
		}
	}
	return all, ofClient
}

// settle drops the debt of a lease: it was taken over or given back.
func (s *Service) settle(p Protocol, inner uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.debts[debtKey{p, inner}]; d != nil {
		d.until = time.Time{}
		s.forgetLocked(d)
	}
}

// forgetLocked drops a debt on which nothing is left.
func (s *Service) forgetLocked(d *debt) {
	at := debtKey{d.key.Protocol, d.inner}
	if d.until.IsZero() && !d.hasRule && s.debts[at] == d {
		delete(s.debts, at)
		s.ports.leave(d.inner)
	}
}

// giveBack releases a lease that lives until the given time, and owes it if the
// gateway does not confirm.
func (s *Service) giveBack(ctx context.Context, key Key, inner uint16, until time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if err := s.cfg.Gateway.Release(ctx, key.Protocol, inner); err != nil {
		s.log.DebugContext(ctx, "releasing a lease", "client", key.Client.String(), "proto", key.Protocol.String(), "inner_port", inner, "err", err)
		if until.After(time.Now()) {
			s.owe(key, inner, until)
		}
		return
	}
	s.settle(key.Protocol, inner)
}

// clearSuspect removes a rule that an earlier create may have left behind, so that
// the new one will be the only one.
func (s *Service) clearSuspect(ctx context.Context, key Key, inner uint16) error {
	s.mu.Lock()
	d := s.debts[debtKey{key.Protocol, inner}]
	if d == nil || !d.hasRule {
		s.mu.Unlock()
		return nil
	}
	rule := d.rule
	s.mu.Unlock()
	if err := s.cfg.Router.RemoveRule(ctx, rule); err != nil {
		return err
	}
	s.clearRule(d)
	return nil
}

func (s *Service) clearRule(d *debt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.hasRule = false
	s.forgetLocked(d)
}

// payDebt tries once to release a lease that is owed. It takes the client port's
// turn: meanwhile the client may have come back and taken the lease over.
func (s *Service) payDebt(ctx context.Context, d *debt) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	unlock, err := s.locks.lock(ctx, d.key.Port())
	if err != nil {
		s.postpone(d)
		return
	}
	defer unlock()
	s.mu.Lock()
	owed := s.debts[debtKey{d.key.Protocol, d.inner}] == d && !d.until.IsZero()
	expired := owed && !time.Now().Before(d.until)
	s.mu.Unlock()
	if owed && !expired {
		err = s.cfg.Gateway.Release(ctx, d.key.Protocol, d.inner)
	}
	if err != nil {
		s.postpone(d)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.busy = false
	if owed {
		d.until = time.Time{}
		s.forgetLocked(d)
	}
}

// postpone ends a failed try; the next one comes later each time.
func (s *Service) postpone(d *debt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.busy = false
	d.tries++
	d.next = time.Now().Add(backoff(d.tries))
	s.poke()
}

// backoff returns the wait before try n+1 of background work: doubling up to a
// bound.
func backoff(failures int) time.Duration {
	return min(retryFirst<<min(max(failures-1, 0), 10), retryMax)
}
