package natpmptest_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

func TestGatewayReportsItsLeases(t *testing.T) {
	changes := 0
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, natpmptest.Config{Profile: natpmptest.RFC(), OnChange: func() { changes++ }})
		start := time.Now()
		c := b.dial(t, routerAddr)
		request(t, c, natpmp.OpMapTCP, 1000, 2000, 60)
		request(t, c, natpmp.OpMapUDP, 1000, 2000, 90)
		request(t, c, natpmp.OpMapUDP, 1000, 2000, 90) // a renewal changes nothing
		want := []natpmptest.Mapping{
			{
				Protocol: natpmp.OpMapUDP, ExternalPort: 2000, Client: routerAddr, InternalPort: 1000,
				Target: netip.AddrPortFrom(routerAddr, 1000), Expires: start.Add(90 * time.Second),
			},
			{
				Protocol: natpmp.OpMapTCP, ExternalPort: 2000, Client: routerAddr, InternalPort: 1000,
				Target: netip.AddrPortFrom(routerAddr, 1000), Expires: start.Add(60 * time.Second),
			},
		}
		if diff := cmp.Diff(want, b.Mappings(), addrs()); diff != "" {
			t.Error(diff)
		}
		if got, ok := b.Lookup(natpmp.OpMapTCP, 2000); !ok || got != want[1] {
			t.Errorf("Lookup: %+v, %t", got, ok)
		}
		if changes != 2 {
			t.Errorf("%d changes, want 2", changes)
		}
		time.Sleep(time.Minute - time.Nanosecond)
		if n := len(b.Mappings()); n != 2 {
			t.Errorf("%d leases just before the first one ends", n)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if changes != 3 {
			t.Errorf("%d changes when nobody asked, want 3", changes)
		}
		if _, ok := b.Lookup(natpmp.OpMapTCP, 2000); ok {
			t.Error("a lease outlived its time")
		}
		if diff := cmp.Diff(want[:1], b.Mappings(), addrs()); diff != "" {
			t.Error(diff)
		}
		request(t, c, natpmp.OpMapUDP, 1000, 0, 0)
		if changes != 4 || len(b.Mappings()) != 0 {
			t.Errorf("after the deletion: %d changes, %v", changes, b.Mappings())
		}
		stats := b.Stats()
		wantStats := natpmptest.Stats{
			Requests: map[natpmp.Opcode]uint64{natpmp.OpMapUDP: 3, natpmp.OpMapTCP: 1},
			Results:  map[natpmp.ResultCode]uint64{natpmp.ResultSuccess: 4},
			Creates:  2, Renewals: 1, Deletes: 1, Expired: 1,
		}
		if diff := cmp.Diff(wantStats, stats); diff != "" {
			t.Error(diff)
		}
	})
}

func TestGatewayDelivery(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		profile  natpmptest.Profile
		internal uint16
		want     uint16
	}{
		"on the internal port":              {natpmptest.Proton(), 20000, 20000},
		"on the external port":              {natpmptest.ProtonExternal(), 20000, 40000},
		"on the external port when int = 0": {natpmptest.Proton(), 0, 40000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, natpmptest.Config{Profile: tt.profile})
				b.GrantNext(40000)
				request(t, b.dial(t, routerAddr), natpmp.OpMapTCP, tt.internal, 1, 60)
				got, ok := b.Lookup(natpmp.OpMapTCP, 40000)
				if want := netip.AddrPortFrom(routerAddr, tt.want); !ok || got.Target != want {
					t.Errorf("delivered to %v, want %v", got.Target, want)
				}
				if _, ok := b.Lookup(natpmp.OpMapUDP, 40000); ok {
					t.Error("the other protocol is mapped as well")
				}
			})
		})
	}
}

func TestGatewayProtonHasFiveSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, natpmptest.Config{Profile: natpmptest.Proton(), Seed: 7})
		c := b.dial(t, routerAddr)
		seen := make(map[uint16]bool)
		for i := range uint16(5) {
			tcp := request(t, c, natpmp.OpMapTCP, 20000+i, 0, 60)
			udp := request(t, c, natpmp.OpMapUDP, 20000+i, 0, 60)
			if tcp.ExternalPort != udp.ExternalPort || tcp.ExternalPort < 34000 || tcp.ExternalPort > 65500 {
				t.Errorf("TCP got %d, UDP got %d", tcp.ExternalPort, udp.ExternalPort)
			}
			seen[tcp.ExternalPort] = true
		}
		if len(seen) != 5 {
			t.Errorf("ports %v, want 5 different ones", seen)
		}
		if r := request(t, c, natpmp.OpMapTCP, 30000, 0, 60); r.Result != natpmp.ResultOutOfResources {
			t.Errorf("the sixth: %v", r.Result)
		}
		if r := request(t, b.dial(t, otherAddr), natpmp.OpMapTCP, 30000, 0, 60); r.Result != natpmp.ResultSuccess {
			t.Errorf("another client: %v", r.Result)
		}
		b.Adjust(func(p *natpmptest.Profile) { p.MaxPorts = 6 })
		if r := request(t, c, natpmp.OpMapTCP, 30000, 0, 60); r.Result != natpmp.ResultSuccess {
			t.Errorf("the sixth of six: %v", r.Result)
		}
	})
}

