package nat

// Leftovers counts what must be gone once nothing happens any more and the table
// is empty: locks, work, claims, inner ports, debts.
func (s *Service) Leftovers() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.locks.mu.Lock()
	defer s.locks.mu.Unlock()
	all := map[string]int{
		"locks": len(s.locks.locks), "entries": len(s.entries), "creating": len(s.creating), "hosts": len(s.perHost),
		"inflight": len(s.inflight), "cancels": len(s.cancels), "debts": len(s.debts), "inner": len(s.ports.owner),
		"users": len(s.ports.users), "outer": len(s.ports.outer),
	}
	for name, n := range all {
		if n == 0 {
			delete(all, name)
		}
	}
	return all
}
