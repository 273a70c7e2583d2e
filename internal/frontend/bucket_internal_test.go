package frontend

import (
	"net/netip"
	"testing"
	"time"
)

// Many look at the clock, and then come to the bucket in another order. Time that was
// counted does not count again.
func TestBucketWhenClocksComeOutOfOrder(t *testing.T) {
	t.Parallel()
	b, start := newBucket(5, 64), time.Now()
	taken := 0
	for i := range 10_000 {
		at := start.Add(time.Duration(i) * time.Millisecond)
		for _, late := range []time.Duration{0, 400 * time.Millisecond, 0} {
			if b.take(0, at.Add(-late)) {
				taken++
			}
		}
		b.charge(at.Add(-time.Second)) // what was not asked for here
		b.give()
	}
	if want := 64 + 5*10; taken != want && taken != want-1 {
		t.Errorf("%d taken in 10 s, want %d", taken, want)
	}
}

// A client's bucket for new mappings is asked in any order too.
func TestGateWhenClocksComeOutOfOrder(t *testing.T) {
	t.Parallel()
	g := newGate(&Config{CreateBurst: 24, Holds: func(netip.Addr) bool { return false }})
	client, start := netip.MustParseAddr("192.168.88.10"), time.Now()
	made := 0
	for i := range 600 {
		at := start.Add(time.Duration(i) * 100 * time.Millisecond)
		if g.mayCreate(client, at) {
			g.created(client, at)
			g.created(client, at.Add(-time.Second))
			made += 2
		}
	}
	if most := 24 + 24/4 + 1; made > most {
		t.Errorf("%d made in a minute, want at most %d", made, most)
	}
}
