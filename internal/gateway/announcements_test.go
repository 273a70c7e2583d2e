package gateway_test

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/gateway"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// errInterfaceGone is what a socket says whose interface went away.
var errInterfaceGone = errors.New("network is down")

// brittleConn is a socket whose reads fail once it is broken.
type brittleConn struct {
	net.PacketConn

	broken *atomic.Bool
}

func (c brittleConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	if c.broken.Load() {
		return 0, nil, errInterfaceGone
	}
	return n, from, err
}

// TestAnnouncementsAreHeardAgain after the socket could not be opened, and after it
// broke; each change is told once.
func TestAnnouncementsAreHeardAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		group := netip.MustParseAddrPort("224.0.0.1:5350")
		var opened atomic.Int32
		var fails, broken atomic.Bool
		fails.Store(true)
		r := newRig(t, natpmptest.RFC(), func(r *rig, cfg *gateway.Config) {
			cfg.Address = gatewayAddr.Addr()
			cfg.ListenAnnouncements = func() (net.PacketConn, error) {
				opened.Add(1)
				if fails.Load() {
					return nil, errInterfaceGone
				}
				conn, err := r.network.Listen(group)
				return brittleConn{PacketConn: conn, broken: &broken}, err
			}
		})
		heard := func(want uint64) {
			t.Helper()
			r.network.Inject(gatewayAddr, group, natpmp.Response{Address: publicAddr}.Append(nil))
			time.Sleep(time.Second)
			if got := r.Stats().Announcements; got != want {
				t.Errorf("%d announcements heard, want %d", got, want)
			}
		}
		told := func(lost, again int) {
			t.Helper()
			if l, a := r.logged("cannot receive the gateway's announcements"), r.logged("receiving the gateway's announcements again"); l != lost || a != again {
				t.Errorf("told %d times that they are not heard and %d that they are, want %d and %d:\n%s", l, a, lost, again, r.logs.String())
			}
		}
		time.Sleep(time.Hour)
		if n := opened.Load(); n < 15 || n > 25 { // 1, 2, 4 s and so on, then every five minutes
			t.Errorf("%d tries in an hour, want 15 to 25", n)
		}
		told(1, 0)

		fails.Store(false)
		time.Sleep(10 * time.Minute)
		heard(1)
		told(1, 1)

		broken.Store(true)
		heard(1) // the packet shows that it is broken
		time.Sleep(time.Hour)
		broken.Store(false)
		time.Sleep(10 * time.Minute)
		heard(2)
		told(2, 2)
	})
}

// An announcement just after a look is a reason to look again, but not at once.
func TestLooksKeepAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		group := netip.MustParseAddrPort("224.0.0.1:5350")
		r := newRig(t, natpmptest.RFC(), func(r *rig, cfg *gateway.Config) {
			cfg.Address = gatewayAddr.Addr()
			cfg.ListenAnnouncements = func() (net.PacketConn, error) { return r.network.Listen(group) }
		})
		time.Sleep(100 * time.Millisecond)
		r.network.Inject(gatewayAddr, group, natpmp.Response{Address: netip.MustParseAddr("9.9.9.9")}.Append(nil))
		time.Sleep(5 * time.Second)
		if at := r.asked(natpmp.OpExternalAddress); len(at) != 2 || at[1]-at[0] != time.Second {
			t.Errorf("looked at %v, want two looks a second apart", at)
		}
	})
}

// An announcement with the known address and an epoch that began anew is a reason to look:
// the gateway may have lost its leases. One with an epoch that runs on is none.
func TestAnnouncementOfAnotherEpoch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		group := netip.MustParseAddrPort("224.0.0.1:5350")
		r := newRig(t, natpmptest.RFC(), func(r *rig, cfg *gateway.Config) {
			cfg.Address = gatewayAddr.Addr()
			cfg.ListenAnnouncements = func() (net.PacketConn, error) { return r.network.Listen(group) }
		})
		time.Sleep(10*time.Minute + 5*time.Second)
		address, _ := r.External()
		looks := func(epoch uint32) int {
			before := len(r.asked(natpmp.OpExternalAddress))
			r.network.Inject(gatewayAddr, group, natpmp.Response{Address: address, Epoch: epoch}.Append(nil))
			time.Sleep(time.Second)
			return len(r.asked(natpmp.OpExternalAddress)) - before
		}
		if n := looks(605); n != 0 {
			t.Errorf("%d looks because of an epoch that runs on", n)
		}
		if n := looks(0); n != 1 {
			t.Errorf("%d looks because of an epoch that began anew, want 1", n)
		}
	})
}
