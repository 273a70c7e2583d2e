package nat

import (
	"context"
	"slices"
	"sync"
	"time"
)

// idle is how long the scheduler sleeps when the table is empty.
const idle = time.Hour

// schedule does what is due without a client: expiring, refreshing, paying debts.
// It returns when ctx has ended and so has all that it began.
func (s *Service) schedule(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, workers)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		}
		due, next := s.due(time.Now())
		for _, work := range due {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			running.Go(func() {
				defer func() { <-slots }()
				work(ctx)
			})
		}
		timer.Reset(time.Until(next))
	}
}

// due returns the work whose time has come, marked as under way, and when to look
// again.
func (s *Service) due(now time.Time) (work []func(context.Context), next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next = now.Add(idle)
	for _, e := range s.sortedLocked() {
		if e.busy {
			continue
		}
		if at := e.due(); at.After(now) {
			next = earlier(next, at)
			continue
		}
		e.busy = true
		work = append(work, func(ctx context.Context) { s.attend(ctx, e) })
	}
	for _, d := range s.sortedDebtsLocked() {
		if d.busy || d.until.IsZero() {
			continue
		}
		if d.next.After(now) {
			next = earlier(next, d.next)
			continue
		}
		d.busy = true
		work = append(work, func(ctx context.Context) { s.payDebt(ctx, d) })
	}
	return work, next
}

func (s *Service) sortedDebtsLocked() []*debt {
	all := make([]*debt, 0, len(s.debts))
	for _, d := range s.debts {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *debt) int { return a.key.Compare(b.key) })
	return all
}

// attend does what is due for one entry. What it is, is decided now: between the
// timer and this moment its client may have come.
func (s *Service) attend(ctx context.Context, e *entry) {
	s.mu.Lock()
	over := e.closing || !time.Now().Before(e.until)
	s.mu.Unlock()
	var err error
	if over {
		err = s.expire(ctx, e)
	} else {
		err = s.refresh(ctx, e)
	}
	if err != nil {
		s.log.DebugContext(ctx, "background work on a mapping", "client", e.key.Client.String(), "proto", e.key.Protocol.String(),
			"internal_port", e.key.InternalPort, "err", err)
	}
	s.mu.Lock()
	e.busy = false
	s.mu.Unlock()
	s.poke()
}

// recreateLoop asks for all leases again each time the gateway lost its state, after
// a random wait and one after the other (RFC 6886 §3.7).
func (s *Service) recreateLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.lost:
		}
		s.doubtLeases()
		s.log.WarnContext(ctx, "the gateway lost its state, asking for all leases again", "mappings", len(s.Mappings()))
		if !sleep(ctx, time.Duration(s.cfg.Random()*float64(recreateSpread))) {
			return
		}
		s.recreate(ctx)
	}
}

// doubtLeases notes that no lease is known to stand any more, whatever end it was
// granted: a mapping whose lease is refused now has none. The mappings themselves
// live on as long as they would have.
func (s *Service) doubtLeases() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.doubted = now
	for _, e := range s.entries {
		e.leaseUntil = earlier(e.leaseUntil, now)
	}
}

func (s *Service) recreate(ctx context.Context) {
	s.mu.Lock()
	all := s.sortedLocked()
	s.mu.Unlock()
	for _, e := range all {
		if err := s.refresh(ctx, e); err != nil && unreachable(err) {
			s.refreshSoon() // The scheduler goes on with all of them as the gateway allows.
			return
		}
	}
}

// GatewayBack tells that the gateway answers again after it did not: the renewals
// that failed are tried at once, and not when their waits are over. It does not wait.
func (s *Service) GatewayBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, e := range s.entries {
		if e.failures > 0 && !e.closing && e.refreshAt.After(now) {
			e.refreshAt = now
		}
	}
	s.poke()
}

// refreshSoon lets the scheduler refresh every mapping.
func (s *Service) refreshSoon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := time.Now().Add(retryFirst)
	for _, e := range s.entries {
		if e.refreshAt.IsZero() || e.refreshAt.After(at) {
			e.refreshAt = at
		}
	}
	s.poke()
}

// sleep waits and says whether it could do so to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
