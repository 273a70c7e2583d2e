package daemon_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/lab"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// The tests of this file have doublenat behind doublenat: docs/gateways.md, "Cascade".

var (
	// outerHost is where the inner doublenat asks the outer one, innerHost is the inner
	// router to it.
	outerHost = netip.MustParseAddr("192.168.90.1")
	innerHost = netip.MustParseAddr("192.168.90.2")
	container = netip.MustParseAddr(routerostest.ContainerAddress)
	anybody   = netip.MustParseAddrPort("203.0.113.9:40000")
)

// cascade is two rigs, one behind the other.
type cascade struct {
	*lab.Cascade

	t            *testing.T
	outer, inner *rig
}

// inCascade runs a test in virtual time, with both daemons up.
func inCascade(t *testing.T, outer, inner lab.BenchConfig, test func(c *cascade)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		outer.Capture = 4096
		both, err := lab.NewCascade(outer, inner)
		if err != nil {
			t.Fatal(err)
		}
		c := &cascade{Cascade: both, t: t, outer: &rig{both.Outer, t}, inner: &rig{both.Inner, t}}
		defer func() {
			if err := both.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
		}()
		synctest.Wait() // until the gateway has its socket
		c.outer.start(nil)
		c.inner.start(nil)
		test(c)
	})
}

// leads returns where a packet from the Internet arrives: through the gateway's lease, and
// all tables of both routers. The zero value is nowhere.
func (c *cascade) leads(op natpmp.Opcode, external uint16) netip.AddrPort {
	lease, ok := c.Outer.Gateway.Lookup(op, external)
	if !ok {
		return netip.AddrPort{}
	}
	between := c.Outer.Router.Walk(routerostest.Packet{Protocol: op.String(), In: routerostest.TunnelInterface, Src: anybody, Dst: lease.Target})
	if between.Fate != routerostest.Forwarded || between.Dst.Addr() != innerHost {
		return netip.AddrPort{}
	}
	end := c.Inner.Router.Walk(routerostest.Packet{Protocol: op.String(), In: routerostest.WANInterface, Src: between.Src, Dst: between.Dst})
	if end.Fate != routerostest.Forwarded {
		return netip.AddrPort{}
	}
	return end.Dst
}

// reaches fails the test unless the external port leads to the client's port.
func (c *cascade) reaches(op natpmp.Opcode, external uint16, client netip.Addr, port uint16) {
	c.t.Helper()
	if got, want := c.leads(op, external), netip.AddrPortFrom(client, port); got != want {
		c.t.Errorf("%v port %d leads to %v, want %v", op, external, got, want)
	}
}

// agree fails the test unless tables, routers and gateways of both say the same.
func (c *cascade) agree() {
	c.t.Helper()
	c.outer.agree()
	c.inner.agree()
}

// empty fails the test unless nothing is left anywhere.
func (c *cascade) empty() {
	c.t.Helper()
	c.agree()
	if n := len(c.Inner.OurRules("default")) + len(c.Outer.OurRules("default")) + len(c.Outer.Gateway.Mappings()); n > 0 {
		c.t.Errorf("%d rules and leases left", n)
	}
}

// asked returns the map requests since a packet count that reached the outer daemon and its
// gateway, and how many packets there were in all.
func (c *cascade) asked(since int) (outer, gateway, all int) {
	packets := c.Outer.Net.Packets(natpmptest.PacketDelivered)
	for _, p := range packets[since:] {
		req, err := natpmp.ParseRequest(p.Payload)
		if err != nil || req.Opcode == natpmp.OpExternalAddress {
			continue
		}
		switch p.To.Addr() {
		case outerHost:
			outer++
		case gatewayHost:
			gateway++
		}
	}
	return outer, gateway, len(packets)
}

