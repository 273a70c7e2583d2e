package natpmptest_test

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

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
	t.Run("refusal that moves ports", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p := natpmptest.RFC()
			p.Refusal = natpmptest.Outage{Every: time.Minute, For: time.Minute, Moves: true}
			b := newBench(t, natpmptest.Config{Profile: p})
			request(t, b.dial(t, routerAddr), natpmp.OpMapUDP, 1000, 1000, 7200)
			time.Sleep(90 * time.Second)
			if m := b.Mappings(); len(m) != 1 || m[0].ExternalPort == 1000 {
				t.Errorf("leases %v", m)
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

// Time that passes for the gateway alone: its epoch goes on, and leases are over.
func TestGatewaySkips(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		changes := 0
		b := newBench(t, natpmptest.Config{Profile: natpmptest.EpochFlipper(3), OnChange: func() { changes++ }})
		c := b.dial(t, routerAddr)
		request(t, c, natpmp.OpMapUDP, 1000, 0, 60)
		time.Sleep(10 * time.Second)
		b.Skip(20 * time.Second)
		if e, n := b.Epoch(), len(b.Mappings()); e != 4_000_030 || n != 1 {
			t.Errorf("after 20 s: epoch %d, %d leases", e, n)
		}
		time.Sleep(30*time.Second - time.Millisecond)
		if n := len(b.Mappings()); n != 1 {
			t.Errorf("%d leases in the last moment", n)
		}
		b.Skip(time.Hour)
		if e, n := b.Epoch(), len(b.Mappings()); e != 4_003_659 || n != 0 || changes != 2 {
			t.Errorf("after an hour: epoch %d, %d leases, %d changes", e, n, changes)
		}
		request(t, c, natpmp.OpMapUDP, 1000, 0, 60)
		if r := request(t, c, natpmp.OpMapUDP, 1000, 0, 60); r.Epoch != 1000+20+3600+39 {
			t.Errorf("the second machine's epoch is %d", r.Epoch)
		}
	})
}

// What is skipped again and again.
func TestGatewaySkipsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, natpmptest.Config{Profile: natpmptest.Suspended(time.Hour, 45*time.Minute)})
		time.Sleep(2*time.Hour + time.Second)
		if e := b.Epoch(); e != 4_000_000+7201+5400 {
			t.Errorf("epoch %d", e)
		}
	})
}
