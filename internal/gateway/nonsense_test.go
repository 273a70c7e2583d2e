package gateway_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/gateway"
	"doublenat/natpmp/natpmptest"
)

// An address that nobody on the Internet can have is never told, and the log says so
// once. One of a private network or of a provider's NAT is told: it may be of use there.
func TestAddressesThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		address string
		told    bool
		gateway string // "" for the usual one
	}{
		{"255.255.255.255", false, ""},
		{"240.0.0.1", false, ""},
		{"224.0.0.1", false, ""},
		{"127.0.0.1", false, ""},
		{"169.254.1.1", false, ""},
		{"0.1.2.3", false, ""},
		{"0.0.0.0", false, ""},
		{"10.1.2.3", true, ""},
		{"192.168.1.1", true, ""},
		{"100.64.1.2", true, ""},
		{"203.0.113.9", true, ""},
		{"127.5.6.8", true, "127.10.2.1"},
	} {
		t.Run(tt.address, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, natpmptest.RFC(), func(_ *rig, cfg *gateway.Config) {
					if tt.gateway != "" {
						cfg.Address = netip.MustParseAddr(tt.gateway)
					}
				})
				r.remote.SetAddress(netip.MustParseAddr(tt.address))
				time.Sleep(5 * time.Minute)
				want, lines := "unknown", 1
				if tt.told {
					want, lines = tt.address, 0
				}
				if tt.address == "0.0.0.0" {
					lines = 0 // it is how a gateway says that it has none
				}
				if got := r.external(); got != want {
					t.Errorf("told %s, want %s", got, want)
				}
				if got := r.logged("cannot be public"); got != lines {
					t.Errorf("said %d times, want %d", got, lines)
				}
			})
		})
	}
}
