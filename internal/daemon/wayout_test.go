package daemon_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"doublenat/igd"
	"doublenat/igd/igdtest"
	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
	"doublenat/pcp/pcptest"
	"doublenat/routeros/routerostest"
)

// byPCP is a bench whose gateway speaks PCP.
func byPCP(profile pcptest.Profile) lab.BenchConfig {
	return lab.BenchConfig{
		Environ: map[string]string{"VPN_GATEWAY": "pcp://10.2.0.1"},
		MakeGateway: func(cfg natpmptest.Config) (*natpmptest.Gateway, error) {
			g, err := pcptest.New(profile, cfg)
			if err != nil {
				return nil, err
			}
			return g.Gateway, nil
		},
	}
}

// With a gateway that speaks PCP all is as with NAT-PMP: a mapping, its renewal, a crash, both
// kinds of gateways' nonces, and nothing is left in the end.
func TestPCPGateway(t *testing.T) {
	t.Parallel()
	for _, profile := range []pcptest.Profile{pcptest.RFC(), pcptest.Miniupnpd(), pcptest.Short(time.Minute)} {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			onBench(t, byPCP(profile), func(r *rig) {
				tcp, udp := r.mapped(alice, natpmp.OpMapTCP, 6881), r.mapped(alice, natpmp.OpMapUDP, 6881)
				r.agree()
				if address := r.send(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress}); address.Result != natpmp.ResultSuccess {
					r.t.Errorf("the address is %+v", address)
				}
				time.Sleep(time.Duration(tcp.Lifetime) * time.Second / 2)
				if again := r.ask(alice, natpmp.OpMapTCP, 6881, 0); again.ExternalPort != tcp.ExternalPort {
					r.t.Errorf("renewed with %+v, had %+v", again, tcp)
				}
				r.Kill()
				r.start(nil)
				if again := r.ask(alice, natpmp.OpMapUDP, 6881, 0); again.ExternalPort != udp.ExternalPort {
					r.t.Errorf("after a crash %+v, had %+v", again, udp)
				}
				r.agree()
				if err := r.Stop(); err != nil {
					r.t.Errorf("stop: %v", err)
				}
				if n := len(r.OurRules("default")) + len(r.Gateway.Mappings()); n > 0 {
					r.t.Errorf("%d rules and leases are left", n)
				}
			})
		})
	}
}

// A gateway that refuses everything leaves nothing half made, and the page says what is asked.
func TestPCPGatewayThatRefuses(t *testing.T) {
	t.Parallel()
	onBench(t, byPCP(pcptest.Failing(pcp.ResultNotAuthorized)), func(r *rig) {
		if got := r.ask(alice, natpmp.OpMapTCP, 6881, 0); got.Result != natpmp.ResultNotAuthorized {
			r.t.Errorf("got %+v", got)
		}
		r.empty()
		r.Gateway.Refuse(true)
		time.Sleep(time.Minute)
		if got := r.hop("gateway"); !strings.Contains(got, "PCP") {
			r.t.Errorf("the page says %q", got)
		}
	})
}

// hop returns what the page says about one.
func (r *rig) hop(name string) string {
	for _, h := range r.Daemon().Status().Hops {
		if string(h.Name) == name {
			return h.Summary + ", " + h.Detail
		}
	}
	return ""
}

// onDevice runs a test with a daemon that has a box with UPnP before its router, at the
// line to the Internet.
func onDevice(t *testing.T, profile igdtest.Profile, kind string, test func(r *rig, box *igdtest.Gateway)) {
	t.Helper()
	const boxAddress = "198.51.100.1"
	box := igdtest.New(igdtest.Config{Profile: profile})
	place := &igdtest.Place{Gateway: box, Address: netip.MustParseAddr(boxAddress), Client: netip.MustParseAddr(routerostest.WANAddress)}
	cfg := lab.BenchConfig{
		Environ: map[string]string{"VPN_GATEWAY": kind + "://" + boxAddress},
		Options: func(o *daemon.Options) {
			o.Network.DialGateway = func(context.Context, netip.AddrPort) (net.Conn, error) {
				return nil, errors.New("the box speaks UPnP alone")
			}
			o.Network.DialDevice, o.Network.ListenSearch = place.Dial, place.ListenSearch
		},
	}
	onBenchWith(t, cfg, func(b *lab.Bench) (stop func()) {
		place.Packets = b.Net.Listen
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- place.Run(ctx) }()
		return func() {
			cancel()
			// The bench has closed the network by now, which the box may see first.
			if err := <-done; err != nil && !errors.Is(err, net.ErrClosed) {
				t.Errorf("the box: %v", err)
			}
		}
	}, func(r *rig) {
		test(r, box)
		if n := r.requests(); n > 0 {
			r.t.Errorf("%d packets for the VPN gateway", n)
		}
	})
}