// TestCascade is the life of a mapping: what it costs, what it is to each layer, and its end.
func TestCascade(t *testing.T) {
	t.Parallel()
	inCascade(t, lab.BenchConfig{}, lab.BenchConfig{}, func(c *cascade) {
		address := c.inner.send(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress})
		if address.Address != c.Outer.Gateway.Address() {
			t.Errorf("the public address is %v, want the gateway's %v", address.Address, c.Outer.Gateway.Address())
		}
		_, _, before := c.asked(0)
		innerMark, outerMark := c.Inner.Router.Mark(), c.Outer.Router.Mark()
		first := c.inner.mapped(alice, natpmp.OpMapTCP, 6881)
		toOuter, toGateway, before := c.asked(before)
		if toOuter != 1 || toGateway != 1 {
			t.Errorf("a create took %d requests to the outer doublenat and %d to the gateway, want one each", toOuter, toGateway)
		}
		for name, did := range map[string][]string{"inner": c.inner.commands(innerMark), "outer": c.outer.commands(outerMark)} {
			if diff := cmp.Diff([]string{natAdd}, did); diff != "" {
				t.Errorf("commands of a create to the %s router (-want +got):\n%s", name, diff)
			}
		}
		c.reaches(natpmp.OpMapTCP, first.ExternalPort, alice, 6881)
		c.agree()

		time.Sleep(25 * time.Second)
		_, _, before = c.asked(before)
		innerMark, outerMark = c.Inner.Router.Mark(), c.Outer.Router.Mark()
		again := c.inner.ask(alice, natpmp.OpMapTCP, 6881, first.ExternalPort)
		if toOuter, toGateway, _ = c.asked(before); toOuter != 1 || toGateway != 1 {
			t.Errorf("a renewal took %d requests to the outer doublenat and %d to the gateway, want one each", toOuter, toGateway)
		}
		if did := slices.Concat(c.inner.commands(innerMark), c.outer.commands(outerMark)); len(did) > 0 {
			t.Errorf("a renewal cost the routers %v", did)
		}
		again.Epoch = first.Epoch
		if again != first || first.Lifetime != 60 {
			t.Errorf("renewal answered %+v, create %+v, want the same and the gateway's 60 s", again, first)
		}

		udp := c.inner.mapped(bob, natpmp.OpMapUDP, 6881)
		c.reaches(natpmp.OpMapUDP, udp.ExternalPort, bob, 6881)
		c.inner.send(alice, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 6881})
		time.Sleep(time.Second)
		if got := c.leads(natpmp.OpMapTCP, first.ExternalPort); got.IsValid() {
			t.Errorf("the deleted port leads to %v", got)
		}
		c.reaches(natpmp.OpMapUDP, udp.ExternalPort, bob, 6881)
		c.agree()

		// bob does not renew.
		time.Sleep(2 * time.Minute)
		c.empty()
	})
}

// TestCascadeByPCP has the inner doublenat ask by PCP, which finds the interface by itself.
func TestCascadeByPCP(t *testing.T) {
	t.Parallel()
	outer := lab.BenchConfig{Environ: map[string]string{"PCP": "on"}}
	inner := lab.BenchConfig{Environ: map[string]string{"VPN_GATEWAY": "pcp://192.168.90.1", "MIKROTIK_IN_INTERFACE": ""}}
	inCascade(t, outer, inner, func(c *cascade) {
		first := c.inner.mapped(alice, natpmp.OpMapTCP, 6881)
		c.reaches(natpmp.OpMapTCP, first.ExternalPort, alice, 6881)
		c.agree()
		address := c.inner.send(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress})
		if address.Address != c.Outer.Gateway.Address() {
			t.Errorf("the public address is %v, want the gateway's %v", address.Address, c.Outer.Gateway.Address())
		}
		time.Sleep(25 * time.Second)
		if again := c.inner.ask(alice, natpmp.OpMapTCP, 6881, first.ExternalPort); again.ExternalPort != first.ExternalPort {
			t.Errorf("renewed with %+v, had %+v", again, first)
		}
		c.Inner.Kill()
		c.inner.start(nil)
		c.reaches(natpmp.OpMapTCP, first.ExternalPort, alice, 6881)
		c.Outer.Kill()
		c.outer.start(nil)
		time.Sleep(time.Minute)
		now := c.inner.ask(alice, natpmp.OpMapTCP, 6881, first.ExternalPort)
		c.reaches(natpmp.OpMapTCP, now.ExternalPort, alice, 6881)
		c.agree()
		if err := c.Inner.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
		c.empty()
	})
}

