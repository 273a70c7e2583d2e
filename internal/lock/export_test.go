package lock

import "time"

// SetClock puts a clock of the test in the place of the machine's.
func (k *Keeper) SetClock(read func() (mono time.Duration, wall time.Time)) {
	k.clock = func() Instant {
		mono, wall := read()
		return Instant{Mono: mono, Wall: wall}
	}
}

// Writes reports what Mine would say, without ending the term as that does.
func (k *Keeper) Writes() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.view.State == Held && k.span.Check(k.clock()) == nil
}
