//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"doublenat/igd"
	"doublenat/igd/igdtest"
	"doublenat/routeros/routerostest"
)

// lineBox is the provider's box, as the router sees it.
const lineBox = "198.51.100.1"

// atLine is a world with the gateway as the provider's box. Environ has how it is asked.
func atLine(gateway func(context.Context, *testing.T, *namespace) vpn, environ map[string]string) site {
	return site{gateway: gateway, atLine: true, environ: environ}
}

// byKind is a doublenat that asks the box in one way, with the shortest lifetimes that
// there are.
func byKind(kind string) map[string]string {
	return map[string]string{"VPN_GATEWAY": kind + "://" + lineBox, "MAX_LIFETIME": "1m"}
}

// lineNATPMP is byKind for NAT-PMP, for which the interface has to be named.
func lineNATPMP() map[string]string {
	environ := byKind("natpmp")
	environ["MIKROTIK_IN_INTERFACE"] = "ether1"
	return environ
}

// byUPnP is byKind for a box that is asked by UPnP. One that forgets is noticed within a minute only, and what
// it then grants again would live for another one, unless clients alone renew.
func byUPnP(kind string) map[string]string {
	environ := byKind(kind)
	environ["LEASE_POLICY"] = "client"
	return environ
}

// tablesOf returns what is otherwise in a router's tables: at a line there is no tunnel.
func tablesOf(s site) func(*routerostest.Router) error {
	return func(router *routerostest.Router) (err error) {
		if s.atLine {
			err = withoutTunnel(router)
		}
		if s.box == boxOnBridge {
			err = errors.Join(err, onBridge(router))
		}
		if s.tables != nil {
			err = errors.Join(err, s.tables(router))
		}
		return err
	}
}

// onBridge makes the veth a port of the LAN's bridge in a router's tables, and has the router
// lead to the box by TCP what it leads there by UDP.
func onBridge(router *routerostest.Router) (err error) {
	for path, columns := range map[string][]string{
		"/ip/address": {"interface", "actual-interface"}, "/ip/route": {"gateway"}, filterPath: {"in-interface"},
	} {
		for _, row := range router.Rows(path) {
			for _, column := range columns {
				if row[column] == "veth1" {
					err = errors.Join(err, router.Set(path, row[".id"], routerostest.Row{column: "bridge"}))
				}
			}
		}
	}
	_, failed := router.Add("/interface/bridge/port", routerostest.Row{"bridge": "bridge", "interface": "veth1"})
	return errors.Join(err, failed, router.Set("/ip/settings", "", routerostest.Row{"send-redirects": "false"}), rows(natPath,
		"chain=dstnat action=dst-nat to-addresses="+routerostest.ContainerAddress+" protocol=tcp dst-address-type=local in-interface-list=LAN dst-port=5351 comment=UPnP",
	)(router))
}

// withoutTunnel takes the tunnel, and all that is about it, out of a router's tables.
func withoutTunnel(router *routerostest.Router) (err error) {
	for _, path := range []string{
		natPath, manglePath, "/routing/rule", "/ip/route", "/routing/table", "/ip/address", "/interface/list/member", "/interface/wireguard", "/interface",
	} {
		for _, row := range router.Rows(path) {
			for _, value := range row {
				if slices.Contains([]string{"vpn", "wg1", "!wg1"}, value) {
					err = errors.Join(err, router.Remove(path, row[".id"]))
					break
				}
			}
		}
	}
	return err
}

// wireLine has the gateway between the router and the Internet.
func (w *world) wireLine(ctx context.Context) error {
	return errors.Join(
		w.internet.ip(ctx,
			"address add "+farAddress+"/32 dev lo",
			"link add vpn type veth peer name eth0 netns "+w.vpn.name, "address add 11.22.33.1/24 dev vpn", "link set vpn up"),
		w.router.ip(ctx,
			"link add ether1 type veth peer name wgv netns "+w.vpn.name, "address add 198.51.100.2/30 dev ether1", "link set ether1 up"),
		w.vpn.ip(ctx, "address add "+lineBox+"/30 dev wgv", "link set wgv up",
			"address add "+publicAddress+"/24 dev eth0", "link set eth0 up", "route add default via 11.22.33.1"),
		w.vpn.nft(ctx, `table ip asked { counter natpmp { }; counter pcp { }; counter upnp { }; chain requests { type filter hook prerouting priority -400; `+
			`iifname "wgv" udp dport 5351 @th,64,8 0 counter name natpmp; iifname "wgv" udp dport 5351 @th,64,8 2 counter name pcp; `+
			`iifname "wgv" udp dport 1900 counter name upnp; }; }`))
}

