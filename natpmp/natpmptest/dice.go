package natpmptest

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// dice is a small deterministic source of random numbers (SplitMix64). Each
// decision starts its own from a hash of what is decided on, so that goroutines
// which run in another order get the same numbers.
type dice uint64

// next returns the next 64 random bits.
func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// chance is true with probability p.
func (d *dice) chance(p float64) bool {
	return float64(d.next()>>11)/(1<<53) < p
}

// below returns a number from 0 to n-1, and 0 for n = 0.
func (d *dice) below(n uint64) uint64 {
	if n == 0 {
		return 0
	}
	return d.next() % n
}

// duration returns a time from 0 to less than limit, and 0 without a limit.
func (d *dice) duration(limit time.Duration) time.Duration {
	return time.Duration(d.below(uint64(max(limit, 0)))) //nolint:gosec // below its argument, which fits
}

// hash is FNV-1a, 64 bits, with methods that chain.
type hash uint64

// newHash starts a hash with a seed.
func newHash(seed uint64) hash { return hash(0xcbf29ce484222325).word(seed) }

// bytes adds b.
func (h hash) bytes(b []byte) hash {
	for _, c := range b {
		h = (h ^ hash(c)) * 0x100000001b3
	}
	return h
}

// word adds a number.
func (h hash) word(v uint64) hash {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v)
	return h.bytes(b[:])
}

// addr adds an address.
func (h hash) addr(a netip.Addr) hash {
	b := a.As16()
	return h.bytes(b[:])
}

// dice returns the random source that starts at this hash.
func (h hash) dice() dice { return dice(h) }

// tally numbers equal things that happen in one instant, so that two equal
// packets of one instant have different fates and yet replay. It forgets when
// time has moved on, which bounds it.
type tally struct {
	at   time.Duration
	seen map[hash]uint64
}

// count returns how often h was counted before in the instant at.
func (t *tally) count(at time.Duration, h hash) uint64 {
	switch {
	case t.seen == nil || len(t.seen) > 64:
		// A new map: one that was large once stays slow to clear.
		if t.seen == nil || at != t.at {
			t.seen = make(map[hash]uint64)
		}
	case at != t.at:
		clear(t.seen)
	}
	t.at = at
	n := t.seen[h]
	t.seen[h] = n + 1
	return n
}
