package nat

import (
	"context"
	"slices"
	"time"
)

// create makes a mapping: first the lease, then the rule, each once. The caller
// holds the client port's lock.
func (s *Service) create(ctx context.Context, op *mapOp) (Grant, error) {
	req := op.req
	if err := s.admit(req.Key); err != nil {
		return Grant{}, err
	}
	defer s.dismiss(req.Key)

	regular := endBefore(ctx, ruleTime)
	leasing, cancel := context.WithDeadline(ctx, regular)
	defer cancel()
	select {
	case <-s.ready:
	case <-leasing.Done():
		return Grant{}, &Error{Hop: HopRouter, Reason: ReasonUnreachable, Err: errNoRouter}
	}
	if e := s.lookup(req.Key); e != nil {
		return s.renew(ctx, e, req) // The first look at the router adopted it.
	}
	if err := s.only(req.Key); err != nil {
		return Grant{}, err // The first look adopted another port's.
	}
	inner, suggestion, err := s.reserve(req)
	if err != nil {
		return Grant{}, err
	}
	op.after = append(op.after, func() { s.leave(inner) })
	if err := s.clearSuspect(leasing, req.Key, inner); err != nil {
		return Grant{}, err
	}
	lease, err := s.acquire(leasing, req, inner, suggestion)
	if err != nil {
		return Grant{}, err
	}
	ruling, cancel := context.WithDeadline(ctx, later(regular, time.Now().Add(ruleTime)))
	defer cancel()
	return s.finish(ruling, op, inner, lease)
}

// endBefore returns the time that lies as long before the context's deadline, which
// it has.
func endBefore(ctx context.Context, margin time.Duration) time.Time {
	end, _ := ctx.Deadline()
	return end.Add(-margin)
}

// finish makes the rule for a lease that stands and puts the mapping into the
// table, or gives the lease back.
func (s *Service) finish(ctx context.Context, op *mapOp, inner uint16, lease Lease) (Grant, error) {
	req, granted := op.req, time.Now()
	want := s.wantedRule(req.Key, inner, lease.ExternalPort, req.Lifetime)
	rule, err := s.cfg.Router.AddRule(ctx, want)
	if err != nil {
		s.disclaim(req.Key, inner, lease, want, err)
		op.after = append(op.after, func() { s.giveBack(ctx, req.Key, inner, lease.mayLive(granted)) })
		return Grant{}, err
	}
	m := s.insert(req, inner, lease, rule, granted)
	s.emit(EventCreated, m, nil)
	return promise(lease, req.Lifetime, granted), nil
}

// promise returns what a client is told of a lease that was granted a while ago: the
// time that the router took since is not there any more.
func promise(lease Lease, requested time.Duration, granted time.Time) Grant {
	left := min(lease.Lifetime, requested) - time.Since(granted)
	return Grant{ExternalPort: lease.ExternalPort, Lifetime: max(left.Round(time.Second), time.Second)}
}

// admit counts a mapping to be against the limits. So do debts: each keeps an inner
// port from others for as long as its lease may live.
func (s *Service) admit(key Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	owed, owedByClient := s.owedLocked(key)
	switch {
	case s.entries[key] != nil || s.creating[key]:
		return nil
	case s.occupiedLocked(key.Port()):
		return &Error{Reason: ReasonResources, Err: errSymmetric}
	case len(s.entries)+len(s.creating)+owed >= s.cfg.MaxMappings:
		return &Error{Reason: ReasonResources, Err: errTableFull}
	case s.perHost[key.Client]+owedByClient >= s.cfg.MaxMappingsPerClient:
		return &Error{Reason: ReasonResources, Err: errClientFull}
	}
	s.creating[key] = true
	s.perHost[key.Client]++
	return nil
}

// only returns an error if another client port than the key's has the one symmetric mapping.
func (s *Service) only(key Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.occupiedLocked(key.Port()) {
		return &Error{Reason: ReasonResources, Err: errSymmetric}
	}
	return nil
}

// occupiedLocked says whether another client port has the one symmetric mapping, gets
// it, or had it and its rule may still be there.
func (s *Service) occupiedLocked(port ClientPort) bool {
	if !s.cfg.Symmetric {
		return false
	}
	for key := range s.entries {
		if key.Port() != port {
			return true
		}
	}
	for key := range s.creating {
		if key.Port() != port {
			return true
		}
	}
	for _, d := range s.debts {
		if d.hasRule && d.key.Port() != port {
			return true
		}
	}
	return false
}

// dismiss ends the count of a create; the mapping it made counts by itself.
func (s *Service) dismiss(key Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.creating[key] {
		delete(s.creating, key)
		s.discountLocked(key)
	}
}

func (s *Service) discountLocked(key Key) {
	if s.perHost[key.Client]--; s.perHost[key.Client] <= 0 {
		delete(s.perHost, key.Client)
	}
}

// reserve chooses the inner port, from memory, and what to suggest to the gateway:
// the external port of the other protocol where there is one, so that both
// protocols of a port get the same (RFC 6886 §3.3), else what the client would like.
func (s *Service) reserve(req MapRequest) (inner, suggestion uint16, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var have []uint16
	suggestion = req.SuggestedPort
	for k, d := range s.debts {
		if d.key == req.Key {
			have = append(have, k.inner) // Its lease may live: it is taken over.
		}
	}
	if other := s.entries[req.Key.Port().With(req.Key.Protocol.Other())]; other != nil {
		have = append(have, other.inner)
		suggestion = other.external
	}
	inner, ok := s.ports.take(req.Key, have...)
	if !ok {
		return 0, 0, &Error{Reason: ReasonResources, Err: errNoInnerPort}
	}
	return inner, suggestion, nil
}