// anyWay is a box that is asked in all ways, to find out.
const anyWay = ""

// askedBy returns an error unless the box was asked in that way alone.
func (w *world) askedBy(ctx context.Context, only string) (err error) {
	if only == anyWay {
		return nil
	}
	for _, way := range []string{"natpmp", "pcp", "upnp"} {
		packets, failed := w.vpn.counter(ctx, "asked", way)
		if failed == nil && (packets > 0) != (way == only) {
			failed = fmt.Errorf("the box was sent %d packets of %s, and was to be asked by %s alone", packets, way, only)
		}
		err = errors.Join(err, failed)
	}
	return err
}

// device is the box with UPnP for tests, whose mappings the kernel follows.
type device struct {
	*igdtest.Gateway
	*kernelLeases
}

var _ vpn = (*device)(nil)

// withDevice returns what starts a box that behaves like this.
func withDevice(profile igdtest.Profile) func(context.Context, *testing.T, *namespace) vpn {
	return func(ctx context.Context, t *testing.T, ns *namespace) vpn {
		t.Helper()
		d := &device{kernelLeases: &kernelLeases{ns: ns}}
		d.Gateway = igdtest.New(igdtest.Config{
			Profile: profile, Address: netip.MustParseAddr(publicAddress), OnChange: func() { d.follow(ctx) },
		})
		ln, err := ns.listenTCP(ctx, netip.AddrPortFrom(netip.MustParseAddr(lineBox), 0))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := ns.listenUDP(ctx, netip.AddrPortFrom(netip.MustParseAddr(lineBox), igd.SearchPort))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // nothing is left to be sent
		runWith(ctx, t, "the box's search", func(ctx context.Context) error { return d.ServeSearch(ctx, conn) })
		runWith(ctx, t, "the box", func(ctx context.Context) error { return d.Serve(ctx, ln) })
		return d
	}
}

// follow makes the kernel's NAT what the mappings say, at once.
func (d *device) follow(ctx context.Context) {
	d.carry(ctx, func() (rules []string) {
		for _, m := range d.Mappings() {
			rules = append(rules, forward(publicAddress, strings.ToLower(m.Protocol.String()), m.External, netip.AddrPortFrom(m.Client, m.Internal).String()))
		}
		return rules
	})
}

func (d *device) leases(context.Context) (int, error) { return len(d.Mappings()), nil }

func (d *device) restart(ctx context.Context) error {
	d.Restart(false)
	d.follow(ctx)
	return d.trouble()
}

// forwarder is a box that somebody told to forward a range of ports to the router.
type forwarder struct{}

var _ vpn = forwarder{}

// forwarding returns what makes a box forward the ports from first to last.
func forwarding(first, last uint16) func(context.Context, *testing.T, *namespace) vpn {
	return func(ctx context.Context, t *testing.T, ns *namespace) vpn {
		t.Helper()
		ports := strconv.Itoa(int(first)) + "-" + strconv.Itoa(int(last))
		var script []string
		for _, protocol := range []string{"tcp", "udp"} {
			script = append(script, forward(publicAddress, protocol, ports, "198.51.100.2"))
		}
		if err := ns.nft(ctx, strings.Join(script, "\n")); err != nil {
			t.Fatal(err)
		}
		return forwarder{}
	}
}

// leases returns that nothing is left, for nothing is ever made.
func (forwarder) leases(context.Context) (int, error) { return 0, nil }

func (forwarder) restart(context.Context) error { return nil }

func (forwarder) trouble() error { return nil }
