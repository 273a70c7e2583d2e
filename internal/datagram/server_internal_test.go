package datagram

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
)

// TestMulticastRequestIsDropped: the reply would have to come from the address
// that was asked, and that is everybody's.
func TestMulticastRequestIsDropped(t *testing.T) {
	t.Parallel()
	s := serving(t, &plain{handle: func() []byte {
		t.Error("the handler was asked")
		return nil
	}}, Config{})
	from := Arrival{Client: netip.MustParseAddrPort("192.168.88.10:4000"), Destination: netip.MustParseAddr("224.0.0.1")}
	for _, packet := range []string{"x", "v", "o"} {
		var r reader
		s.receive(t.Context(), &r, []byte(packet), from)
		r.working.Wait()
	}
	if got, want := s.Stats(), (Stats{Received: 3, NotAdmitted: 3}); got != want {
		t.Errorf("stats = %+v, want %+v", got, want)
	}
}

// noter is a transport that notes which replies yield.
type noter struct {
	mu     sync.Mutex // guards what follows
	yields []bool
}

func (n *noter) read([]byte) (int, Arrival, error) { return 0, Arrival{}, net.ErrClosed }

func (n *noter) write(_ []byte, _ Arrival, yields bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.yields = append(n.yields, yields)
	return nil
}

// TestRepliesToStrangersYield: who has a mapping gets a reply while those of others are
// dropped for want of room.
func TestRepliesToStrangersYield(t *testing.T) {
	t.Parallel()
	var rank Rank
	s := serving(t, &plain{handle: func() []byte { return []byte("y") }}, Config{
		Rank: func(netip.Addr, Subject) Rank { return rank },
	})
	var tr noter
	from := Arrival{Client: netip.MustParseAddrPort("192.168.88.10:4000")}
	for _, rank = range []Rank{RankStranger, RankHolder, RankRenewal} {
		for _, packet := range []string{"x", "v", "o"} {
			r := reader{transport: &tr}
			s.receive(t.Context(), &r, []byte(packet), from)
			r.working.Wait()
		}
	}
	if want := []bool{true, true, true, false, false, false, false, false, false}; !slices.Equal(tr.yields, want) {
		t.Errorf("yields: %v, want %v", tr.yields, want)
	}
}

// TestPanicsCostOneAnswer: at once or in work, a panic of a protocol is a failure of that
// request.
func TestPanicsCostOneAnswer(t *testing.T) {
	t.Parallel()
	s := serving(t, &plain{handle: func() []byte { panic("a bug") }}, Config{})
	var tr noter
	r := reader{transport: &tr}
	for _, packet := range []string{"x", "p"} {
		s.receive(t.Context(), &r, []byte(packet), Arrival{Client: netip.MustParseAddrPort("192.168.88.10:4000")})
	}
	r.working.Wait()
	if got, want := s.Stats(), (Stats{Received: 2, Replies: 2, Panics: 2}); got != want {
		t.Errorf("stats = %+v, want %+v", got, want)
	}
}
