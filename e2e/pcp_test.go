//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
	"doublenat/pcp/pcptest"
)

// home is a router behind an ISP's box, on which miniupnpd runs:
//
//	box 172.30.254.2 ── router ── 192.168.1.2 ══ 192.168.1.1 isp ── 11.22.33.7 ── internet
//
// The client is in box, so that the ISP's box sees the router's address.
type home struct {
	router, box *host
	isp         *namespace
	internet    *internet
	upnpd       vpn
}

var (
	ispAddr    = netip.MustParseAddrPort("192.168.1.1:5351")
	routerAddr = netip.MustParseAddr("192.168.1.2")
	boxAddr    = netip.MustParseAddr("172.30.254.2")
)

// newHome builds a home. It is gone when the test ends.
func newHome(t *testing.T) (context.Context, *home) {
	t.Helper()
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context())) // for what the cleanups need
	t.Cleanup(end)
	name := "h" + strconv.Itoa(int(worlds.Add(1)))
	h := &home{
		router:   &host{namespace: namespaceFor(ctx, t, name, "router"), addr: routerAddr},
		box:      &host{namespace: namespaceFor(ctx, t, name, "box"), addr: boxAddr},
		isp:      namespaceFor(ctx, t, name, "isp"),
		internet: &internet{namespace: namespaceFor(ctx, t, name, "internet"), addr: netip.MustParseAddr(farAddress)},
	}
	err := errors.Join(
		h.router.ip(ctx,
			"link add veth1 type veth peer name eth0 netns "+h.box.name, "address add 172.30.254.1/30 dev veth1", "link set veth1 up",
			"link add wan type veth peer name wgv netns "+h.isp.name, "address add 192.168.1.2/24 dev wan", "link set wan up",
			"route add default via 192.168.1.1"),
		h.box.ip(ctx, "address add 172.30.254.2/30 dev eth0", "link set eth0 up", "route add default via 172.30.254.1"),
		h.internet.ip(ctx,
			"address add "+farAddress+"/32 dev lo",
			"link add isp type veth peer name eth0 netns "+h.isp.name, "address add 11.22.33.1/24 dev isp", "link set isp up"),
		h.isp.ip(ctx,
			"address add 192.168.1.1/24 dev wgv", "link set wgv up",
			"address add "+publicAddress+"/24 dev eth0", "link set eth0 up", "route add default via 11.22.33.1"),
		h.router.nft(ctx, `table ip nat { chain postrouting { type nat hook postrouting priority 100; oifname "wan" masquerade; }; }`),
		h.isp.nft(ctx, vpnNAT),
	)
	if err != nil {
		t.Fatal(err)
	}
	h.upnpd = startMiniupnpd(ctx, t, h.isp)
	return ctx, h
}

