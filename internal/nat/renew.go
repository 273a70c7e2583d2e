package nat

import (
	"context"
	"slices"
	"time"
)

// renew asks the gateway for the lease again, with the port that it granted. It
// sends nothing to the router, unless the rule's removal was under way or the
// rule matches an external port that changed. The caller holds the client port's lock.
func (s *Service) renew(ctx context.Context, e *entry, req MapRequest) (Grant, error) {
	if grant, ok := s.prolong(e, req); ok {
		return grant, nil
	}
	s.mu.Lock()
	external, closing := e.external, e.closing
	if req.companion {
		// It may be the client's own by now, or have been before a restart, which is not
		// written on its rule: what was promised for it holds.
		req.Lifetime = max(req.Lifetime, time.Until(e.until).Truncate(time.Second))
		if e.adopted {
			req.Lifetime = max(req.Lifetime, e.requested)
		}
	}
	s.mu.Unlock()

	lease, err := s.leaseAgain(ctx, e.key, e.inner, external, req.Lifetime)
	now := time.Now()
	if err != nil {
		s.renewalOutstanding(e, req, now)
		s.renewFailed(e, err, req.Lifetime, now)
		return Grant{}, err
	}
	if closing {
		if err := s.revive(ctx, e, lease, req); err != nil {
			return Grant{}, err
		}
		return promise(lease, req.Lifetime, now), nil
	}
	if old, changed := s.renewed(e, lease, now, req); changed {
		// A client that was answered from the table meanwhile does not know it yet.
		err = s.portChanged(ctx, e, old, now.Sub(req.began) >= s.cfg.AnswerBudget)
	} else if s.unmatched(e) {
		err = s.mend(ctx, e) // It could not be changed before.
	}
	if err != nil {
		return Grant{}, err
	}
	return promise(lease, req.Lifetime, now), nil
}

// prolong answers a renewal from the table where doublenat renews the lease by itself
// and did so lately: the mapping lasts as long as is asked for now, and the gateway
// hears of it with the next refresh. It says whether that was the case.
func (s *Service) prolong(e *entry, req MapRequest) (Grant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	asking := !e.refreshAt.IsZero() && !e.refreshAt.After(now) // The lease or its port is in doubt.
	if s.cfg.Policy != PolicyHold || e.closing || e.adopted || e.pending || e.failures > 0 || asking ||
		e.leaseUntil.Sub(now) <= e.granted/2 || s.unmatchedLocked(e) {
		return Grant{}, false
	}
	e.requested, e.companion, e.unwanted = req.Lifetime, e.companion && req.companion, false
	until := now.Add(req.Lifetime)
	if req.companion {
		until = later(e.until, until)
	}
	e.until = until
	e.refreshAt = s.nextRefresh(e, e.leaseUntil.Add(-e.granted), e.granted)
	s.poke()
	return Grant{ExternalPort: e.external, Lifetime: min(e.granted, req.Lifetime)}, true
}

// leaseAgain renews a lease. A port that the gateway gives instead and that belongs
// to somebody else is given back and another one asked for, a few times.
func (s *Service) leaseAgain(ctx context.Context, key Key, inner, external uint16, lifetime time.Duration) (Lease, error) {
	suggestion := external
	var cause error
	for range grantTries {
		lease, err := s.cfg.Gateway.Lease(ctx, LeaseRequest{
			Protocol: key.Protocol, InnerPort: inner, ExternalPort: suggestion, Lifetime: lifetime, Renewal: true,
		})
		if err != nil {
			return Lease{}, err
		}
		if cause = s.claim(key, lease.ExternalPort); cause == nil {
			s.settle(key.Protocol, inner)
			return lease.within(lifetime), nil
		}
		s.giveBack(ctx, key, inner, time.Now().Add(lease.Lifetime))
		s.unleased(key)
		suggestion = s.anyPort()
	}
	return Lease{}, refusedGrant(cause)
}

// unleased notes that a mapping has no lease any more: a grant was given back, and
// for the gateway that was the mapping's only one.
func (s *Service) unleased(key Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[key]; e != nil {
		e.leaseUntil, e.mayLive = earlier(e.leaseUntil, time.Now()), time.Time{}
	}
}

// renewed notes what the gateway granted to a client's request, and returns the old
// port if it is another one now.
func (s *Service) renewed(e *entry, lease Lease, now time.Time, req MapRequest) (old uint16, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.requested = req.Lifetime
	if req.companion && e.adopted {
		e.until = later(e.until, s.until(now, req.Lifetime, lease.Lifetime))
	} else {
		e.companion = e.companion && req.companion
		e.adopted, e.unwanted = false, false
	}
	e.pending = true
	return s.leasedLocked(e, lease, now)
}

