package frontend

// Works returns how many pieces of work are kept. -1 if those that are deletions
// are counted wrong.
func (f *Frontend) Works() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	deletions := 0
	for t := range f.works {
		if t.ends() {
			deletions++
		}
	}
	if f.deletions != deletions {
		return -1
	}
	return len(f.works)
}

// Keepers returns how many clients of PCP are remembered.
func (f *Frontend) Keepers() int {
	f.keepers.mu.Lock()
	defer f.keepers.mu.Unlock()
	return len(f.keepers.of)
}
