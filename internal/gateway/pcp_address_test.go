package gateway_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/pcp"
	"doublenat/pcp/pcptest"
)

// TestPCPAddress: without a lease the public address is learned by a mapping that nobody
// keeps, once in ten minutes as long as the epoch runs on, and at once when it does not.
func TestPCPAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPCPRig(t, pcptest.RFC(), nil)
		time.Sleep(time.Second)
		if n := r.far.Stats(); n.Creates != 1 || n.Deletes != 1 || len(r.far.Mappings()) != 0 {
			t.Errorf("after a second: %d made, %d ended, left %+v", n.Creates, n.Deletes, r.far.Mappings())
		}
		time.Sleep(9*time.Minute + 54*time.Second)
		if a, ok := r.External(); !ok || a != publicAddr || r.probes() != 1 || len(r.far.Mappings()) != 0 {
			t.Errorf("%v, %v, %d probes, left %+v", a, ok, r.probes(), r.far.Mappings())
		}
		time.Sleep(30 * time.Second)
		if r.probes() != 2 {
			t.Errorf("%d probes after ten minutes", r.probes())
		}
		next := netip.MustParseAddr("5.6.7.9")
		r.far.SetAddress(next)
		time.Sleep(21 * time.Second)
		if a, _ := r.External(); a != next || len(r.stateLosses()) != 1 {
			t.Errorf("%v after a change, %d losses", a, len(r.stateLosses()))
		}
		r.far.SetAddress(netip.Addr{})
		time.Sleep(30 * time.Second)
		if a, ok := r.External(); ok {
			t.Errorf("%v after it went away", a)
		}
		r.far.SetAddress(publicAddr)
		time.Sleep(2 * time.Minute)
		want := []change{{"invalid IP", "5.6.7.8"}, {"5.6.7.8", "5.6.7.9"}, {"5.6.7.9", "invalid IP"}, {"invalid IP", "5.6.7.8"}}
		if diff := cmp.Diff(want, r.addressChanges()); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
	})
}

// TestPCPAddressOfLeases: leases tell the address, so that nothing is probed; a gateway that
// keeps its epoch when the address changes is found out by the next renewal.
func TestPCPAddressOfLeases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPCPRig(t, pcptest.Miniupnpd(), nil)
		time.Sleep(time.Second)
		begin := r.probes()
		for range 10 {
			if _, err := r.lease(t, request(), 8*time.Second); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Minute)
		}
		next := netip.MustParseAddr("5.6.7.9")
		r.far.SetAddress(next)
		if _, err := r.lease(t, request(), 8*time.Second); err != nil {
			t.Fatal(err)
		}
		if a, ok := r.External(); !ok || a != next || r.probes() != begin {
			t.Errorf("%v, %v, %d probes more", a, ok, r.probes()-begin)
		}
	})
}

// TestPCPAddressRefused: a gateway that grants no probe is well all the same, and the first
// lease tells the address.
func TestPCPAddressRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPCPRig(t, pcptest.Failing(pcp.ResultNotAuthorized), nil)
		time.Sleep(time.Minute)
		if _, ok := r.External(); ok || r.Stats().State != gateway.StateOK || r.probes() != 1 {
			t.Errorf("known: %v, %+v, %d probes", ok, r.Stats(), r.probes())
		}
		r.far.Adjust(func(p *pcptest.Profile) { p.Result = pcp.ResultSuccess })
		if _, err := r.lease(t, request(), 8*time.Second); err != nil {
			t.Fatal(err)
		}
		if a, ok := r.External(); !ok || a != publicAddr {
			t.Errorf("%v, %v", a, ok)
		}
	})
}

// TestPCPAnnouncement: a gateway that announces another epoch is asked at once.
func TestPCPAnnouncement(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		group := netip.MustParseAddrPort("224.0.0.1:5350")
		r := newPCPRig(t, pcptest.RFC(), func(r *pcpRig, cfg *gateway.PCPConfig) {
			cfg.Address, cfg.Refresh = gatewayAddr.Addr(), 5*time.Minute
			cfg.ListenAnnouncements = func() (net.PacketConn, error) { return r.network.Listen(group) }
		})
		time.Sleep(time.Minute)
		r.network.Inject(gatewayAddr, group, r.far.Announcement())
		time.Sleep(time.Minute)
		if n := len(r.stateLosses()); n != 0 {
			t.Errorf("%d losses", n)
		}
		r.far.Restart(false)
		r.network.Inject(gatewayAddr, group, r.far.Announcement())
		time.Sleep(time.Second)
		if n := len(r.stateLosses()); n != 1 || r.Stats().Announcements != 2 {
			t.Errorf("%d losses after %d announcements", n, r.Stats().Announcements)
		}
	})
}

// TestPCPOwnAddress: nothing is asked until it is known, and one that changes makes the
// core ask for everything again.
func TestPCPOwnAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPCPRig(t, pcptest.RFC(), func(r *pcpRig, _ *gateway.PCPConfig) { r.setOwn(netip.Addr{}) })
		_, err := r.lease(t, request(), 8*time.Second)
		if e, ok := errors.AsType[*nat.Error](err); !ok || e.Ambiguous || !errors.Is(err, pcp.ErrNoAddress) {
			t.Error(err)
		}
		if s := r.Stats(); s.State != gateway.StateUnknown || s.Client.Sent != 0 {
			t.Errorf("nothing was asked, and %+v", s)
		}
		inside := netip.MustParseAddr("172.30.254.2")
		r.setOwn(inside)
		if _, err := r.lease(t, request(), 8*time.Second); err == nil {
			t.Error("granted to another address")
		}
		r.setOwn(tunnelAddr.Addr())
		if _, err := r.lease(t, request(), 8*time.Second); err != nil {
			t.Error(err)
		}
		if n := len(r.stateLosses()); n != 1 {
			t.Errorf("%d losses", n)
		}
	})
}