// leasedLocked notes a lease that was granted again. It prolongs the mapping if a
// renewal was asked for: by its client, or by a restart, after which a mapping lives
// on for one lease time.
func (s *Service) leasedLocked(e *entry, lease Lease, now time.Time) (old uint16, changed bool) {
	old = e.external
	if old != lease.ExternalPort {
		s.ports.unclaim(e.key, old)
		// Packets for the old port may come as long as its lease would have stood.
		e.former, e.formerUntil = old, e.leaseUntil
		e.external = lease.ExternalPort
		changed = true
	}
	if e.pending && (!e.adopted || s.cfg.Policy != PolicyHold) {
		until := s.until(now, e.requested, lease.Lifetime)
		if e.companion {
			until = later(e.until, until)
		}
		e.until = later(until, e.promised)
	}
	e.pending = false
	e.failures, e.deniedAt = 0, time.Time{}
	e.leased(lease, now)
	e.refreshAt = s.nextRefresh(e, now, lease.Lifetime)
	s.poke()
	return old, changed
}

// renewalOutstanding notes that the client asked for a renewal which the gateway has
// not answered: it is done as soon as the gateway can, and with policy hold the
// mapping lasts as long as was asked for now.
func (s *Service) renewalOutstanding(e *entry, req MapRequest, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	inherited := req.companion && e.adopted
	e.requested, e.adopted, e.pending = req.Lifetime, inherited, true
	switch until := now.Add(req.Lifetime); {
	case s.cfg.Policy != PolicyHold:
	case req.companion:
		e.until = later(e.until, until)
	default:
		e.until = until
	}
}

// nextRefresh returns when the lease is to be renewed without the client: never, or
// at half of its lifetime (RFC 6886 §3.3) and a little jitter, so that the leases
// made at once do not stay in step. Without policy hold only a promise asks for that.
func (s *Service) nextRefresh(e *entry, now time.Time, granted time.Duration) time.Time {
	end := e.until
	if s.cfg.Policy != PolicyHold {
		end = e.promised
	}
	if !e.leaseUntil.Before(end) {
		return time.Time{}
	}
	half := granted / 2
	return now.Add(half - time.Duration(s.cfg.Random()*float64(half)/10))
}

// renewFailed plans the next try. The mapping stands as long as it would have: a
// gateway that is out of reach may be back before, and one that says no now may
// still hold the lease that it granted. What it may have granted just now without an
// answer is remembered, so that it is given back some day.
func (s *Service) renewFailed(e *entry, err error, asked time.Duration, now time.Time) {
	mayLive := ambiguousUntil(err, asked)
	s.mu.Lock()
	defer s.mu.Unlock()
	e.mayLive = later(e.mayLive, mayLive)
	if e.closing {
		if !mayLive.IsZero() {
			s.oweLocked(e.key, e.inner, mayLive) // Its own lease was given back before.
		}
		return
	}
	switch {
	case unreachable(err):
		e.deniedAt = time.Time{}
	case e.deniedAt.IsZero():
		e.deniedAt = now
		s.log.Warn("the gateway refuses to renew a lease, asking on", "client", e.key.Client.String(), "proto", e.key.Protocol.String(),
			"internal_port", e.key.InternalPort, "external_port", e.external, "err", err)
	}
	e.failures++
	e.refreshAt = now.Add(backoff(e.failures))
	s.poke()
	s.log.Debug("renewing a lease", "client", e.key.Client.String(), "proto", e.key.Protocol.String(),
		"internal_port", e.key.InternalPort, "failures", e.failures, "err", err)
}

// refresh renews a lease without the client: after a failed renewal, for a mapping
// that was adopted, because the policy is to hold it, or because the gateway lost it.
func (s *Service) refresh(ctx context.Context, e *entry) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	unlock, err := s.locks.lock(ctx, e.key.Port())
	if err != nil {
		s.renewFailed(e, &Error{Reason: ReasonUnreachable, Err: err}, 0, time.Now())
		return err
	}
	defer unlock()
	external, lifetime, ok := s.refreshable(e)
	if !ok {
		return nil
	}
	lease, err := s.leaseAgain(ctx, e.key, e.inner, external, lifetime)
	now := time.Now()
	if err != nil {
		s.refreshFailed(ctx, e, err, lifetime, now)
		return err
	}
	s.mu.Lock()
	old, changed := s.leasedLocked(e, lease, now)
	s.mu.Unlock()
	if changed {
		return s.portChanged(ctx, e, old, true)
	}
	return nil
}

// refreshable says whether a lease is still to be renewed, and what to ask for: what
// the client asked for, but with policy hold no longer than the mapping is to last.
func (s *Service) refreshable(e *entry) (external uint16, lifetime time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[e.key] != e || e.closing {
		return 0, 0, false
	}
	lifetime = e.requested
	if s.cfg.Policy == PolicyHold {
		lifetime = min(lifetime, time.Until(e.until)).Truncate(time.Second)
	}
	if lifetime < time.Second {
		e.refreshAt = time.Time{} // What is left is not worth a lease.
		return 0, 0, false
	}
	return e.external, lifetime, true
}

