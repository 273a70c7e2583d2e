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
	return !e.closing && (s.innerTakenLocked(e) || s.cfg.onExternal() && s.ports.used[e.key.Protocol].Has(e.external))
}

func (s *Service) innerTakenLocked(e *entry) bool {
	return s.cfg.Delivery != DeliverExternal && s.ports.used[e.key.Protocol].Has(e.inner)
}

// relocate gives both protocols of a client port another inner port, and their leases
// with it. The rule is changed in place, so that connections go on, and the external
// port stays if the gateway allows it. The caller holds the client port's lock.
func (s *Service) relocate(ctx context.Context, port ClientPort) {
	moving, inner, ok := s.movable(port)
	if !ok {
		return
	}
	// The old leases go first: some gateways have few, and give their port to the next;
	// others keep the port as long as one of both protocols has it. While the gateway is
	// out of reach nothing moves: one protocol may be reached as it is.
	if s.vacate(ctx, moving) {
		for _, e := range moving {
			s.move(ctx, e, inner)
		}
	}
	if inner != 0 {
		s.mu.Lock()
		s.ports.leave(inner) // The entries stand on it by themselves now.
		s.mu.Unlock()
	}
}

// movable returns the mappings of a client port that have to move and the inner port to
// which they do: 0 where only the external port is taken, which a renewal replaces. It
// is false when there is nothing to do, or no port to go to.
func (s *Service) movable(port ClientPort) (moving []*entry, inner uint16, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	displaced, innerTaken := false, false
	for _, p := range Protocols() {
		if e := s.entries[port.With(p)]; e != nil && !e.closing {
			moving = append(moving, e)
			displaced = displaced || s.displacedLocked(e)
			innerTaken = innerTaken || s.innerTakenLocked(e)
		}
	}
	if !displaced {
		return nil, 0, false
	}
	if !innerTaken {
		return moving, 0, true
	}
	inner, ok = s.ports.take(moving[0].key)
	return moving, inner, ok
}

// vacate gives the leases of mappings back that are to have others. If the gateway does
// not confirm that, it is false, and those that may be gone are asked for again.
func (s *Service) vacate(ctx context.Context, moving []*entry) bool {
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	for i, e := range moving {
		err := s.cfg.Gateway.Release(ctx, e.key.Protocol, e.inner)
		if err == nil {
			s.unleased(e.key)
			s.settle(e.key.Protocol, e.inner)
			continue
		}
		s.log.DebugContext(ctx, "releasing a lease", "client", e.key.Client.String(), "proto", e.key.Protocol.String(), "inner_port", e.inner, "err", err)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, gone := range moving[:i+1] {
			gone.refreshAt = time.Now()
		}
		s.poke()
		return false
	}
	return true
}

// move gives one mapping another inner port, or only another lease if inner is 0.
func (s *Service) move(ctx context.Context, e *entry, inner uint16) {
	leasing, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	s.mu.Lock()
	suggestion, requested := e.external, e.requested
	s.mu.Unlock()
	if inner == 0 {
		suggestion = s.anyPort()
	} else {
		s.settleOn(e, inner)
	}
	lease, err := s.leaseAgain(leasing, e.key, e.inner, suggestion, requested)
	before, changed := s.arrived(e, lease, err, requested)
	if inner != 0 {
		_ = s.mend(ctx, e) // The comment gets both new ports at once.
	}
	if err != nil {
		s.mu.Lock()
		e.written = time.Time{} // The external port that is to come is written at once.
		s.mu.Unlock()
		return
	}
	m, _ := s.Mapping(e.key)
	s.log.InfoContext(ctx, "mapping moved away from a port that others use", "client", m.Key.Client.String(), "proto", m.Key.Protocol.String(),
		"internal_port", m.Key.InternalPort, "inner_port", m.InnerPort, "external_port", m.ExternalPort)
	if changed {
		_ = s.portChanged(ctx, e, before, true) // What fails is mended by the next reconcile.
	}
}

// arrived notes what came of the request for the lease of a mapping that moved.
func (s *Service) arrived(e *entry, lease Lease, err error, requested time.Duration) (before uint16, changed bool) {
	now := time.Now()
	if err != nil {
		s.renewFailed(e, err, requested, now)
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leasedLocked(e, lease, now)
}

// settleOn books another inner port for a mapping.
func (s *Service) settleOn(e *entry, inner uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports.use(inner, e.key.Port())
	s.ports.leave(e.inner)
	e.inner, e.warned = inner, false
}
