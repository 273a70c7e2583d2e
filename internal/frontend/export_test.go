package frontend

// Works returns how many pieces of work are kept.
func (f *Frontend) Works() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.works)
}
