package daemon_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp/pcptest"
	"doublenat/routeros/routerostest"
)

// Two boxes at the router's line to the Internet, each in a network of its own. The first is
// the gateway of the default route of routerostest.
var (
	firstBox  = netip.MustParseAddrPort("198.51.100.1:5351")
	secondBox = netip.MustParseAddrPort("192.168.7.1:5351")
)

// boxes are gateways at the line.
type boxes struct {
	*rig

	first, second *natpmptest.Gateway
}

// onDefaultRoute runs a test with a daemon that takes the gateway of the router's default
// route. The first box speaks NAT-PMP, the second PCP alone.
func onDefaultRoute(t *testing.T, environ map[string]string, test func(b *boxes)) {
	t.Helper()
	if environ == nil {
		environ = make(map[string]string)
	}
	environ["VPN_GATEWAY"] = "auto:"
	cfg := lab.BenchConfig{
		Environ: environ,
		Options: func(o *daemon.Options) {
			o.Network.ListenSearch = func(context.Context) (net.PacketConn, error) { return nil, errors.New("no searches here") }
		},
		Prepare: func(box *routerostest.Router) {
			for path, row := range map[string]routerostest.Row{
				"/interface":  {"name": "ether9", "type": "ether"},
				"/ip/address": {"address": "192.168.7.2/24", "network": "192.168.7.0", "interface": "ether9"},
			} {
				if _, err := box.Add(path, row); err != nil {
					t.Error(err)
				}
			}
			if _, err := box.Add("/ip/route", routerostest.Row{"dst-address": "192.168.7.0/24", "gateway": "ether9", "connect": "true", "dynamic": "true"}); err != nil {
				t.Error(err)
			}
		},
	}
	b := new(boxes)
	onBenchWith(t, cfg, func(bench *lab.Bench) func() {
		var err error
		if b.first, err = natpmptest.New(natpmptest.Config{Profile: natpmptest.Miniupnpd(), Address: netip.MustParseAddr("5.6.7.8")}); err != nil {
			t.Fatal(err)
		}
		second, err := pcptest.New(pcptest.RFC(), natpmptest.Config{Address: netip.MustParseAddr("9.8.7.6")})
		if err != nil {
			t.Fatal(err)
		}
		b.second = second.Gateway
		return b.serve(t, bench)
	}, func(r *rig) {
		b.rig = r
		test(b)
		if n := r.requests(); n > 0 {
			r.t.Errorf("%d packets for the VPN gateway", n)
		}
	})
}

// serve runs the boxes until the returned function is called.
func (b *boxes) serve(t *testing.T, bench *lab.Bench) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	for at, g := range map[netip.AddrPort]*natpmptest.Gateway{firstBox: b.first, secondBox: b.second} {
		go func() {
			done <- g.ListenAndServe(ctx, func(context.Context) (net.PacketConn, error) { return bench.Net.Listen(at) })
		}()
	}
	return func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("a box: %v", err)
			}
		}
	}
}

