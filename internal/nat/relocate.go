package nat

import (
	"context"
	"slices"
	"time"
)

// relocateAll moves the mappings whose port on the router somebody else has taken: a
// port that others use is left to them, and a mapping that they cover is no mapping.
func (s *Service) relocateAll(ctx context.Context) {
	for _, port := range s.displaced() {
		unlock, err := s.locks.lock(ctx, port)
		if err != nil {
			return
		}
		s.relocate(ctx, port)
		unlock()
	}
}

// displaced returns the client ports with a rule that matches a port of others.
func (s *Service) displaced() []ClientPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []ClientPort
	for _, e := range s.sortedLocked() {
		if s.displacedLocked(e) && !slices.Contains(found, e.key.Port()) {
			found = append(found, e.key.Port())
		}
	}
	return found
}

// displacedLocked says whether somebody else uses the port on which the mapping's
// packets arrive at the router.
func (s *Service) displacedLocked(e *entry) bool {
	used := s.ports.used[e.key.Protocol]
	return !e.closing && (s.cfg.Delivery != DeliverExternal && used.Has(e.inner) || s.cfg.onExternal() && used.Has(e.external))
}

// relocate gives both protocols of a client port another inner port, and their leases
// with it. The rule is changed in place, so that connections go on, and the external
// port stays if the gateway allows it. The caller holds the client port's lock.
func (s *Service) relocate(ctx context.Context, port ClientPort) {
	moving, inner, ok := s.movable(port)
	if !ok {
		return
	}
	for _, e := range moving {
		s.move(ctx, e, inner)
	}
	if inner != 0 {
		s.mu.Lock()
		s.ports.leave(inner) // The entries stand on it by themselves now.
		s.mu.Unlock()
	}
}

// movable returns the mappings of a client port that have to move and the inner port to
// which they do: 0 where packets arrive on the external port, which a renewal replaces.
// It is false when there is nothing to do, or no port to go to.
func (s *Service) movable(port ClientPort) (moving []*entry, inner uint16, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	displaced, stays := false, true
	for _, p := range Protocols() {
		if e := s.entries[port.With(p)]; e != nil && !e.closing {
			moving = append(moving, e)
			displaced = displaced || s.displacedLocked(e)
			stays = stays && (s.cfg.Delivery == DeliverExternal || !s.ports.used[p].Has(e.inner))
		}
	}
	if !displaced {
		return nil, 0, false
	}
	if stays {
		return moving, 0, true
	}
	inner, ok = s.ports.take(moving[0].key)
	return moving, inner, ok
}

// move gives one mapping another inner port, or only another lease if inner is 0. The
// old lease goes first: some gateways have few, and give its port to the next.
func (s *Service) move(ctx context.Context, e *entry, inner uint16) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	s.mu.Lock()
	old, until, external, requested := e.inner, later(e.leaseUntil, e.mayLive), e.external, e.requested
	s.mu.Unlock()
	suggestion := external
	if inner == 0 {
		suggestion = s.anyPort()
	} else {
		s.giveBack(ctx, e.key, old, until)
		s.settleOn(e, inner)
		_ = s.mend(ctx, e)
	}
	lease, err := s.leaseAgain(ctx, e.key, e.inner, suggestion, requested)
	now := time.Now()
	if err != nil {
		s.renewFailed(e, err, requested, now)
		return
	}
	s.mu.Lock()
	before, changed := s.leasedLocked(e, lease, now)
	m := e.mapping()
	s.mu.Unlock()
	s.log.InfoContext(ctx, "mapping moved away from a port that others use", "client", m.Key.Client.String(), "proto", m.Key.Protocol.String(),
		"internal_port", m.Key.InternalPort, "inner_port", m.InnerPort, "external_port", m.ExternalPort)
	if changed {
		_ = s.portChanged(ctx, e, before, true) // What fails is mended by the next reconcile.
	}
}

// settleOn books another inner port for a mapping, which has no lease there yet.
func (s *Service) settleOn(e *entry, inner uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports.use(inner, e.key.Port())
	s.ports.leave(e.inner)
	e.inner, e.warned = inner, false
	e.leaseUntil, e.mayLive = earlier(e.leaseUntil, time.Now()), time.Time{}
}
