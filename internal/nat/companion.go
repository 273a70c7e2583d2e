package nat

import (
	"context"
	"time"
)

// accompany maps UDP too for a client that mapped or renewed TCP, if that is wanted
// and the client does not do it by itself. It does not wait: what comes of it
// concerns no request.
func (s *Service) accompany(ctx context.Context, req MapRequest) {
	if !s.cfg.Companion || req.companion || req.Key.Protocol != TCP || req.Key.InternalPort == 0 {
		return // Who asks for port 0 is a script, which asks for both.
	}
	req.Key.Protocol, req.SuggestedPort, req.companion = UDP, 0, true
	if e, ok := s.Mapping(req.Key); ok && !e.Companion && !e.Adopted {
		return // It is the client's own.
	}
	if _, err := s.startMap(ctx, req); err != nil {
		s.log.DebugContext(ctx, "mapping the other protocol", "client", req.Key.Client.String(), "err", err)
	}
}

// dismissCompanion ends the mapping that was made only because of the one that its
// client deleted. The caller holds the client port's lock.
func (s *Service) dismissCompanion(ctx context.Context, key Key) error {
	other := key.Port().With(key.Protocol.Other())
	m, ok := s.Mapping(other)
	if inherited := s.cfg.Companion && m.Adopted && key.Protocol == TCP && key.InternalPort != 0; !ok || !m.Companion && !inherited {
		return nil
	}
	return s.takeDown(ctx, s.lookup(other), EventDeleted)
}

// askForOther asks for the other protocol's lease again, because the external port
// that both had belongs to this one no longer: a gateway that gives both protocols
// one port has moved both (RFC 6886 §3.3), and the rule that is wrong now cannot
// wait for the client.
func (s *Service) askForOther(key Key, old uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	other := s.entries[key.Port().With(key.Protocol.Other())]
	if other == nil || other.closing || other.external != old {
		return
	}
	other.refreshAt = time.Now()
	s.poke()
}
