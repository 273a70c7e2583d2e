//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"

	"doublenat/routeros/routerostest"
)

const (
	// publicAddress is the VPN gateway's, otherPublicAddress the one it has besides.
	// miniupnpd wants them to look public; nothing leaves the namespaces.
	publicAddress, otherPublicAddress = "11.22.33.7", "11.22.33.8"
	// farAddress is who connects from outside.
	farAddress = "44.55.66.77"
)

// boxPlace is where doublenat's host is.
type boxPlace uint8

const (
	// The zero value is a veth pair of its own with the router, as a RouterOS container has it.
	_ boxPlace = iota
	// boxOnLAN is a host of the LAN.
	boxOnLAN
	// boxOnBridge is a veth pair that is a port of the LAN's bridge, with a network of its
	// own: multicast from the LAN arrives there, and what is redirected comes from clients.
	boxOnBridge
)

// site says what is special about a world.
type site struct {
	// gateway starts the VPN gateway.
	gateway func(context.Context, *testing.T, *namespace) vpn
	// box is where doublenat is.
	box boxPlace
	// atLine has the gateway as the provider's box at the line to the Internet. There is
	// no tunnel then.
	atLine bool
	// behind is the world in whose LAN the router stands, which is at the line then. That
	// world's doublenat is the gateway. Nil is no such world.
	behind *site
	// tables changes what is in the router's tables. Nil changes nothing.
	tables func(*routerostest.Router) error
	// environ has more variables for doublenat.
	environ map[string]string
}

// world is all that a flow needs: see the package comment.
type world struct {
	t *testing.T

	alice, bob       *host
	router, vpn, box *namespace
	internet         *internet
	outer            *world // in whose LAN the router stands, nil if it stands in none

	office    *office
	gateway   vpn
	doublenat *doublenat
	// strangers are the rules of others as doublenat has to leave them.
	strangers string
}

// worlds numbers the worlds of this run, for names that the whole sandbox shares.
var worlds atomic.Uint32

// newWorld builds a world in which everything runs but doublenat. It is gone when
// the test ends.
func newWorld(t *testing.T, s site) (context.Context, *world) {
	t.Helper()
	// The world has to be there until the last cleanup.
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(end)
	name := "w" + strconv.Itoa(int(worlds.Add(1)))
	w := &world{
		t:        t,
		alice:    &host{namespace: namespaceFor(ctx, t, name, "alice"), addr: netip.MustParseAddr("192.168.88.10")},
		bob:      &host{namespace: namespaceFor(ctx, t, name, "bob"), addr: netip.MustParseAddr("192.168.88.11")},
		router:   namespaceFor(ctx, t, name, "router"),
		vpn:      namespaceFor(ctx, t, name, "vpn"),
		box:      namespaceFor(ctx, t, name, "box"),
		internet: &internet{namespace: namespaceFor(ctx, t, name, "internet"), addr: netip.MustParseAddr(farAddress)},
	}
	if s.behind != nil {
		w.standBehind(t, *s.behind)
	}
	if err := errors.Join(w.wireLAN(ctx), w.wireBox(ctx, s.box), w.wireWAN(ctx, s.atLine)); err != nil {
		t.Fatal(err)
	}
	if !s.atLine {
		w.digTunnel(ctx, name)
	}
	if err := w.vpn.nft(ctx, vpnNAT); err != nil {
		t.Fatal(err)
	}
	w.office = newOffice(ctx, t, w.router, tablesOf(s))
	w.strangers = w.office.strangers()
	if w.outer != nil {
		w.gateway = doubled{w.outer}
	} else {
		w.gateway = s.gateway(ctx, t, w.vpn)
	}
	if !s.atLine {
		if err := w.awaitTunnel(ctx); err != nil {
			t.Fatal(err)
		}
	}
	api := netip.MustParseAddr("172.30.254.1")
	asks := netip.MustParseAddr("192.168.88.1")
	if s.box == boxOnLAN {
		api, asks = asks, netip.MustParseAddr("192.168.88.2")
	}
	w.alice.asks, w.bob.asks = asks, asks
	w.doublenat = newDoublenat(t, w.box, api, s.environ)
	return ctx, w
}

// namespaceFor makes a namespace that is removed when the test ends.
func namespaceFor(ctx context.Context, t *testing.T, world, name string) *namespace {
	t.Helper()
	n, err := newNamespace(ctx, world+"-"+name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.delete(ctx); err != nil {
			t.Error(err)
		}
	})
	return n
}

// wireLAN joins alice, bob and the router on a bridge.
func (w *world) wireLAN(ctx context.Context) error {
	return errors.Join(
		w.router.ip(ctx, "link add bridge type bridge", "address add 192.168.88.1/24 dev bridge", "link set bridge up"),
		w.joinLAN(ctx, "lan1", w.alice.namespace, w.alice.addr), w.joinLAN(ctx, "lan2", w.bob.namespace, w.bob.addr))
}