// refreshFailed plans the next try, or ends a mapping without a lease to which the
// gateway goes on saying no: nothing stands behind its rule, and nobody holds it.
func (s *Service) refreshFailed(ctx context.Context, e *entry, err error, asked time.Duration, now time.Time) {
	s.renewFailed(e, err, asked, now)
	s.mu.Lock()
	over := s.cfg.Policy == PolicyClient && !e.deniedAt.IsZero() && now.Sub(e.deniedAt) >= refusalGrace && !now.Before(e.leaseUntil)
	s.mu.Unlock()
	if over {
		// What fails now is tried again by the scheduler.
		_ = s.takeDown(ctx, e, EventLost)
	}
}

// portChanged tells the world that a mapping has another external port, and mends
// the rule at once if it matches that port or forwards to it. A comment alone can wait
// for a reconcile. The error is that of a rule that does not do so yet, where it has to.
func (s *Service) portChanged(ctx context.Context, e *entry, old uint16, untold bool) error {
	s.mu.Lock()
	found, want, m := e.rule, s.ruleOfLocked(e), e.mapping()
	s.mu.Unlock()
	var err error
	if !sameEffect(found, want) {
		err = s.mend(ctx, e)
	}
	s.emit(EventPortChanged, m, func(ev *Event) { ev.OldPort, ev.Untold = old, untold || err != nil })
	s.askForOther(m.Key, old)
	if s.unmatched(e) {
		return err
	}
	return nil
}

func (s *Service) unmatched(e *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unmatchedLocked(e)
}

// unmatchedLocked says whether packets for the external port would pass the mapping's
// rule by, or go to a port of the client that is not the mapping's any more: where it
// depends on that port, the rule should match it and could not be changed yet.
func (s *Service) unmatchedLocked(e *entry) bool {
	want := s.ruleOfLocked(e)
	return s.cfg.Delivery != DeliverInternal && slices.Contains(want.Match[:], e.external) && !slices.Contains(e.rule.Match[:], e.external) ||
		e.key.InternalPort == 0 && e.rule.Target() != e.external
}

// mend makes the rule of a mapping as it should be. What fails is mended by the next
// reconcile too, which is asked for.
func (s *Service) mend(ctx context.Context, e *entry) error {
	ctx, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	s.mu.Lock()
	found, want := e.rule, s.ruleOfLocked(e)
	s.mu.Unlock()
	if err := s.updateRule(ctx, e, found, want); err != nil {
		s.log.WarnContext(ctx, "changing the ports of a rule", "rule_id", found.ID, "inner_port", want.InnerPort,
			"external_port", want.ExternalPort, "err", err)
		s.Reconcile()
		return err
	}
	return nil
}

// updateRule changes the rule of a mapping in place, and remembers what it is then or
// what it may be.
func (s *Service) updateRule(ctx context.Context, e *entry, found, want Rule) error {
	want = withID(want, found.ID)
	if err := s.cfg.Router.UpdateRule(ctx, found, want); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		e.doubtLocked(want, err, s.snapshot)
		return err
	}
	s.noteRule(e, want)
	return nil
}

func withID(r Rule, id string) Rule {
	r.ID = id
	return r
}

// noteRule records how the rule of a mapping stands on the router now.
func (s *Service) noteRule(e *entry, r Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.rule, e.forms, e.standing, e.written = r, nil, s.snapshot, time.Now()
}

// revive makes a mapping whole again that was being removed when its client asked
// for it: whether the rule went is unknown, so the router is asked.
func (s *Service) revive(ctx context.Context, e *entry, lease Lease, req MapRequest) error {
	want := s.wantedRule(e.key, e.inner, lease.ExternalPort, req.Lifetime)
	rule, err := s.ensureRule(ctx, want)
	if err != nil {
		s.giveBack(ctx, e.key, e.inner, lease.mayLive(time.Now()))
		s.mu.Lock()
		defer s.mu.Unlock()
		if lease.ExternalPort != e.external {
			s.ports.unclaim(e.key, lease.ExternalPort)
		}
		return err
	}
	s.noteRule(e, rule)
	s.renewed(e, lease, time.Now(), req)
	s.mu.Lock()
	e.closing, e.interrupted = false, false
	m := e.mapping()
	s.mu.Unlock()
	s.emit(EventCreated, m, nil)
	return nil
}

// ensureRule returns the rule as it stands on the router, and makes it if it does not.
func (s *Service) ensureRule(ctx context.Context, want Rule) (Rule, error) {
	snap, err := s.cfg.Router.Rules(ctx)
	if err != nil {
		return Rule{}, err
	}
	for _, c := range Plan([]Rule{want}, rulesOf(snap.Rules, want.Key)) {
		switch c.Kind {
		case RemoveRule:
			err = s.cfg.Router.RemoveRule(ctx, c.Found)
		case UpdateRule:
			err = s.cfg.Router.UpdateRule(ctx, c.Found, c.Want)
			want.ID = c.Found.ID
		case AddRule:
			want, err = s.cfg.Router.AddRule(ctx, c.Want)
		case TrackRule:
			want = c.Found
		}
		if err != nil {
			return Rule{}, err
		}
	}
	return want, nil
}

func rulesOf(rules []Rule, key Key) []Rule {
	var of []Rule
	for _, r := range rules {
		if r.Key == key {
			of = append(of, r)
		}
	}
	return of
}
