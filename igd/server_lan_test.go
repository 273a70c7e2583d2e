//go:build linux

package igd_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/igd"
	"doublenat/internal/datagram"
)

// serverOnLAN serves a whole server to a neighbor, as the daemon does: searches by multicast
// and unicast, HTTP, and notices.
func serverOnLAN(t *testing.T, p *ports, exact bool) (client *neighbor, searches *datagram.Server) {
	t.Helper()
	at := netip.MustParseAddr("192.168.77.1")
	client = newNeighbor(t, at.String(), "192.168.77.2")
	client.must("ip route add default via " + at.String())
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", netip.AddrPortFrom(at, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := datagram.ListenGroup(t.Context(), igd.SearchPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	web := netip.MustParseAddrPort(ln.Addr().String())
	cfg := serverConfig(p, web)
	cfg.Location = func(from igd.Arrival) netip.AddrPort { return netip.AddrPortFrom(from.Local, web.Port()) }
	cfg.Exact = func() bool { return exact }
	s := newServer(t, cfg)
	lan, err := net.InterfaceByName("lan0")
	if err != nil {
		t.Fatal(err)
	}
	m, err := datagram.NewMembership(datagram.MembershipConfig{
		Socket: datagram.Socket(conn), Group: igd.SearchGroup(), Interfaces: func() []int { return []int{lan.Index} },
	})
	if err != nil {
		t.Fatal(err)
	}
	searches = serveSearches(t, s, conn, nil)
	serving(t, func(ctx context.Context) error { return s.Serve(ctx, ln) })
	serving(t, m.Run)
	serving(t, func(ctx context.Context) error {
		return s.Notify(ctx, func() []igd.Link { return []igd.Link{igd.LinkOn(conn, lan.Index, at, web)} })
	})
	return client, searches
}

