package nat

import "context"

// accompany maps UDP too for a client that mapped or renewed TCP, if that is wanted and
// the client does not do it by itself: it is a client inside the daemon (decision 0016).
// It does not wait: what comes of it concerns no request.
func (s *Service) accompany(ctx context.Context, req MapRequest) {
	if !s.cfg.Companion || req.Key.Protocol != TCP || req.Key.InternalPort == 0 {
		return // Who asks for port 0 is a script, which asks for both.
	}
	req.Key.Protocol, req.SuggestedPort = UDP, 0
	if m, ok := s.Mapping(req.Key); ok && !m.Companion && !m.Adopted {
		return // It is the client's own.
	}
	s.step(ctx, Ask{Request: req, by: originCompanion})
}

// dismissCompanion ends the mapping that was made only because of the one that its
// client deletes, and returns where the answer comes; nil if there is no such mapping.
func (s *Service) dismissCompanion(ctx context.Context, key Key) <-chan AnswerAction {
	if key.Protocol != TCP {
		return nil // Only UDP is mapped because of the other protocol.
	}
	other := key.Port().With(UDP)
	m, ok := s.Mapping(other)
	inherited := s.cfg.Companion && m.Adopted && key.InternalPort != 0
	if _, own := s.Mapping(key); !own || !ok || !m.Companion && !inherited {
		return nil
	}
	return s.request(ctx, func(t TicketID) Input { return End{Ticket: t, Key: other} })
}