// runWith runs something until the test ends.
func runWith(ctx context.Context, t *testing.T, name string, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// ask returns a client in box that says that the address is its own. It runs until the
// test ends.
func (h *home) ask(ctx context.Context, t *testing.T, own netip.Addr, onEpoch func(pcp.EpochNews, uint32)) *pcp.Client {
	t.Helper()
	c, err := pcp.NewClient(pcp.ClientConfig{
		Dial:    func(ctx context.Context) (net.Conn, error) { return h.box.dial(ctx, "udp", boxAddr, ispAddr) },
		Address: func() netip.Addr { return own },
		OnEpoch: onEpoch,
	})
	if err != nil {
		t.Fatal(err)
	}
	runWith(ctx, t, "the client", c.Run)
	return c
}

// rules checks how many mappings miniupnpd has.
func (h *home) rules(ctx context.Context, want int) error {
	n, err := h.upnpd.leases(ctx)
	if err == nil && n != want {
		err = fmt.Errorf("miniupnpd has %d mappings, want %d", n, want)
	}
	return err
}

// verdict returns nil if the error is that very result.
func verdict(err error, code pcp.ResultCode) error {
	if result, ok := errors.AsType[*pcp.ResultError](err); !ok || result.Result != code {
		return fmt.Errorf("%w, want %v", err, code)
	}
	return nil
}

// TestPCPOfMiniupnpd holds our client against Debian's miniupnpd: what is granted stands
// in the kernel and lets bytes through, and what the facts say about identity, lifetimes,
// nonces and restarts is so.
func TestPCPOfMiniupnpd(t *testing.T) {
	t.Parallel()
	requireSandbox(t)
	ctx, h := newHome(t)
	for _, protocol := range []string{"tcp", "udp"} {
		h.router.serve(ctx, t, protocol, 20000)
	}
	var losses atomic.Int32
	c := h.ask(ctx, t, routerAddr, func(news pcp.EpochNews, _ uint32) {
		if news == pcp.EpochLost {
			losses.Add(1)
		}
	})
	want := pcp.MapRequest{Protocol: pcp.TCP, InternalPort: 20000, ExternalPort: 51413, Lifetime: 30}
	if err := eventually(ctx, 4*patience, func() error { return c.Announce(ctx) }); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ask(ctx, t, boxAddr, nil).Map(ctx, want); verdict(err, pcp.ResultAddressMismatch) != nil {
		t.Errorf("another address: %v", err)
	}
	for _, p := range []pcp.Protocol{pcp.TCP, pcp.UDP} {
		ask := want
		ask.Protocol = p
		got, err := c.Map(ctx, ask)
		if granted := (pcp.Mapping{ExternalPort: 51413, ExternalAddress: netip.MustParseAddr(publicAddress), Lifetime: 120}); err != nil || got != granted {
			t.Fatalf("%+v, %v, want %+v", got, err, granted)
		}
		if err := h.internet.reach(ctx, p.String(), netip.AddrPortFrom(got.ExternalAddress, got.ExternalPort), h.router); err != nil {
			t.Error(err)
		}
	}
	other := h.ask(ctx, t, routerAddr, nil) // which has other nonces
	if err := verdict(other.Unmap(ctx, pcp.UDP, 20000), pcp.ResultNotAuthorized); err != nil {
		t.Errorf("another nonce ends: %v", err)
	}
	if got, err := other.Map(ctx, want); err != nil || got.ExternalPort != 51413 {
		t.Errorf("another nonce renews: %+v, %v", got, err)
	}
	if err := errors.Join(h.rules(ctx, 2), other.Unmap(ctx, pcp.TCP, 20000)); err != nil {
		t.Error(err)
	}
	if err := errors.Join(c.Unmap(ctx, pcp.UDP, 20000), h.rules(ctx, 0)); err != nil {
		t.Error(err)
	}
	pause(ctx, 3*time.Second) // else the epoch has nowhere to fall from
	if err := errors.Join(c.Announce(ctx), h.upnpd.restart(ctx)); err != nil {
		t.Fatal(err)
	}
	if err := eventually(ctx, 4*patience, func() error { return c.Announce(ctx) }); err != nil || losses.Load() != 1 {
		t.Errorf("%v, %d losses", err, losses.Load())
	}
	if err := h.upnpd.trouble(); err != nil {
		t.Error(err)
	}
}

// TestPCPGatewayOfMiniupnpd holds what the core asks against it: leases of many ports at
// once, the public address without one, and nothing left.
func TestPCPGatewayOfMiniupnpd(t *testing.T) {
	t.Parallel()
	requireSandbox(t)
	ctx, h := newHome(t)
	g, err := gateway.NewPCP(gateway.PCPConfig{
		Config: gateway.Config{
			Dial: func(ctx context.Context) (net.Conn, error) { return h.box.dial(ctx, "udp", boxAddr, ispAddr) },
		},
		Own:    func() netip.Addr { return routerAddr },
		Secret: []byte("of this test"),
	})
	if err != nil {
		t.Fatal(err)
	}
	runWith(ctx, t, "the gateway", g.Run)
	err = eventually(ctx, 4*patience, func() error {
		if a, ok := g.External(); !ok || a != netip.MustParseAddr(publicAddress) {
			return errors.Join(fmt.Errorf("the public address is %v", a), g.Stats().LookError)
		}
		return h.rules(ctx, 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	const ports = 20
	answers := make(chan error)
	for i := range uint16(ports) {
		go func() {
			asking, cancel := context.WithTimeout(ctx, 4*patience)
			defer cancel()
			req := nat.LeaseRequest{Protocol: nat.TCP, InnerPort: 20000 + i, ExternalPort: 40000 + i, Lifetime: time.Hour}
			got, err := g.Lease(asking, req)
			if want := (nat.Lease{ExternalPort: 40000 + i, Lifetime: time.Hour}); err == nil && got != want {
				err = fmt.Errorf("%+v was granted for %+v", got, req)
			}
			answers <- err
		}()
	}
	for range ports {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if err := h.rules(ctx, ports); err != nil {
		t.Error(err)
	}
	for i := range uint16(ports) {
		if err := g.Release(ctx, nat.TCP, 20000+i); err != nil {
			t.Error(err)
		}
	}
	if err := h.rules(ctx, 0); err != nil {
		t.Error(err)
	}
}

// TestPCPOfLibtorrent holds the gateway for tests against libtorrent, which speaks PCP
// first: it gets both protocols, renews, and ends them.
func TestPCPOfLibtorrent(t *testing.T) {
	t.Parallel()
	requireSandbox(t)
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context())) // for what the cleanups need
	t.Cleanup(end)
	name := "t" + strconv.Itoa(int(worlds.Add(1)))
	alice := &host{namespace: namespaceFor(ctx, t, name, "alice"), addr: netip.MustParseAddr("192.168.88.10")}
	router := namespaceFor(ctx, t, name, "router")
	err := errors.Join(
		router.ip(ctx, "link add lan type veth peer name eth0 netns "+alice.name, "address add 192.168.88.1/24 dev lan", "link set lan up"),
		alice.ip(ctx, "address add 192.168.88.10/24 dev eth0", "link set eth0 up", "route add default via 192.168.88.1"),
	)
	if err != nil {
		t.Fatal(err)
	}
	g, err := pcptest.New(pcptest.Short(20*time.Second), natpmptest.Config{Address: netip.MustParseAddr(publicAddress)})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := router.listenUDP(ctx, netip.MustParseAddrPort("192.168.88.1:5351"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // nothing was promised
	runWith(ctx, t, "the gateway", func(ctx context.Context) error { return g.Serve(ctx, conn) })

	program, err := startTorrent(ctx, &world{t: t}, alice, 6881)
	if err != nil {
		t.Fatal(err)
	}
	tcp, udp, err := program.mapped(ctx)
	if err != nil || tcp != 6881 || udp != 6881 {
		t.Fatalf("tcp %d, udp %d, %v", tcp, udp, err)
	}
	for _, op := range []natpmp.Opcode{natpmp.OpMapTCP, natpmp.OpMapUDP} {
		if m, ok := g.Lookup(op, 6881); !ok || m.Target != netip.AddrPortFrom(alice.addr, 6881) {
			t.Errorf("%v: %+v, %v", op, m, ok)
		}
	}
	err = eventually(ctx, 30*time.Second, func() error {
		if n := g.Stats().Renewals; n < 2 {
			return fmt.Errorf("libtorrent has renewed %d mappings, want both", n)
		}
		return nil
	})
	if err := errors.Join(err, program.quit(ctx)); err != nil {
		t.Error(err)
	}
	if left := g.Mappings(); len(left) != 0 || g.Stats().Deletes < 2 {
		t.Errorf("left: %+v", left)
	}
}
