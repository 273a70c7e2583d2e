package daemon

import (
	"net/netip"
	"testing"
	"time"

	"doublenat/internal/datagram"
)

// BOOTID grows with each loss, also with two in a second, and with a clock that was set back.
func TestBootID(t *testing.T) {
	t.Parallel()
	var b bootID
	for _, tt := range []struct {
		now  int64
		want uint32
	}{{1000, 1000}, {1000, 1001}, {2000, 2000}, {1500, 2001}, {2500, 2500}} {
		if b.begin(time.Unix(tt.now, 0)); b.Load() != tt.want {
			t.Errorf("at %d it is %d, want %d", tt.now, b.Load(), tt.want)
		}
	}
}

// A search at any of this host's addresses is told one at which the device listens: the one that
// was asked, if that is all of them, else its own.
func TestLocationOfAnotherAddress(t *testing.T) {
	t.Parallel()
	asked := datagram.Arrival{Client: netip.MustParseAddrPort("192.168.88.10:4000"), Destination: netip.MustParseAddr("192.168.99.2")}
	for at, want := range map[string]string{
		"0.0.0.0:5351":      "192.168.99.2:5351",
		"192.168.88.2:5351": "192.168.88.2:5351",
	} {
		v := &upnpServer{at: netip.MustParseAddrPort(at)}
		if got := v.location(asked); got != netip.MustParseAddrPort(want) {
			t.Errorf("listening at %s it is at %v, want %s", at, got, want)
		}
	}
}