// TestCascadeIdentity shows that to the outer doublenat the LAN behind the inner router is
// one client: the address at which packets for it have to arrive.
func TestCascadeIdentity(t *testing.T) {
	t.Parallel()
	inCascade(t, lab.BenchConfig{}, lab.BenchConfig{}, func(c *cascade) {
		asks := c.Inner.Router.Walk(routerostest.Packet{
			Protocol: "udp", In: "veth1", Src: netip.AddrPortFrom(container, 40000), Dst: netip.AddrPortFrom(outerHost, 5351),
		})
		if asks.Fate != routerostest.Forwarded || asks.Src.Addr() != innerHost {
			t.Fatalf("the inner doublenat's requests leave as another's: %v", asks)
		}
		arrives := c.Outer.Router.Walk(routerostest.Packet{Protocol: "udp", In: routerostest.LANInterface, Src: asks.Src, Dst: asks.Dst})
		if arrives.Fate != routerostest.Forwarded || arrives.Dst.Addr() != container || arrives.Src != asks.Src {
			t.Fatalf("they do not reach the outer doublenat: %v", arrives)
		}
		c.inner.mapped(alice, natpmp.OpMapTCP, 6881)
		c.inner.mapped(bob, natpmp.OpMapTCP, 6881)
		inner := c.Inner.Daemon().Mappings()
		outer := c.Outer.Daemon().Mappings()
		if len(inner) != 2 || len(outer) != 2 {
			t.Fatalf("%d mappings behind %d, want 2 behind 2", len(inner), len(outer))
		}
		for _, m := range inner {
			behind := nat.Key{Client: innerHost, Protocol: m.Key.Protocol, InternalPort: m.InnerPort}
			at := slices.IndexFunc(outer, func(o nat.Mapping) bool { return o.Key == behind })
			if at < 0 || outer[at].ExternalPort != m.ExternalPort {
				t.Errorf("%v is not what the outer doublenat has as %v: %+v", m.Key, behind, outer)
			}
		}
	})
}

// TestCascadePortChanges has the gateway take the port away. Who asks is told at once; who
// lets both layers hold its mapping sees in the epoch that it has to ask.
func TestCascadePortChanges(t *testing.T) {
	t.Parallel()
	t.Run("the client renews", func(t *testing.T) {
		t.Parallel()
		inCascade(t, lab.BenchConfig{}, lab.BenchConfig{}, func(c *cascade) {
			first := c.inner.mapped(alice, natpmp.OpMapTCP, 6881)
			time.Sleep(25 * time.Second)
			c.Outer.Gateway.MovePorts()
			again := c.inner.ask(alice, natpmp.OpMapTCP, 6881, first.ExternalPort)
			if again.ExternalPort == first.ExternalPort || again.Result != natpmp.ResultSuccess {
				t.Errorf("the renewal answered %+v, want another port than %d", again, first.ExternalPort)
			}
			c.reaches(natpmp.OpMapTCP, again.ExternalPort, alice, 6881)
			c.agree()
		})
	})
	t.Run("doublenat holds", func(t *testing.T) {
		t.Parallel()
		hold := lab.BenchConfig{Environ: map[string]string{"LEASE_POLICY": "hold"}}
		inCascade(t, hold, hold, func(c *cascade) {
			first := c.inner.mapped(alice, natpmp.OpMapTCP, 6881)
			time.Sleep(5 * time.Minute)
			c.reaches(natpmp.OpMapTCP, first.ExternalPort, alice, 6881)
			c.Outer.Gateway.MovePorts()
			time.Sleep(time.Minute)
			address := c.inner.send(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress})
			if address.Epoch > 65 {
				t.Errorf("the epoch is %d s, alice does not learn that she has to ask", address.Epoch)
			}
			again := c.inner.ask(alice, natpmp.OpMapTCP, 6881, first.ExternalPort)
			if again.ExternalPort == first.ExternalPort {
				t.Errorf("alice is told port %d still", again.ExternalPort)
			}
			c.reaches(natpmp.OpMapTCP, again.ExternalPort, alice, 6881)
			c.agree()
		})
	})
}