// lead makes another the gateway of the router's default route.
func (b *boxes) lead(to string) {
	b.t.Helper()
	for _, row := range b.Router.Rows("/ip/route") {
		if row["dst-address"] == "0.0.0.0/0" && row["routing-table"] == "main" {
			if err := b.Router.Set("/ip/route", row[".id"], routerostest.Row{"gateway": to}); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

// leads fails the test unless a mapping stands at a box alone, and its rule on an interface.
func (b *boxes) leads(when string, at, other *natpmptest.Gateway, iface string) {
	b.t.Helper()
	if n, left := len(at.Mappings()), len(other.Mappings()); n != 1 || left != 0 {
		b.t.Fatalf("%s: %d leases at the gateway, %d at the other", when, n, left)
	}
	rules := b.marked()
	if len(rules) != 1 || rules[0]["in-interface"] != iface {
		b.t.Errorf("%s: the rules are %v", when, rules)
	}
}

// The gateway of the router's default route is asked, in the language that it speaks. When
// another box takes its place, the leases are asked for there, in that one's language; what
// the first had granted is given back, clients hear of the new address, and the page says
// which gateway it is. When the first is back, all goes back.
func TestGatewayOfTheDefaultRoute(t *testing.T) {
	t.Parallel()
	onDefaultRoute(t, nil, func(b *boxes) {
		first := b.mapped(alice, natpmp.OpMapTCP, 6881)
		b.leads("at first", b.first, b.second, routerostest.WANInterface)
		if got := b.hop("gateway"); !strings.Contains(got, "auto://198.51.100.1:5351, by the router's default route") {
			b.t.Errorf("the page says %q", got)
		}
		if got := b.send(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress}); got.Address.String() != "5.6.7.8" {
			b.t.Errorf("the address is %+v", got)
		}
		before := b.send(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress})

		b.lead(secondBox.Addr().String())
		time.Sleep(2 * time.Minute)
		b.leads("after the change", b.second, b.first, "ether9")
		if got := b.hop("gateway"); !strings.Contains(got, "auto://192.168.7.1:5351") || b.Daemon().GatewayKind() != "PCP" {
			b.t.Errorf("the page says %q, asked by %s", got, b.Daemon().GatewayKind())
		}
		after := b.send(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress})
		if after.Address.String() != "9.8.7.6" || after.Epoch >= before.Epoch+120 {
			b.t.Errorf("clients are told %+v, were told %+v", after, before)
		}
		if again := b.ask(alice, natpmp.OpMapTCP, 6881, 0); again.Result != natpmp.ResultSuccess || again.ExternalPort == 0 {
			b.t.Errorf("a renewal gets %+v, had %+v", again, first)
		}
		if got, err := b.Request(secondBox.Addr(), natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 80, Lifetime: 60}); err == nil {
			b.t.Errorf("the gateway is a client: %+v", got)
		}

		b.lead(firstBox.Addr().String())
		time.Sleep(2 * time.Minute)
		b.leads("back again", b.first, b.second, routerostest.WANInterface)
		if err := b.Stop(); err != nil {
			b.t.Errorf("stop: %v", err)
		}
		if n := len(b.marked()) + len(b.first.Mappings()) + len(b.second.Mappings()); n > 0 {
			b.t.Errorf("%d rules and leases are left", n)
		}
	})
}

// A gateway that is gone with its line keeps nobody from the next one, and a mapping that is
// wanted meanwhile is made there.
func TestGatewayOfTheDefaultRouteIsReplaced(t *testing.T) {
	t.Parallel()
	onDefaultRoute(t, nil, func(b *boxes) {
		b.mapped(alice, natpmp.OpMapTCP, 6881)
		b.first.Adjust(func(p *natpmptest.Profile) { p.Silent = true })
		b.lead(secondBox.Addr().String())
		time.Sleep(2 * time.Minute)
		b.mapped(bob, natpmp.OpMapUDP, 7000)
		if n := len(b.second.Mappings()); n != 2 {
			b.t.Errorf("%d leases at the new gateway", n)
		}
	})
}

// A default route without an address says what to set, and nothing is asked of anybody; once
// it has one, mappings are made.
func TestDefaultRouteWithoutAGateway(t *testing.T) {
	t.Parallel()
	onDefaultRoute(t, nil, func(b *boxes) {
		b.Kill()
		b.lead("ether9")
		b.start(nil)
		time.Sleep(time.Minute)
		if got := b.ask(alice, natpmp.OpMapTCP, 6881, 0); got.Result == natpmp.ResultSuccess {
			b.t.Errorf("granted without a gateway: %+v", got)
		}
		for _, h := range b.Daemon().Status().Hops {
			if h.Name == "router" && !strings.Contains(h.Remedy, "VPN_GATEWAY=auto://") {
				b.t.Errorf("the page says %+v", h)
			}
		}
		b.lead(firstBox.Addr().String())
		time.Sleep(time.Minute)
		b.mapped(alice, natpmp.OpMapTCP, 6881)
	})
}