// A box of an Internet provider that speaks UPnP: mappings to the router's own address, in the
// line to the Internet, kept when the box forgets them, over a crash, and gone at a stop,
// permanent ones included.
func TestUPnPGateway(t *testing.T) {
	t.Parallel()
	for _, profile := range []igdtest.Profile{igdtest.IGD1(), igdtest.IGD2(), igdtest.PPP(), igdtest.Permanent()} {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			onDevice(t, profile, "igd", func(r *rig, box *igdtest.Gateway) {
				first := r.mapped(alice, natpmp.OpMapTCP, 6881)
				stands := func(when string) {
					r.t.Helper()
					all := box.Mappings()
					if len(all) != 1 || all[0].External != first.ExternalPort || all[0].Client.String() != routerostest.WANAddress || all[0].Protocol != igd.TCP {
						r.t.Fatalf("%s: the box has %v", when, all)
					}
					if got := r.fromTheInternet("tcp", all[0].Internal); got != "192.168.88.10:6881" {
						r.t.Errorf("%s: packets go to %q", when, got)
					}
				}
				stands("mapped")
				if got := r.send(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress}); got.Address.String() != "5.6.7.8" {
					r.t.Errorf("the address is %+v", got)
				}
				box.Restart(false)
				time.Sleep(3 * time.Minute)
				stands("after the box forgot")
				r.Kill()
				r.start(nil)
				if again := r.ask(alice, natpmp.OpMapTCP, 6881, 0); again.ExternalPort != first.ExternalPort {
					r.t.Errorf("after a crash %+v, had %+v", again, first)
				}
				time.Sleep(10 * time.Minute)
				stands("after a crash")
				if err := r.Stop(); err != nil {
					r.t.Errorf("stop: %v", err)
				}
				if left := r.marked(); len(left)+len(box.Mappings()) > 0 {
					r.t.Errorf("left: %v, %v", left, box.Mappings())
				}
			})
		})
	}
}

// What a run before left at the box, and nobody wants any more, is removed: of our name only.
func TestUPnPLeftovers(t *testing.T) {
	t.Parallel()
	onDevice(t, igdtest.Permanent(), "igd", func(r *rig, box *igdtest.Gateway) {
		router := netip.MustParseAddr(routerostest.WANAddress)
		r.Kill()
		box.Put(igd.Mapping{Protocol: igd.TCP, External: 7001, Client: router, Internal: 27001, Description: "doublenat-default"})
		box.Put(igd.Mapping{Protocol: igd.TCP, External: 7002, Client: router, Internal: 27002, Description: "somebody else"})
		r.start(nil)
		time.Sleep(10 * time.Minute)
		if all := box.Mappings(); len(all) != 1 || all[0].External != 7002 {
			r.t.Errorf("the box has %v", all)
		}
	})
}

// auto stays with the language in which the gateway answered first; what comes before that
// waits.
func TestAuto(t *testing.T) {
	t.Parallel()
	natpmpOnly := byPCP(pcptest.NATPMPOnly())
	for name, tt := range map[string]struct {
		cfg  lab.BenchConfig
		kind string
	}{
		"NAT-PMP": {lab.BenchConfig{}, "NAT-PMP"},
		"PCP":     {byPCP(pcptest.RFC()), "PCP"},
		"both":    {byPCP(pcptest.Miniupnpd()), "NAT-PMP"},
		"no PCP":  {natpmpOnly, "NAT-PMP"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.Environ = map[string]string{"VPN_GATEWAY": "auto://10.2.0.1"}
			tt.cfg.Options = func(o *daemon.Options) {
				o.Network.ListenSearch = func(context.Context) (net.PacketConn, error) { return nil, errors.New("no searches here") }
			}
			onBench(t, tt.cfg, func(r *rig) {
				first := r.mapped(alice, natpmp.OpMapTCP, 6881)
				if got := r.Daemon().GatewayKind(); got != tt.kind {
					r.t.Errorf("asked by %s, want %s", got, tt.kind)
				}
				r.Gateway.Refuse(true)
				time.Sleep(20 * time.Second)
				r.Gateway.Refuse(false)
				time.Sleep(20 * time.Second)
				if again := r.ask(alice, natpmp.OpMapTCP, 6881, 0); again.ExternalPort != first.ExternalPort || r.Daemon().GatewayKind() != tt.kind {
					r.t.Errorf("later %+v, by %s", again, r.Daemon().GatewayKind())
				}
				r.agree()
			})
		})
	}
	t.Run("UPnP", func(t *testing.T) {
		t.Parallel()
		onDevice(t, igdtest.Permanent(), "auto", func(r *rig, box *igdtest.Gateway) {
			router := netip.MustParseAddr(routerostest.WANAddress)
			box.Put(igd.Mapping{Protocol: igd.TCP, External: 7001, Client: router, Internal: 27001, Description: "doublenat-default"})
			r.mapped(alice, natpmp.OpMapTCP, 6881)
			if got := r.Daemon().GatewayKind(); got != "UPnP" {
				r.t.Errorf("asked by %s", got)
			}
			if err := r.Stop(); err != nil {
				r.t.Error(err)
			}
			r.start(nil)
			time.Sleep(10 * time.Minute)
			if left := box.Mappings(); len(left) > 0 {
				r.t.Errorf("the box has %v", left)
			}
		})
	})
}

// A gateway that comes later is found then, and a request waits for it, as far as it can.
func TestAutoWhenTheGatewayComesLater(t *testing.T) {
	t.Parallel()
	cfg := lab.BenchConfig{
		Environ: map[string]string{"VPN_GATEWAY": "auto://10.2.0.1"},
		Options: func(o *daemon.Options) {
			o.Network.ListenSearch = func(context.Context) (net.PacketConn, error) { return nil, errors.New("no searches here") }
		},
	}
	onBenchWith(t, cfg, func(b *lab.Bench) func() {
		b.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = true })
		return func() {}
	}, func(r *rig) {
		time.Sleep(time.Minute)
		if _, err := r.Request(alice, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 80, Lifetime: 60}); err == nil {
			r.t.Error("an answer, though nobody is there yet")
		}
		r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = false })
		r.mapped(alice, natpmp.OpMapTCP, 80)
		r.agree()
	})
}
