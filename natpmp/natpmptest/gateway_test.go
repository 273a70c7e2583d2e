package natpmptest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// addrs lets cmp compare addresses.
func addrs() cmp.Options {
	return cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	}
}

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

func TestGatewayRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, natpmptest.Config{Profile: natpmptest.Proton()})
		c := b.dial(t, routerAddr)
		request(t, c, natpmp.OpMapUDP, 1000, 0, 60)
		time.Sleep(10 * time.Second)
		if e := b.Epoch(); e != 4_000_010 {
			t.Errorf("epoch %d", e)
		}
		b.Restart(true)
		time.Sleep(2 * time.Second)
		if e, n := b.Epoch(), len(b.Mappings()); e != 2 || n != 1 {
			t.Errorf("kept: epoch %d, %d leases", e, n)
		}
		b.Restart(false)
		if e, n := b.Epoch(), len(b.Mappings()); e != 0 || n != 0 {
			t.Errorf("forgotten: epoch %d, %d leases", e, n)
		}
		if got, want := fmt.Sprintf("%x", b.Announcement()), "008000000000000005060708"; got != want {
			t.Errorf("announcement %s, want %s", got, want)
		}
	})
}

func TestGatewayChangesItsMind(t *testing.T) {
	changes := 0
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, natpmptest.Config{Profile: natpmptest.Proton(), OnChange: func() { changes++ }})
		c := b.dial(t, routerAddr)
		before := request(t, c, natpmp.OpMapUDP, 1000, 0, 60).ExternalPort
		request(t, c, natpmp.OpMapTCP, 1000, 0, 60)
		b.GrantNext(before, 45678) // the first is taken and skipped
		b.MovePorts()
		if m := b.Mappings(); m[0].ExternalPort != 45678 || m[1].ExternalPort != 45678 {
			t.Errorf("moved to %v", m)
		}
		if _, ok := b.Lookup(natpmp.OpMapUDP, before); ok {
			t.Error("the old port still works")
		}
		if r := request(t, c, natpmp.OpMapUDP, 1000, before, 60); r.ExternalPort != 45678 {
			t.Errorf("the renewal got %d", r.ExternalPort)
		}
		b.SetAddress(netip.MustParseAddr("5.6.7.9"))
		if got := ask(t, c, "0000"); got != "0080000000"+"3d090005060709" {
			t.Errorf("address: %s", got)
		}
		b.SetAddress(netip.Addr{})
		if got := ask(t, c, "0000"); got != "0080000300"+"3d090000000000" {
			t.Errorf("no address: %s", got)
		}
		if changes != 5 {
			t.Errorf("%d changes, want 5", changes)
		}
	})
}

func TestGatewayRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, natpmptest.Config{Profile: natpmptest.RFC()})
		c := b.dial(t, routerAddr)
		request(t, c, natpmp.OpMapUDP, 1000, 1000, 60)
		b.Refuse(true)
		synctest.Wait()
		_ = c.SetReadDeadline(time.Time{})
		_, _ = c.Write([]byte{0, 0})
		if _, err := c.Read(make([]byte, 20)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("asked while it refuses: %v", err)
		}
		if n := len(b.Mappings()); n != 1 {
			t.Errorf("%d leases stand while it refuses", n)
		}
		b.Refuse(false)
		synctest.Wait()
		if got := ask(t, c, "0000"); got == "" {
			t.Error("no answer after it opened again")
		}
	})
}

func TestGatewayRecurrences(t *testing.T) {
	t.Parallel()
	t.Run("refusal", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, natpmptest.Config{Profile: natpmptest.ProtonRefuse(time.Hour, time.Minute)})
			c := b.dial(t, routerAddr)
			for range 3 {
				time.Sleep(59 * time.Minute)
				ask(t, c, "0000")
				time.Sleep(90 * time.Second)
				_ = c.SetReadDeadline(time.Time{})
				_, _ = c.Write([]byte{0, 0})
				if _, err := c.Read(make([]byte, 20)); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("half a minute into it: %v", err)
				}
				time.Sleep(30 * time.Second)
			}
		})
	})
	t.Run("restart", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, natpmptest.Config{Profile: natpmptest.Restarting(time.Hour, false)})
			for range 3 {
				request(t, b.dial(t, routerAddr), natpmp.OpMapUDP, 1000, 0, 7200)
				time.Sleep(time.Hour + time.Second)
				if e, n := b.Epoch(), len(b.Mappings()); e > 5 || n != 0 {
					t.Errorf("epoch %d, %d leases", e, n)
				}
			}
		})
	})
	t.Run("new address", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, natpmptest.Config{Profile: natpmptest.NewAddress(time.Hour, true)})
			port := request(t, b.dial(t, routerAddr), natpmp.OpMapUDP, 1000, 1000, 7200).ExternalPort
			time.Sleep(time.Hour)
			synctest.Wait()
			if a := b.Address().String(); a != "5.6.7.9" {
				t.Errorf("address %s", a)
			}
			if m := b.Mappings(); m[0].ExternalPort == port {
				t.Error("the port stayed")
			}
			b.Adjust(func(p *natpmptest.Profile) { p.ReaddressEvery = 0 })
			time.Sleep(24 * time.Hour)
			if a := b.Address().String(); a != "5.6.7.9" {
				t.Errorf("address %s after it was switched off", a)
			}
		})
	})
}

func TestGatewaySilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, natpmptest.Config{Profile: natpmptest.RFC()})
		c := b.dial(t, routerAddr)
		b.Adjust(func(p *natpmptest.Profile) { p.Silent = true })
		if got := ask(t, c, "000100001000100000000e10"); got != "" {
			t.Errorf("silent, it said %s", got)
		}
		if n := len(b.Mappings()); n != 0 {
			t.Errorf("silent, it made %d leases", n)
		}
		b.Adjust(func(p *natpmptest.Profile) { p.Silent = false })
		if got := ask(t, c, "0000"); got == "" {
			t.Error("no answer")
		}
	})
}

// With a delay requests are served side by side; slow serves one after the other.
func TestGatewayTakesItsTime(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*natpmptest.Profile)
		want   [3]time.Duration
	}{
		"reply delay": {
			func(p *natpmptest.Profile) { p.ReplyDelay = 30 * time.Millisecond },
			[3]time.Duration{30 * time.Millisecond, 30 * time.Millisecond, 30 * time.Millisecond},
		},
		"slow": {
			func(p *natpmptest.Profile) { *p = natpmptest.Slow() },
			[3]time.Duration{2 * time.Second, 4 * time.Second, 6 * time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, natpmptest.Config{})
				b.Adjust(tt.change)
				c := b.dial(t, routerAddr)
				start := time.Now()
				for range 3 {
					write(t, c, "\x00\x00")
				}
				var got [3]time.Duration
				for i := range got {
					hear(t, c)
					got[i] = time.Since(start)
				}
				if got != tt.want {
					t.Errorf("replies after %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestGatewayLies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := natpmptest.NewNetwork(natpmptest.NetworkConfig{Capture: 1000})
		elsewhere := listen(t, n, "10.2.0.9:5351")
		b := newBenchOn(t, n, natpmptest.Config{Profile: natpmptest.Liar(), Elsewhere: elsewhere, Journal: 100})
		c := b.dial(t, routerAddr)
		const truth = "008100000000000010001000" + "00000e10"
		for _, lie := range []string{
			"", // from elsewhere: a connected socket does not hear it
			"00820000" + truth[8:],
			"02810000" + truth[8:],
			truth, // the reply before, which was the same
			truth[:30],
			truth + "00",
			"0081000300000000",
		} {
			first := ask(t, c, "000100001000100000000e10")
			if lie != "" {
				if first != lie {
					t.Errorf("got %s, want the lie %s", first, lie)
				}
				first = hear(t, c)
			}
			if first != truth {
				t.Errorf("got %s, want the truth %s", first, truth)
			}
		}
		if got := n.Packets(natpmptest.PacketRefused); len(got) != 1 ||
			fmt.Sprintf("%x", got[0].Payload) != truth[:20]+"4555"+truth[24:] || got[0].From.Addr().String() != "10.2.0.9" {
			t.Errorf("from elsewhere: %v", got)
		}
		if s := b.Stats(); s.Lies != 7 || s.Results[natpmp.ResultSuccess] != 7 {
			t.Errorf("%+v", s)
		}
		if j := b.Journal(); len(j) != 21 || j[1].From.Addr().String() != "10.2.0.9" || j[2].From != gatewayAddr {
			t.Errorf("journal: %v", j)
		}
		b.Adjust(func(p *natpmptest.Profile) { p.Lies, p.LiesOnly = []natpmptest.Lie{natpmptest.LieVersion}, true })
		if ask(t, c, "0000") == "" || hear(t, c) != "" {
			t.Error("want one lie and no truth")
		}
	})
}

func TestGatewayLossy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, natpmptest.Config{Profile: natpmptest.Lossy(0.5), Seed: 3})
		c := b.dial(t, routerAddr)
		const asked = 200
		answered := 0
		for range asked {
			if ask(t, c, "0000") != "" {
				answered++
			}
		}
		if answered < asked/8 || answered > asked/2 {
			t.Errorf("%d of %d were answered", answered, asked)
		}
		if s := b.Stats(); s.Dropped < asked/2 {
			t.Errorf("%+v", s)
		}
	})
}

func TestGatewayWantsAnIPv4Address(t *testing.T) {
	t.Parallel()
	if _, err := natpmptest.New(natpmptest.Config{Address: netip.IPv6Loopback()}); err == nil {
		t.Error("no error")
	}
}

func TestGatewayListenFails(t *testing.T) {
	t.Parallel()
	g, err := natpmptest.New(natpmptest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	want := errors.New("no socket today")
	err = g.ListenAndServe(t.Context(), func(context.Context) (net.PacketConn, error) { return nil, want })
	if !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

func TestGatewaySocketIsClosedByItsOwner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
		conn := listen(t, n, "10.2.0.1:5351")
		p := natpmptest.RFC()
		p.ReplyDelay = time.Hour
		g, err := natpmptest.New(natpmptest.Config{Profile: p})
		if err != nil {
			t.Fatal(err)
		}
		write(t, dial(t, n, "10.2.0.2:0", "10.2.0.1:5351"), "\x00\x00") // its reply is dropped
		time.AfterFunc(time.Second, func() { conn.Close() })
		start := time.Now()
		if err := g.Serve(t.Context(), conn); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}
