//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"doublenat/natpmp/natpmptest"
)

// vpnNAT is the VPN gateway before it has leases: its clients get out, and nobody
// gets in. The chains with miniupnpd in their names are miniupnpd's, those of
// the table leases are the test gateway's.
const vpnNAT = `
table inet filter {
	chain miniupnpd { }
	chain prerouting_miniupnpd { }
	chain postrouting_miniupnpd { }
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state established,related accept;
		iifname "wgv" accept;
		jump miniupnpd;
		meta mark 1 accept;
	}
	chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
	chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; }
}
table ip leases {
	chain forwards { }
	chain prerouting { type nat hook prerouting priority -99; jump forwards; }
	chain forward { type filter hook forward priority -1; iifname "eth0" ct status dnat meta mark set 1; }
	chain postrouting { type nat hook postrouting priority 101; oifname "eth0" masquerade; }
}`

// vpn is the VPN gateway: NAT-PMP on one side, the kernel's NAT on the other.
type vpn interface {
	// leases returns how many there are.
	leases(ctx context.Context) (int, error)
	// restart is a power cut: all leases are lost.
	restart(ctx context.Context) error
	// trouble returns what went wrong since the start, or nil.
	trouble() error
}

// miniupnpd is Debian's, with a NAT that follows by itself.
type miniupnpd struct {
	t       *testing.T
	ns      *namespace
	speaks  string // lines of its configuration
	process *process
}

var _ vpn = (*miniupnpd)(nil)

const (
	// speaksPackets is a miniupnpd that is asked by NAT-PMP and PCP, speaksUPnP one that
	// is asked by UPnP, speaksAll one that is asked in any way.
	speaksPackets = "enable_natpmp=yes\nenable_upnp=no"
	speaksUPnP    = "enable_natpmp=no\nenable_upnp=yes\nhttp_port=0"
	speaksAll     = "enable_natpmp=yes\nenable_upnp=yes\nhttp_port=0"
)

// startMiniupnpd starts miniupnpd with NAT-PMP and PCP.
func startMiniupnpd(ctx context.Context, t *testing.T, ns *namespace) vpn {
	t.Helper()
	return startMiniupnpdThat(speaksPackets)(ctx, t, ns)
}

// startMiniupnpdThat returns what starts a miniupnpd that speaks something.
func startMiniupnpdThat(speaks string) func(context.Context, *testing.T, *namespace) vpn {
	return func(ctx context.Context, t *testing.T, ns *namespace) vpn {
		t.Helper()
		m := &miniupnpd{t: t, ns: ns, speaks: speaks}
		m.start(ctx)
		return m
	}
}

// start starts the program.
func (m *miniupnpd) start(ctx context.Context) {
	m.t.Helper()
	dir := m.t.TempDir()
	config := filepath.Join(dir, "miniupnpd.conf")
	text := strings.Join([]string{
		"ext_ifname=eth0", "ext_ip=" + publicAddress, "listening_ip=wgv",
		m.speaks, "secure_mode=yes", "uuid=6a1b2c3d-0000-4000-8000-000000000001",
		"upnp_table_name=filter", "upnp_nat_table_name=filter", "upnp_forward_chain=miniupnpd",
		"upnp_nat_chain=prerouting_miniupnpd", "upnp_nat_postrouting_chain=postrouting_miniupnpd",
		"allow 1024-65535 0.0.0.0/0 1024-65535", "",
	}, "\n")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.process = startProcess(m.t, "miniupnpd", m.ns.command(ctx, "miniupnpd", "-d", "-f", config, "-P", filepath.Join(dir, "pid")))
}

func (m *miniupnpd) leases(ctx context.Context) (int, error) {
	rules, err := output(m.ns.command(ctx, "nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd"))
	return strings.Count(rules, "dnat "), err
}

func (m *miniupnpd) restart(ctx context.Context) error {
	m.process.kill()
	err := m.ns.nft(ctx, "flush chain inet filter miniupnpd\nflush chain inet filter prerouting_miniupnpd\nflush chain inet filter postrouting_miniupnpd")
	m.start(ctx)
	return err
}

func (m *miniupnpd) trouble() error {
	select {
	case <-m.process.ended:
		return fmt.Errorf("miniupnpd ended: %w", m.process.err)
	default:
		return nil
	}
}

// testGateway is the NAT-PMP gateway for tests, whose leases the kernel follows.
type testGateway struct {
	*natpmptest.Gateway
	*kernelLeases
}

var _ vpn = (*testGateway)(nil)

// withProfile returns what starts a test gateway that behaves like this.
func withProfile(profile natpmptest.Profile) func(context.Context, *testing.T, *namespace) vpn {
	return func(ctx context.Context, t *testing.T, ns *namespace) vpn {
		t.Helper()
		g := &testGateway{kernelLeases: &kernelLeases{ns: ns}}
		var err error
		g.Gateway, err = natpmptest.New(natpmptest.Config{
			Profile: profile, Address: netip.MustParseAddr(publicAddress), Seed: uint64(ns.fd),
			OnChange: func() { g.follow(ctx) },
		})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := ns.listenUDP(ctx, netip.MustParseAddrPort("10.2.0.1:5351"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // nothing is left to be sent
		runWith(ctx, t, "gateway", func(ctx context.Context) error { return g.Serve(ctx, conn) })
		return g
	}
}

// follow makes the kernel's NAT what the leases say, at once.
func (g *testGateway) follow(ctx context.Context) {
	g.carry(ctx, func() (rules []string) {
		for _, m := range g.Mappings() {
			rules = append(rules, forward(g.Address().String(), m.Protocol.String(), m.ExternalPort, m.Target.String()))
		}
		return rules
	})
}

func (g *testGateway) leases(context.Context) (int, error) { return len(g.Mappings()), nil }

func (g *testGateway) restart(context.Context) error {
	g.Restart(false)
	return g.trouble()
}

// kernelLeases is the kernel's NAT that does what a gateway for tests has granted.
type kernelLeases struct {
	ns *namespace

	mu    sync.Mutex // guards fault, and the order of what the kernel is told
	fault error
}

// carry makes the kernel's NAT what the rules say, at once.
func (k *kernelLeases) carry(ctx context.Context, rules func() []string) {
	k.mu.Lock() // for all the time: the last to come has to see the latest
	defer k.mu.Unlock()
	script := append([]string{"flush chain ip leases forwards"}, rules()...)
	k.fault = errors.Join(k.fault, k.ns.nft(ctx, strings.Join(script, "\n")))
}

// forward is the rule for a public port, as nftables has it. Ports is one, or a range.
func forward[P uint16 | string](address, protocol string, ports P, to string) string {
	return fmt.Sprintf("add rule ip leases forwards iifname eth0 ip daddr %s %s dport %v dnat to %s", address, protocol, ports, to)
}

func (k *kernelLeases) trouble() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fault
}