// TestCascadeOuterRestarts ends the outer doublenat in both ways. The inner one sees that it
// has lost its state, and asks for all again before a client does.
func TestCascadeOuterRestarts(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*lab.Bench) error{
		"killed":  func(b *lab.Bench) error { b.Kill(); return nil },
		"stopped": (*lab.Bench).Stop,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// This gateway grants the port that is asked for.
			inCascade(t, lab.BenchConfig{Profile: natpmptest.RFC()}, lab.BenchConfig{}, func(c *cascade) {
				first := c.inner.mapped(alice, natpmp.OpMapTCP, 6881)
				time.Sleep(time.Minute)
				if err := end(c.Outer); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				if again := c.inner.ask(alice, natpmp.OpMapTCP, 6881, first.ExternalPort); again.Result != natpmp.ResultSuccess || again.ExternalPort != first.ExternalPort {
					t.Errorf("without the outer doublenat alice is answered %+v", again)
				}
				c.outer.start(nil)
				time.Sleep(30 * time.Second)
				c.reaches(natpmp.OpMapTCP, first.ExternalPort, alice, 6881)
				c.agree()
			})
		})
	}
}

// TestCascadeInnerIsKilled kills the inner doublenat. Another one finds its rules, and asks
// for the same ports; without one the outer doublenat clears up behind it when the time is over.
func TestCascadeInnerIsKilled(t *testing.T) {
	t.Parallel()
	inCascade(t, lab.BenchConfig{}, lab.BenchConfig{}, func(c *cascade) {
		first := c.inner.mapped(alice, natpmp.OpMapTCP, 6881)
		c.Inner.Kill()
		time.Sleep(10 * time.Second)
		c.reaches(natpmp.OpMapTCP, first.ExternalPort, alice, 6881)
		c.inner.start(nil)
		c.reaches(natpmp.OpMapTCP, first.ExternalPort, alice, 6881)
		if again := c.inner.ask(alice, natpmp.OpMapTCP, 6881, first.ExternalPort); again.ExternalPort != first.ExternalPort {
			t.Errorf("the restart moved port %d to %d", first.ExternalPort, again.ExternalPort)
		}
		c.agree()

		c.Inner.Kill()
		time.Sleep(3 * time.Minute)
		c.outer.empty()
		if n := len(c.Inner.OurRules("default")); n != 1 {
			t.Errorf("%d rules of the dead one, want its one", n)
		}
		c.inner.start(nil)
		// What was adopted is held for as long as alice had asked for.
		time.Sleep(65 * time.Minute)
		c.empty()
	})
}

// TestCascadeStops stops both cleanly. Once the inner one has ended, nothing is left on either
// router nor at the gateway.
func TestCascadeStops(t *testing.T) {
	t.Parallel()
	inCascade(t, lab.BenchConfig{}, lab.BenchConfig{}, func(c *cascade) {
		for i := range uint16(2) {
			c.inner.mapped(alice, natpmp.OpMapTCP, 7000+i)
			c.inner.mapped(alice, natpmp.OpMapUDP, 7000+i)
		}
		for _, b := range []*lab.Bench{c.Inner, c.Outer} {
			if err := b.Stop(); err != nil {
				t.Errorf("stopping: %v", err)
			}
			c.empty()
		}
	})
}

