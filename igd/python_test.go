//go:build linux

package igd_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"doublenat/igd"
	"doublenat/igd/igdtest"
)

// debianPython has the modules that Debian packages.
const debianPython = "/usr/bin/python3"

// withModule skips a test without a module of Python.
func withModule(t *testing.T, module string) {
	t.Helper()
	if err := exec.CommandContext(t.Context(), debianPython, "-c", "import "+module).Run(); err != nil {
		t.Skipf("Python has no %s (Debian: apt-get install python3-%s): %v", module, module, err)
	}
}

// serveLAN serves a box to the neighbor, who finds it by multicast, until the test ends.
func serveLAN(t *testing.T, box *igdtest.Gateway, at netip.Addr) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", netip.AddrPortFrom(at, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp4", "0.0.0.0:1900")
	if err != nil {
		t.Fatal(err)
	}
	lan, err := net.InterfaceByName("lan0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ipv4.NewPacketConn(conn).JoinGroup(lan, &net.UDPAddr{IP: net.IPv4(239, 255, 255, 250)}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- box.Serve(ctx, ln) }()
	go func() { done <- box.ServeSearch(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, <-done, conn.Close()); err != nil {
			t.Errorf("serving: %v", err)
		}
	})
}

// lan serves a box of the profile to a neighbor whose default route it is.
func lan(t *testing.T, profile igdtest.Profile) (*igdtest.Gateway, *neighbor) {
	t.Helper()
	at := netip.MustParseAddr("192.168.77.1")
	client := newNeighbor(t, at.String(), "192.168.77.2")
	client.must("ip route add default via " + at.String())
	box := igdtest.New(igdtest.Config{Profile: profile})
	serveLAN(t, box, at)
	return box, client
}

const miniupnpcScript = `
import miniupnpc
u = miniupnpc.UPnP()
u.discoverdelay = 500
print("devices", u.discover() > 0)
u.selectigd()
print("address", u.externalipaddress(), u.lanaddr)
print("map", u.addportmapping(40123, "TCP", u.lanaddr, 4001, "hello", ""))
print("entry", u.getspecificportmapping(40123, "TCP"))
print("list", u.getgenericportmapping(0), u.getgenericportmapping(1))
print("delete", u.deleteportmapping(40123, "TCP"))
`

// TestPythonMiniupnpc: python3-miniupnpc finds the box by multicast.
func TestPythonMiniupnpc(t *testing.T) {
	t.Parallel()
	withModule(t, "miniupnpc")
	if !alone(t) {
		return
	}
	_, client := lan(t, igdtest.IGD2())
	want := `devices True
address 5.6.7.8 192.168.77.2
map True
entry ('192.168.77.2', 4001, 'hello', True, 0)
list (40123, 'TCP', ('192.168.77.2', 4001), 'hello', '1', '', 0) None
delete True
`
	if got := must(t, client.command(debianPython, "-c", miniupnpcScript)); got != want {
		t.Errorf("it said\n%s\nwant\n%s", got, want)
	}
}

const libtorrentScript = `
import sys, libtorrent as lt
session = lt.session({
    "listen_interfaces": "192.168.77.2:6881", "enable_natpmp": False, "enable_upnp": True, "enable_lsd": False, "enable_dht": True,
    "dht_bootstrap_nodes": "", "alert_mask": lt.alert.category_t.all_categories,
})
seen = set()
for _ in range(100):
    session.wait_for_alert(200)
    for alert in session.pop_alerts():
        if isinstance(alert, lt.portmap_alert):
            seen.add(("tcp" if alert.map_protocol == lt.portmap_protocol.tcp else "udp", alert.external_port))
        elif isinstance(alert, (lt.portmap_error_alert, lt.portmap_log_alert)):
            print(alert.message(), file=sys.stderr)
    if len(seen) == 2:
        break
print(sorted(seen), flush=True)
sys.stdin.read()
session.pause()
del session
`

// TestLibtorrent: qBittorrent's library maps its ports at the box, also at one that keeps
// mappings for ever, and takes another port after a conflict.
func TestLibtorrent(t *testing.T) {
	t.Parallel()
	withModule(t, "libtorrent")
	if !alone(t) {
		return
	}
	box, client := lan(t, igdtest.Permanent())
	box.Put(igd.Mapping{Protocol: igd.UDP, External: 6881, Client: netip.MustParseAddr("192.168.77.9"), Internal: 1})
	cmd := client.command(debianPython, "-c", libtorrentScript)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said, log strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ours := func() (out []igd.Mapping) {
		for _, m := range box.Mappings() {
			if m.Client == netip.MustParseAddr("192.168.77.2") {
				out = append(out, m)
			}
		}
		return out
	}
	deadline := time.NewTimer(25 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for waiting := true; waiting && len(ours()) < 2; {
		select {
		case <-deadline.C:
			waiting = false
		case <-poll.C:
		}
	}
	mapped := ours()
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if len(mapped) != 2 || mapped[0].Internal != 6881 || mapped[1].Internal != 6881 || !strings.Contains(said.String(), "('tcp', 6881)") {
		t.Errorf("mapped %v; it said %s and logged\n%s", mapped, said.String(), log.String())
	}
	t.Logf("mapped %v; it said %s; left %v, %+v", mapped, said.String(), ours(), box.Stats())
}