// joinLAN makes a namespace a host of the LAN, at a port of the router's bridge.
func (w *world) joinLAN(ctx context.Context, port string, n *namespace, addr netip.Addr) error {
	return errors.Join(
		w.router.ip(ctx, "link add "+port+" type veth peer name eth0 netns "+n.name, "link set "+port+" master bridge up"),
		n.ip(ctx, "address add "+addr.String()+"/24 dev eth0", "link set eth0 up", "route add default via 192.168.88.1"))
}

// wireBox joins doublenat's host and the router.
func (w *world) wireBox(ctx context.Context, place boxPlace) error {
	const routed = "address add 172.30.254.1/30 dev "
	if place == boxOnLAN {
		return w.joinLAN(ctx, "lan3", w.box, netip.MustParseAddr("192.168.88.2"))
	}
	link := []string{"link add veth1 type veth peer name eth0 netns " + w.box.name, routed + "veth1", "link set veth1 up"}
	var redirects error
	if place == boxOnBridge {
		link = []string{"link add veth1 type veth peer name eth0 netns " + w.box.name, "link set veth1 master bridge up", routed + "bridge"}
		// As /ip/settings/set send-redirects=no does: else the box answers clients from its own address.
		redirects = errors.Join(w.router.sysctl("net/ipv4/conf/all/send_redirects", "0"), w.router.sysctl("net/ipv4/conf/bridge/send_redirects", "0"))
	}
	return errors.Join(w.router.ip(ctx, link...), redirects,
		w.box.ip(ctx, "address add 172.30.254.2/30 dev eth0", "link set eth0 up", "route add default via 172.30.254.1"))
}

// wireWAN joins the router and the VPN gateway with the Internet. WireGuard begins
// before the router has its routes, so the way to the VPN gateway has one.
func (w *world) wireWAN(ctx context.Context, atLine bool) error {
	if w.outer != nil {
		return w.wireBehind(ctx)
	}
	if atLine {
		return w.wireLine(ctx)
	}
	return errors.Join(
		w.internet.ip(ctx,
			"address add "+farAddress+"/32 dev lo",
			"link add wan type veth peer name ether1 netns "+w.router.name, "address add 198.51.100.1/30 dev wan", "link set wan up",
			"link add vpn type veth peer name eth0 netns "+w.vpn.name, "address add 11.22.33.1/24 dev vpn", "link set vpn up"),
		w.router.ip(ctx, "address add 198.51.100.2/30 dev ether1", "link set ether1 up", "route add 11.22.33.0/24 via 198.51.100.1"),
		w.vpn.ip(ctx, "address add "+publicAddress+"/24 dev eth0", "address add "+otherPublicAddress+"/24 dev eth0",
			"link set eth0 up", "route add default via 11.22.33.1"))
}

// digTunnel joins the router and the VPN gateway with WireGuard.
func (w *world) digTunnel(ctx context.Context, name string) {
	w.t.Helper()
	here, there := newWireGuardKey(w.t), newWireGuardKey(w.t)
	startWireGuard(ctx, w.t, w.vpn, name+"v", "wgv", "10.2.0.1/24", wireGuardConfig(there, here,
		"ListenPort = 51820", "AllowedIPs = 10.2.0.2/32"))
	startWireGuard(ctx, w.t, w.router, name+"r", "wg1", "10.2.0.2/32", wireGuardConfig(here, there,
		"", "AllowedIPs = 0.0.0.0/0", "Endpoint = "+publicAddress+":51820", "PersistentKeepalive = 1"))
}

// awaitTunnel waits until the gateway answers the router.
func (w *world) awaitTunnel(ctx context.Context) error {
	probe := &host{namespace: w.router, asks: netip.MustParseAddr("10.2.0.1")}
	return eventually(ctx, 2*patience, func() error {
		_, err := probe.externalAddress()
		return err
	})
}

// open starts doublenat and waits until alice is answered.
func (w *world) open(ctx context.Context) error {
	w.t.Helper()
	w.doublenat.start(ctx)
	return eventually(ctx, 2*patience, func() error {
		_, err := w.alice.externalAddress()
		return err
	})
}

// public returns the public end of a mapping.
func (w *world) public(m mapping) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(publicAddress), m.external)
}

// reach says a line through a mapping to its host.
func (w *world) reach(ctx context.Context, m mapping, h *host) error {
	return w.internet.reach(ctx, m.protocol, w.public(m), h)
}

// layers returns an error unless there are so many rules and so many leases.
func (w *world) layers(ctx context.Context, want int) error {
	leases, err := w.gateway.leases(ctx)
	if _, fixed := w.gateway.(forwarder); fixed {
		leases = want // It forwards what it does, whoever asks for it.
	}
	if rules := w.office.rules(); err == nil && (rules != want || leases != want) {
		err = fmt.Errorf("%d rules and %d leases, want %d of each", rules, leases, want)
	}
	return err
}

// close stops doublenat, and looks whether it left the world as it was.
func (w *world) close(ctx context.Context) error {
	err := errors.Join(w.doublenat.stop(), w.layers(ctx, 0), w.office.trouble(), w.gateway.trouble())
	if w.office.strangers() != w.strangers {
		err = errors.Join(err, errors.New("the rules of others are not as they were"))
	}
	if w.outer != nil {
		err = errors.Join(err, w.outer.close(ctx))
	}
	return err
}