func TestGatewayReservesTheCompanionPort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, natpmptest.Config{Profile: natpmptest.RFC()})
		a, other := b.dial(t, routerAddr), b.dial(t, otherAddr)
		request(t, a, natpmp.OpMapTCP, 1000, 6881, 60)
		if r := request(t, other, natpmp.OpMapUDP, 1000, 6881, 60); r.Result != natpmp.ResultSuccess || r.ExternalPort == 6881 {
			t.Errorf("another client got %+v", r)
		}
		if r := request(t, a, natpmp.OpMapUDP, 1000, 6881, 60); r.ExternalPort != 6881 {
			t.Errorf("the holder got %+v", r)
		}
	})
}

func TestGatewayMiniupnpdReservesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, natpmptest.Config{Profile: natpmptest.Miniupnpd()})
		request(t, b.dial(t, routerAddr), natpmp.OpMapTCP, 1000, 6881, 60)
		if r := request(t, b.dial(t, otherAddr), natpmp.OpMapUDP, 1000, 6881, 60); r.ExternalPort != 6881 {
			t.Errorf("another client got %+v", r)
		}
	})
}

func TestGatewayDeleteAll(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		profile natpmptest.Profile
		want    int // of A's UDP, A's UDP, A's TCP and B's UDP
	}{
		"of the protocol (RFC 6886 §3.4)": {natpmptest.RFC(), 2},
		"of both protocols (miniupnpd)":   {natpmptest.Miniupnpd(), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, natpmptest.Config{Profile: tt.profile})
				a, other := b.dial(t, routerAddr), b.dial(t, otherAddr)
				request(t, a, natpmp.OpMapUDP, 1000, 0, 60)
				request(t, a, natpmp.OpMapUDP, 1001, 0, 60)
				request(t, a, natpmp.OpMapTCP, 1000, 0, 60)
				request(t, other, natpmp.OpMapUDP, 1000, 0, 60)
				want := natpmp.Response{Opcode: natpmp.OpMapUDP}
				if diff := cmp.Diff(want, request(t, a, natpmp.OpMapUDP, 0, 0, 0), addrs()); diff != "" {
					t.Error(diff)
				}
				if got := b.Mappings(); len(got) != tt.want {
					t.Errorf("%d leases are left, want %d: %v", len(got), tt.want, got)
				}
			})
		})
	}
}

func TestGatewayWantsAnIPv4Address(t *testing.T) {
	t.Parallel()
	if _, err := natpmptest.New(natpmptest.Config{Address: netip.IPv6Loopback()}); err == nil {
		t.Error("no error")
	}
}

// A symmetric port takes one slot for both protocols, and another client has its own.
func TestGatewaySymmetricPortTakesOneSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := natpmptest.Proton()
		p.MaxPorts = 1
		b := newBench(t, natpmptest.Config{Profile: p})
		a, other := b.dial(t, routerAddr), b.dial(t, otherAddr)
		udp := request(t, a, natpmp.OpMapUDP, 0, 0, 60)
		tcp := request(t, a, natpmp.OpMapTCP, 0, 0, 60)
		if tcp.Result != natpmp.ResultSuccess || tcp.ExternalPort != udp.ExternalPort || tcp.InternalPort != udp.ExternalPort {
			t.Errorf("UDP got %+v, TCP got %+v", udp, tcp)
		}
		if r := request(t, other, natpmp.OpMapTCP, 0, 0, 60); r.Result != natpmp.ResultSuccess || r.ExternalPort == udp.ExternalPort {
			t.Errorf("another client got %+v", r)
		}
		b.MovePorts()
		for _, m := range b.Mappings() {
			if m.InternalPort != m.ExternalPort || m.Target.Port() != m.ExternalPort || m.ExternalPort == udp.ExternalPort {
				t.Errorf("moved to %+v", m)
			}
		}
	})
}