func (s *Service) leave(inner uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports.leave(inner)
}

// acquire gets a lease whose external port is nobody else's. A port that belongs to
// another client is given back and another one asked for, a few times.
func (s *Service) acquire(ctx context.Context, req MapRequest, inner, suggestion uint16) (Lease, error) {
	var cause error
	for range grantTries {
		lease, err := s.cfg.Gateway.Lease(ctx, LeaseRequest{
			Protocol: req.Key.Protocol, InnerPort: inner, ExternalPort: suggestion, Lifetime: req.Lifetime,
		})
		if err != nil {
			s.owe(req.Key, inner, ambiguousUntil(err, req.Lifetime))
			return Lease{}, err
		}
		if cause = s.claim(req.Key, lease.ExternalPort); cause == nil {
			s.settle(req.Key.Protocol, inner)
			return lease.within(req.Lifetime), nil
		}
		s.log.WarnContext(ctx, "the gateway granted a port that cannot be used", "client", req.Key.Client.String(),
			"proto", req.Key.Protocol.String(), "external_port", lease.ExternalPort, "err", cause)
		s.giveBack(ctx, req.Key, inner, time.Now().Add(lease.Lifetime))
		suggestion = s.anyPort()
	}
	return Lease{}, refusedGrant(cause)
}

// ambiguousUntil returns until when a lease may live that was asked for without
// an answer; the zero time if there is none.
func ambiguousUntil(err error, asked time.Duration) time.Time {
	if ambiguous(err) {
		return time.Now().Add(asked)
	}
	return time.Time{}
}

// anyPort returns a port from 1024 up to suggest.
func (s *Service) anyPort() uint16 {
	return uint16(1024 + s.cfg.Random()*(65535-1024))
}

// claim notes that the gateway granted a port to the key, unless it is somebody else's:
// also one that was, whose rule still takes the packets for it.
func (s *Service) claim(key Key, external uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if e.former == external && e.key != key && e.key.Protocol == key.Protocol && slices.Contains(e.rule.Match[:], external) {
			return errPortConflict
		}
	}
	return s.ports.claim(key, external)
}

// disclaim notes that a mapping is not to be because its rule could not be made. The
// lease is still to be given back.
func (s *Service) disclaim(key Key, inner uint16, lease Lease, want Rule, cause error) {
	s.mu.Lock()
	s.ports.unclaim(key, lease.ExternalPort)
	s.mu.Unlock()
	if ambiguous(cause) {
		s.oweRule(want)
	}
	s.log.Debug("undoing a half made mapping", "client", key.Client.String(), "proto", key.Protocol.String(), "inner_port", inner, "err", cause)
}

// wantedRule returns the rule as it should be for a mapping with these ports.
func (s *Service) wantedRule(key Key, inner, external uint16, lifetime time.Duration) Rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Rule{
		Key: key, InnerPort: inner, ExternalPort: external, Lifetime: lifetime,
		Match: s.ports.match(key, inner, external, 0),
	}
}

// ruleOfLocked returns the rule as it should be for a mapping in the table.
func (s *Service) ruleOfLocked(e *entry) Rule {
	former := e.former
	if !time.Now().Before(e.formerUntil) || s.ports.outer[outerPort{e.key.Protocol, former}] != (Key{}) {
		former = 0
	}
	return Rule{
		Key: e.key, InnerPort: e.inner, ExternalPort: e.external, Lifetime: e.rule.Lifetime,
		Match: s.ports.match(e.key, e.inner, e.external, former),
	}
}

// insert puts a mapping into the table whose layers both stand.
func (s *Service) insert(req MapRequest, inner uint16, lease Lease, rule Rule, granted time.Time) Mapping {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &entry{
		key: req.Key, inner: inner, external: lease.ExternalPort, requested: req.Lifetime, created: granted, companion: req.companion,
		until: s.until(granted, req.Lifetime, lease.Lifetime), rule: rule, standing: s.snapshot, written: time.Now(),
	}
	e.leased(lease, granted)
	// What the client is told is counted from now.
	e.until = later(e.until, time.Now().Add(promise(lease, req.Lifetime, granted).Lifetime))
	e.refreshAt = s.nextRefresh(e, granted, lease.Lifetime)
	if s.doubted.After(granted) { // The lease was lost while the rule was being made.
		e.leaseUntil, e.refreshAt = earlier(e.leaseUntil, s.doubted), time.Now()
	}
	s.addLocked(e)
	return e.mapping()
}

// addLocked puts the entry into the table and the books.
func (s *Service) addLocked(e *entry) {
	s.entries[e.key] = e
	s.perHost[e.key.Client]++
	s.ports.use(e.inner, e.key.Port())
	s.poke()
}

// dropLocked takes the entry out of the table and the books.
func (s *Service) dropLocked(e *entry) {
	delete(s.entries, e.key)
	s.discountLocked(e.key)
	s.ports.unclaim(e.key, e.external)
	s.ports.leave(e.inner)
}

func (s *Service) lookup(key Key) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[key]
}
