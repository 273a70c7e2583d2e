package lab

import (
	"errors"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"doublenat/internal/nat"
)

// TestPortsRefuseOnceClosed opens and closes ports of a relay: when sync has
// returned, a closed port refuses already.
func TestPortsRefuseOnceClosed(t *testing.T) {
	t.Parallel()
	pid := os.Getpid()
	public := netip.AddrFrom4([4]byte{127, 66, byte(pid >> 8), byte(pid)})
	r := newRelay("relay", public, false, func(port, netip.AddrPort) (hop, bool) { return hop{}, false }, func(crossing) {})
	defer r.close()
	outside := internet{addr: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	for range 200 {
		for _, protocol := range nat.Protocols() {
			p := port{protocol, 30000}
			if err := r.sync(t.Context(), []port{p}); err != nil {
				if errors.Is(err, syscall.EADDRNOTAVAIL) {
					t.Skip("this system has one loopback address")
				}
				t.Fatal(err)
			}
			if err := r.sync(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			if err := outside.refuses(t.Context(), netip.AddrPortFrom(public, p.number), protocol); err != nil {
				t.Fatal(err)
			}
		}
	}
}
