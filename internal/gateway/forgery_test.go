package gateway_test

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// forgeries are replies that would do harm if they were believed.
func forgeries() [][]byte {
	var packets [][]byte
	for _, resp := range []natpmp.Response{
		{Address: netip.MustParseAddr("9.9.9.9"), Epoch: 4_000_000},
		{Address: netip.MustParseAddr("9.9.9.9"), Epoch: 4_294_967_295},
		{Address: netip.MustParseAddr("5.6.7.8"), Epoch: 0},
		{Result: natpmp.ResultNetworkFailure},
		{Result: natpmp.ResultUnsupportedVersion},
		{Opcode: natpmp.OpMapTCP, InternalPort: 20000, ExternalPort: 666, Lifetime: 3600, Epoch: 4_000_000},
		{Opcode: natpmp.OpMapTCP, InternalPort: 20000, Epoch: 0},
		{Opcode: natpmp.OpMapTCP, InternalPort: 20000, Result: natpmp.ResultNotAuthorized},
	} {
		packets = append(packets, resp.Append(nil))
	}
	return packets
}

// requests returns how many the gateway got.
func (r *rig) requests() uint64 {
	var n uint64
	for _, of := range r.remote.Stats().Requests {
		n += of
	}
	return n
}

// unharmed fails the test unless everything is as the true gateway said.
func (r *rig) unharmed(t *testing.T) {
	t.Helper()
	if got := r.external(); got != publicAddr.String() || len(r.addressChanges()) != 1 {
		t.Errorf("the address is %s after the changes %v", got, r.addressChanges())
	}
	if n := len(r.stateLosses()); n != 0 {
		t.Errorf("%d losses of state were believed", n)
	}
}

// Replies from elsewhere change nothing at any time, and replies from the gateway's
// own address and port nothing unless a request is in flight.
func TestForgedRepliesChangeNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.Proton(), nil)
		time.Sleep(time.Second)
		first, err := r.Lease(t.Context(), nat.LeaseRequest{Protocol: nat.TCP, InnerPort: 20000, Lifetime: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ours := r.network.Packets(natpmptest.PacketSent)[0].From
		asked := r.requests()
		flood := func(rounds int, sources ...netip.AddrPort) {
			for range rounds {
				for _, packet := range forgeries() {
					for _, from := range sources {
						r.network.Inject(from, ours, packet)
					}
				}
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Second) // they have all arrived
		}
		stranger, otherPort := netip.MustParseAddrPort("10.2.0.66:5351"), netip.AddrPortFrom(gatewayAddr.Addr(), 5350)
		flood(100, stranger, otherPort, gatewayAddr)
		r.unharmed(t)
		if now := r.requests(); now != asked {
			t.Errorf("%d requests were sent because of forged replies", now-asked)
		}

		renewed := make(chan nat.Lease, 1)
		go func() {
			lease, err := r.Lease(t.Context(), nat.LeaseRequest{
				Protocol: nat.TCP, InnerPort: 20000, ExternalPort: first.ExternalPort, Lifetime: time.Hour, Renewal: true,
			})
			if err != nil {
				t.Error(err)
			}
			renewed <- lease
		}()
		flood(100, stranger, otherPort)
		if second := <-renewed; second.ExternalPort != first.ExternalPort {
			t.Errorf("the lease has port %d, want %d", second.ExternalPort, first.ExternalPort)
		}
		r.unharmed(t)
	})
}

// Announcements in the gateway's name make us ask it, once a second at most, and
// believe what it says.
func TestForgedAnnouncementsChangeNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		group := netip.MustParseAddrPort("224.0.0.1:5350")
		r := newRig(t, natpmptest.Proton(), func(r *rig, cfg *gateway.Config) {
			cfg.Address = gatewayAddr.Addr()
			cfg.ListenAnnouncements = func() (net.PacketConn, error) { return r.network.Listen(group) }
		})
		time.Sleep(time.Second)
		before := r.requests()
		for range 100 {
			for _, packet := range forgeries() {
				r.network.Inject(gatewayAddr, group, packet)
			}
			time.Sleep(100 * time.Millisecond)
		}
		r.unharmed(t)
		if looks := r.requests() - before; looks < 9 || looks > 11 {
			t.Errorf("%d looks in ten seconds, want one in each", looks)
		}
	})
}
