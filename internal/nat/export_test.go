package nat

import "context"

// Leftovers counts what must be gone once nothing happens any more and the table
// is empty: units, hosts, actions, requests, timers, claims, inner ports, debts.
func (s *Service) Leftovers() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.engine
	hosts := 0
	for _, h := range e.hosts {
		if len(h.units) > 0 {
			hosts++
		}
	}
	cancels := len(s.cancels)
	if s.cancels[e.reader.op] != nil {
		cancels-- // A look that is under way is nothing left over.
	}
	all := map[string]int{
		"units": len(e.units), "hosts": hosts, "size": e.size, "ops": len(e.ops), "timers": len(e.timers.waiting) + len(e.timers.resting),
		"waiting": len(s.waiting.who), "cancels": cancels, "debts": e.Status().Debts, "inner": len(e.ports.owner),
		"users": len(e.ports.users), "outer": len(e.ports.outer), "former": len(e.ports.former), "room": len(e.waiting),
	}
	for name, n := range all {
		if n == 0 {
			delete(all, name)
		}
	}
	return all
}

// StartMap begins the work of Map and does not wait for it.
func (s *Service) StartMap(ctx context.Context, req MapRequest) {
	s.request(ctx, func(t TicketID) Input { return Ask{Ticket: t, Request: req} })
}

// Remembered returns how many expired mappings are remembered.
func (s *Service) Remembered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.engine.expired)
}

// KnownClients returns how many clients are known, with and without mappings.
func (e *Engine) KnownClients() int { return len(e.hosts) }

// CompanionAsk is a request that the companion of the other protocol's mapping makes.
func CompanionAsk(req MapRequest) Ask { return Ask{Request: req, by: originCompanion} }