// TestServerForPythonMiniupnpc: python3-miniupnpc finds the server by multicast.
func TestServerForPythonMiniupnpc(t *testing.T) {
	t.Parallel()
	withModule(t, "miniupnpc")
	if !alone(t) {
		return
	}
	client, _ := serverOnLAN(t, newPorts(), true)
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

// TestServerForUpnpcByMulticast: upnpc without the URL, with each of its ways to map.
func TestServerForUpnpcByMulticast(t *testing.T) {
	t.Parallel()
	needs(t, "upnpc")
	if !alone(t) {
		return
	}
	p := newPorts()
	client, searches := serverOnLAN(t, p, false)
	for _, args := range [][]string{
		{"-r", "4001", "tcp", "4002", "udp"},
		{"-n", "192.168.77.2", "4001", "4001", "udp", "0"},
		{"-e", "game", "-a", "192.168.77.2", "4003", "4004", "tcp", "60"},
		{"-d", "4004", "tcp"},
		{"-N", "4002", "4002", "udp"},
	} {
		if out := must(t, client.command(slices.Concat([]string{"upnpc", "-m", "lan0"}, args)...)); !strings.Contains(out, "192.168.77.1") || strings.Contains(out, "failed") {
			t.Errorf("upnpc %v said\n%s", args, out)
		}
	}
	var got []string
	for _, m := range p.PortMappings(igd.Arrival{}) {
		got = append(got, m.Protocol.String()+" "+decimalOf(m.External)+" "+decimalOf(m.Internal)+" "+m.Lease.String())
	}
	if diff := cmp.Diff([]string{"TCP 4001 4001 168h0m0s", "UDP 4001 4001 168h0m0s"}, got); diff != "" {
		t.Errorf("mapped (-want +got):\n%s", diff)
	}
	if n := searches.Stats(); n.Replies < 5 || n.Panics+n.SendErrors+n.NotAdmitted > 0 {
		t.Errorf("stats %+v", n)
	}
}

func decimalOf(port uint16) string {
	return netip.AddrPortFrom(netip.IPv4Unspecified(), port).String()[len("0.0.0.0:"):]
}

// TestServerForGSSDP: GNOME's library reads the answers to searches, and the notices.
func TestServerForGSSDP(t *testing.T) {
	t.Parallel()
	needs(t, "gssdp-discover")
	if !alone(t) {
		return
	}
	client, _ := serverOnLAN(t, newPorts(), true)
	for target, want := range map[string]string{
		"urn:schemas-upnp-org:device:InternetGatewayDevice:1": "/igd1.xml", "urn:schemas-upnp-org:device:InternetGatewayDevice:2": "/igd2.xml",
		"urn:schemas-upnp-org:service:WANIPConnection:2": "/igd2.xml", "upnp:rootdevice": "/igd1.xml", "ssdp:all": "/igd1.xml",
	} {
		out := must(t, client.command("gssdp-discover", "-i", "lan0", "-t", target, "-n", "2"))
		if !strings.Contains(out, "resource available") || !strings.Contains(out, want) {
			t.Errorf("searched for %s, it said\n%s", target, out)
		}
	}
}

// TestServerForLibtorrent: qBittorrent's library, which searches for root devices alone, maps
// its ports, takes another one after a conflict, and gives them back.
func TestServerForLibtorrent(t *testing.T) {
	t.Parallel()
	withModule(t, "libtorrent")
	if !alone(t) {
		return
	}
	p := newPorts()
	p.put(igd.Mapping{Protocol: igd.UDP, External: 6881, Client: netip.MustParseAddr("192.168.77.9"), Internal: 1})
	client, _ := serverOnLAN(t, p, true)
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
	mapped := until(t, p, func(all []igd.Mapping) bool { return len(all) == 3 })
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if len(mapped) != 3 || mapped[1].Internal != 6881 || mapped[2].Internal != 6881 || !strings.Contains(said.String(), "('tcp', 6881)") {
		t.Errorf("mapped %v; it said %s and logged\n%s", mapped, said.String(), log.String())
	}
	t.Logf("mapped %v; it said %s; left %v", mapped, said.String(), p.PortMappings(igd.Arrival{}))
}

// until waits until the mappings are as they should be, and returns them.
func until(t *testing.T, p *ports, good func([]igd.Mapping) bool) []igd.Mapping {
	t.Helper()
	deadline := time.NewTimer(25 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		all := p.PortMappings(igd.Arrival{})
		if good(all) {
			return all
		}
		select {
		case <-deadline.C:
			return all
		case <-poll.C:
		}
	}
}

// TestServerAndTunnel: a search that comes in on an interface on which the group was not
// joined is not heard, even if another program on this host hears the group there.
func TestServerAndTunnel(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root makes network namespaces")
	}
	if !alone(t) {
		return
	}
	_, searches := serverOnLAN(t, newPorts(), true)
	must(t, exec.CommandContext(t.Context(), "sh", "-ec", "ip link add tun0 type veth peer name tun1; ip link set tun1 up; ip addr add 10.2.0.2/24 dev tun0; ip link set tun0 up multicast on"))
	tunnel, err := net.InterfaceByName("tun0")
	if err != nil {
		t.Fatal(err)
	}
	// Another program on this host, which hears the group on the tunnel.
	other, err := datagram.ListenGroup(t.Context(), igd.SearchPort)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := datagram.Socket(other).JoinGroup(tunnel, &net.UDPAddr{IP: igd.SearchGroup().AsSlice()}); err != nil {
		t.Fatal(err)
	}
	// What is sent on the interface is looped back to its listeners. A packet that gets lost is
	// sent again.
	sender := datagram.NewSender(other)
	buf := make([]byte, 2000)
	heard := false
	for try := 0; try < 30 && !heard; try++ {
		if err := sender.Send([]byte(search("upnp:rootdevice")), netip.AddrPortFrom(igd.SearchGroup(), igd.SearchPort), netip.MustParseAddr("10.2.0.2"), tunnel.Index); err != nil {
			t.Fatal(err)
		}
		_ = other.SetReadDeadline(time.Now().Add(time.Second)) // without one it hangs
		n, from, err := other.ReadFromUDPAddrPort(buf)
		heard = err == nil && slices.Equal(buf[:n], []byte(search("upnp:rootdevice"))) && from.Addr() == netip.MustParseAddr("10.2.0.2")
	}
	if !heard {
		t.Fatal("the other program heard nothing")
	}
	// The next search that is heard is answered: nothing came in before it.
	_ = other.Close()
	asker, err := new(net.Dialer).DialContext(t.Context(), "udp4", "192.168.77.1:1900")
	if err != nil {
		t.Fatal(err)
	}
	defer asker.Close()
	asked, answer := uint64(0), ""
	for asked < 30 && answer == "" {
		if _, err := asker.Write([]byte(search("ssdp:all"))); err != nil {
			t.Fatal(err)
		}
		asked++
		_ = asker.SetReadDeadline(time.Now().Add(time.Second)) // without one it hangs
		if n, err := asker.Read(buf); err == nil {
			answer = string(buf[:n])
		}
	}
	if !strings.Contains(answer, "/igd1.xml") {
		t.Fatalf("%d searches were answered with %q", asked, answer)
	}
	if got := searches.Stats(); got.Received-got.Responses > asked { // It hears its own notices too.
		t.Errorf("%d searches, and %+v", asked, got)
	}
}
