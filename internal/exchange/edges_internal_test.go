package exchange

import (
	"net"
	"testing"
	"time"
)

// Packets that were not sent are no silence. Three that were are, and two are not.
func TestLinkCountsWhatWasSent(t *testing.T) {
	t.Parallel()
	l := newLink()
	conn, other := net.Pipe()
	defer other.Close()
	l.up(conn)
	start := time.Now()
	for range 2 * silentPackets {
		l.sending(start)
		l.unsent()
	}
	for range silentPackets - 1 {
		l.sending(start)
	}
	if l.replaceIfSilent(0); l.silent {
		t.Error("replaced after two packets")
	}
	l.sending(start)
	if l.replaceIfSilent(0); !l.silent {
		t.Error("not replaced after three")
	}
}

// A request waits for as many turns as there are others before it, and one more, and no
// longer than until as many were answered.
func TestQueued(t *testing.T) {
	t.Parallel()
	others := func(p *pending[int, int, int]) (c *call[int, int, int]) {
		for port := range 3 {
			c = p.add(1000 + port)
		}
		p.sent(c, 2)
		return c
	}
	reply := func(p *pending[int, int, int], port int) {
		match := func(req int) bool { return req == port }
		p.expects(match)
		p.end(match, true, func(*call[int, int, int]) {})
	}
	t.Run("turns", func(t *testing.T) {
		t.Parallel()
		var p pending[int, int, int]
		c := others(&p)
		for turn, want := range []bool{true, true, true, false} {
			reply(&p, 9) // somebody else's, or a second one
			if got := p.queued(c); got != want {
				t.Errorf("turn %d: %v", turn, got)
			}
		}
	})
	t.Run("answers", func(t *testing.T) {
		t.Parallel()
		var p pending[int, int, int]
		c := others(&p)
		late := p.add(2000)
		for i, port := range []int{1000, 1001} {
			if reply(&p, port); !p.queued(c) {
				t.Errorf("answer %d: not its turn", i)
			}
		}
		if reply(&p, late.req); p.queued(c) {
			t.Error("one that came later was answered, and it still waits for its turn")
		}
	})
	t.Run("nothing is heard", func(t *testing.T) {
		t.Parallel()
		var p pending[int, int, int]
		if c := others(&p); p.queued(c) {
			t.Error("it waits for nothing")
		}
	})
}
