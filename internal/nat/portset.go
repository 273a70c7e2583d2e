package nat

import "math/bits"

// PortSet is a set of port numbers. The zero value is empty and ready for use.
// It is not safe for use by several goroutines at once while one of them writes.
// A nil *PortSet is an empty set for reading.
type PortSet struct {
	words [1 << 16 / 64]uint64
}

// Add puts the port into the set.
func (s *PortSet) Add(port uint16) { s.words[port/64] |= 1 << (port % 64) }

// AddRange puts the ports from low to high, both included, into the set.
// It does nothing when low is greater than high.
func (s *PortSet) AddRange(low, high uint16) {
	if low > high {
		return
	}
	for p := low; p < high; p++ { // The last one apart: after 65535 comes 0.
		s.Add(p)
	}
	s.Add(high)
}

// Has says whether the port is in the set.
func (s *PortSet) Has(port uint16) bool {
	return s != nil && s.words[port/64]&(1<<(port%64)) != 0
}

// Len returns the number of ports in the set.
func (s *PortSet) Len() int {
	if s == nil {
		return 0
	}
	n := 0
	for _, w := range s.words {
		n += bits.OnesCount64(w)
	}
	return n
}
