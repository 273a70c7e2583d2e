package natpmp

import (
	"context"
	"net/netip"
	"sync"
	"testing"
)

// TestMulticastRequestIsDropped: the reply would have to come from the address
// that was asked, and that is everybody's.
func TestMulticastRequestIsDropped(t *testing.T) {
	t.Parallel()
	s, err := NewServer(ServerConfig{
		Epoch: NewEpoch(),
		Handler: HandlerFunc(func(context.Context, netip.AddrPort, Request) Reply {
			t.Error("the handler was asked")
			return Silence()
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	from := Arrival{Client: netip.MustParseAddrPort("192.168.88.10:4000"), Destination: allHosts()}
	for _, packet := range [][]byte{{0, 0}, {2, 0}, {0, 3}} {
		var handlers sync.WaitGroup
		s.receive(t.Context(), nil, packet, from, &handlers)
		handlers.Wait()
	}
	if got, want := s.Stats(), (ServerStats{Received: 3, NotAdmitted: 3}); got != want {
		t.Errorf("stats = %+v, want %+v", got, want)
	}
}
