package datagram

import (
	"net/netip"
	"testing"
)

// TestGroup: requests to the server's own group are answered, those to another one, or to
// everybody, are not. What a protocol leaves to others is counted apart.
func TestGroup(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr
	asked := 0
	s := serving(t, &plain{handle: func() []byte { return []byte("y") }}, Config{
		Group: addr("239.255.255.250"), Admit: func(Arrival) bool {
			asked++
			return true
		},
	})
	var tr noter
	client := netip.MustParseAddrPort("192.168.88.10:4000")
	for _, tt := range []struct {
		packet string
		from   Arrival
	}{
		{"x", Arrival{Client: client, Destination: addr("239.255.255.250")}},
		{"v", Arrival{Client: client, Destination: addr("192.168.88.1")}},
		{"x", Arrival{Client: client, Destination: addr("224.0.0.1")}},
		{"x", Arrival{Client: client, Destination: addr("192.168.88.255"), Broadcast: true}},
		{"f", Arrival{Client: client, Destination: addr("239.255.255.250")}},
	} {
		r := reader{transport: &tr}
		s.receive(t.Context(), &r, []byte(tt.packet), tt.from)
		r.working.Wait()
	}
	if got, want := s.Stats(), (Stats{Received: 5, Replies: 2, VersionErrors: 1, NotAdmitted: 2, Foreign: 1}); got != want || asked != 2 {
		t.Errorf("stats = %+v, want %+v; %d were asked about", got, want, asked)
	}
	for _, group := range []string{"192.168.88.1", "ff02::c"} {
		if _, err := NewServer(Config{Protocol: func(byte) Protocol { return nil }, Group: addr(group)}); err == nil {
			t.Errorf("%s is taken for a group", group)
		}
	}
}