// TestCascadeOuterIsGone stops the outer doublenat first. The inner one cannot give anything
// back, and says so; but nothing is left, for the outer one took it all down.
func TestCascadeOuterIsGone(t *testing.T) {
	t.Parallel()
	inCascade(t, lab.BenchConfig{}, lab.BenchConfig{}, func(c *cascade) {
		c.inner.mapped(alice, natpmp.OpMapTCP, 6881)
		if err := c.Outer.Stop(); err != nil {
			t.Errorf("stopping the outer one: %v", err)
		}
		if err := c.Inner.Stop(); err == nil || !strings.Contains(err.Error(), "1 of 1 leases not released") {
			t.Errorf("the inner one says %v, want that it could not give its lease back", err)
		}
		c.empty()
	})
}

// TestCascadeIsFull has the limit for one client reached: the whole inner LAN is one to the
// outer doublenat. Who comes too late hears result 4, the others keep theirs, and so does
// the outer LAN.
func TestCascadeIsFull(t *testing.T) {
	t.Parallel()
	outer := lab.BenchConfig{Profile: natpmptest.RFC(), Environ: map[string]string{"MAX_MAPPINGS_PER_CLIENT": "2"}}
	inCascade(t, outer, lab.BenchConfig{}, func(c *cascade) {
		carol := netip.MustParseAddr("192.168.88.12")
		first := c.inner.mapped(alice, natpmp.OpMapTCP, 6881)
		second := c.inner.mapped(bob, natpmp.OpMapTCP, 6881)
		if got := c.inner.ask(carol, natpmp.OpMapTCP, 6881, 0); got.Result != natpmp.ResultOutOfResources {
			t.Errorf("carol is answered %+v, want result 4", got)
		}
		c.outer.mapped(netip.MustParseAddr("192.168.90.20"), natpmp.OpMapTCP, 6881)
		c.reaches(natpmp.OpMapTCP, first.ExternalPort, alice, 6881)
		c.reaches(natpmp.OpMapTCP, second.ExternalPort, bob, 6881)
		c.agree()

		c.inner.send(bob, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 6881})
		third := c.inner.mapped(carol, natpmp.OpMapTCP, 6881)
		c.reaches(natpmp.OpMapTCP, third.ExternalPort, carol, 6881)
		c.agree()
	})
}

// TestCascadeSurvives breaks what is between and beyond, while a client renews as it is told
// to. Each time it is reached again, on the port that it knows.
func TestCascadeSurvives(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*cascade){
		"the gateway forgets": func(c *cascade) { c.Outer.Gateway.Restart(false) },
		"the outer router reboots": func(c *cascade) {
			c.Outer.Router.Reboot(routerostest.Reboot{Down: 20 * time.Second, LoseLast: time.Hour})
		},
		"the inner router reboots": func(c *cascade) {
			c.Inner.Router.Reboot(routerostest.Reboot{Down: 20 * time.Second, LoseLast: time.Hour})
		},
		"every third packet between them is lost": func(c *cascade) {
			c.Outer.Net.SetFaults(natpmptest.Between(innerHost, outerHost), natpmptest.Faults{Loss: 0.33})
			c.Outer.Net.SetFaults(natpmptest.Between(outerHost, innerHost), natpmptest.Faults{Loss: 0.33})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inCascade(t, lab.BenchConfig{Seed: 7, Profile: natpmptest.Short(2 * time.Minute)}, lab.BenchConfig{Seed: 8}, func(c *cascade) {
				told := c.inner.mapped(alice, natpmp.OpMapTCP, 6881)
				time.Sleep(time.Minute)
				fault(c)
				for range 10 {
					told = c.inner.ask(alice, natpmp.OpMapTCP, 6881, told.ExternalPort)
					if told.Result != natpmp.ResultSuccess {
						t.Fatalf("alice is answered %+v", told)
					}
					time.Sleep(time.Minute)
					c.reaches(natpmp.OpMapTCP, told.ExternalPort, alice, 6881)
				}
				c.Outer.Net.ClearFaults()
				c.agree()
			})
		})
	}
}
