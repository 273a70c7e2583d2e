package daemon_test

import (
	"context"
	"encoding/hex"
	"errors"
	"maps"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gonatpmp "github.com/jackpal/go-nat-pmp"

	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/natpmp/natpmptest"
)

// neighborhood counts the addresses that this process has given to daemons.
var neighborhood atomic.Uint32

// loopback returns an address that no other test has, nor one of another process.
func loopback(t *testing.T) netip.Addr {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs all of 127.0.0.0/8 on the loopback interface")
	}
	pid, n := os.Getpid(), neighborhood.Add(1)
	return netip.AddrFrom4([4]byte{127, byte(200 + pid>>8%50), byte(pid), byte(n)})
}

// onSocket runs a daemon that answers on a real socket, whose address it returns;
// its router and its gateway are in memory, and the router counts as this host, or
// clients on loopback had nothing that could be forwarded to. More may change what
// it is made from.
func onSocket(t *testing.T, listen string, environ map[string]string, more ...func(*daemon.Options)) (*lab.Bench, netip.AddrPort) {
	t.Helper()
	opened := make(chan netip.AddrPort, 1)
	all := map[string]string{"MIKROTIK_API_ADDRESS": "127.0.0.1"}
	maps.Copy(all, environ)
	b, err := lab.NewBench(lab.BenchConfig{
		Profile: natpmptest.RFC(), Environ: all,
		Options: func(o *daemon.Options) {
			o.Network.Listen = func(ctx context.Context, _ netip.AddrPort) (net.PacketConn, error) {
				var lc net.ListenConfig
				conn, err := lc.ListenPacket(ctx, "udp4", listen)
				if err == nil {
					opened <- netip.MustParseAddrPort(conn.LocalAddr().String())
				}
				return conn, err
			}
			for _, change := range more {
				change(o)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	if err := b.Start(nil); err != nil {
		t.Fatal(err)
	}
	select {
	case at := <-opened:
		return b, at
	case <-time.After(10 * time.Second):
		t.Fatal("the daemon opened no socket")
		return nil, netip.AddrPort{}
	}
}

// exchange sends a packet from an address to another and returns the reply and who
// sent it. The socket is not connected, so that a reply from elsewhere shows.
func exchange(t *testing.T, client netip.Addr, server netip.AddrPort, packet string, wait time.Duration) (string, netip.AddrPort) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(client, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.WriteToUDPAddrPort(unhex(t, packet), server); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2048)
	n, from, err := conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		return "", netip.AddrPort{}
	}
	return fields(buf[:n]), from
}

// await waits until the daemon knows the public address. It asks its gateway again
// after 5 s if it was there before it.
func await(t *testing.T, client netip.Addr, server netip.AddrPort) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if got, _ := exchange(t, client, server, "0000", time.Second); strings.HasPrefix(got, "0080 0000") {
			return
		}
	}
	t.Fatal("the daemon does not know its address after 20 s")
}

// TestRFC6886Socket: a daemon on all addresses of a host answers from the address
// that was asked, and who may not ask is not answered (RFC 6886 §3.2, §3.3, §5).
func TestRFC6886Socket(t *testing.T) {
	t.Parallel()
	client, stranger := loopback(t), loopback(t)
	first, second := loopback(t), loopback(t)
	_, at := onSocket(t, "0.0.0.0:0", map[string]string{"LISTEN_ADDR": ":5351", "ALLOWED_CLIENTS": client.String()})
	for _, server := range []netip.Addr{first, second} {
		to := netip.AddrPortFrom(server, at.Port())
		for _, packet := range []string{"0003", "0200", "0001 0000 0000 0000 0000003c", "0002 0000 0009 0000 0000003c"} {
			if got, from := exchange(t, client, to, packet, 10*time.Second); got == "" || from != to {
				t.Errorf("%q to %v: %q from %v", packet, to, got, from)
			}
		}
		for _, packet := range []string{"0000", "0200", mapTCP} {
			if got, _ := exchange(t, stranger, to, packet, 50*time.Millisecond); got != "" {
				t.Errorf("%q of a stranger to %v: %q", packet, to, got)
			}
		}
	}
}

// TestRFC6886GoNATPMP: go-nat-pmp, which others wrote, and its whole repertoire.
func TestRFC6886GoNATPMP(t *testing.T) {
	t.Parallel()
	server, client := loopback(t), loopback(t)
	b, _ := onSocket(t, netip.AddrPortFrom(server, 5351).String(), nil)
	c := gonatpmp.NewClientWithLocalAndTimeout(server.AsSlice(), client.AsSlice(), 5*time.Second)

	await(t, client, netip.AddrPortFrom(server, 5351))
	address, err := c.GetExternalAddress()
	if err != nil || address.ExternalIPAddress != [4]byte{5, 6, 7, 8} {
		t.Fatalf("external address: %+v, %v", address, err)
	}
	for _, proto := range []string{"tcp", "udp"} {
		for range 2 { // the second one renews
			got, err := c.AddPortMapping(proto, 4000, 40123, 3600)
			if err != nil {
				t.Fatalf("mapping %s: %v", proto, err)
			}
			want := gonatpmp.AddPortMappingResult{
				SecondsSinceStartOfEpoc: got.SecondsSinceStartOfEpoc,
				InternalPort:            4000, MappedExternalPort: 40123, PortMappingLifetimeInSeconds: 3600,
			}
			if *got != want || got.SecondsSinceStartOfEpoc > 60 {
				t.Errorf("mapped %s: %+v, want %+v", proto, *got, want)
			}
		}
	}
	if n := len(b.OurRules("default")); n != 2 {
		t.Errorf("%d rules, want 2", n)
	}
	for _, wrong := range b.Disagreements() {
		t.Error(wrong)
	}
	if got, err := c.AddPortMapping("tcp", 0, 0, 3600); err == nil {
		t.Errorf("internal port 0 was granted: %+v", got)
	}
	for _, proto := range []string{"tcp", "udp", "udp"} {
		got, err := c.AddPortMapping(proto, 4000, 40123, 0)
		if err != nil || got.MappedExternalPort != 0 || got.PortMappingLifetimeInSeconds != 0 || got.InternalPort != 4000 {
			t.Errorf("deleting %s: %+v, %v", proto, got, err)
		}
	}
	if n := len(b.OurRules("default")) + len(b.Gateway.Mappings()); n != 0 {
		t.Errorf("%d rules and leases left", n)
	}

	// Off is a closed port, which go-nat-pmp sees at once (RFC 6886 §3.8).
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetExternalAddress(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the end: %v, want ECONNREFUSED", err)
	}
}

// TestRFC6886ForgedReply: what another host says is not the gateway's word, not
// even from the gateway's port (RFC 6886 §3.2).
func TestRFC6886ForgedReply(t *testing.T) {
	t.Parallel()
	server, client := loopback(t), loopback(t)
	gateway, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback(t), 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.Close()
	at := netip.MustParseAddrPort(gateway.LocalAddr().String())
	forger, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback(t), at.Port())))
	if err != nil {
		t.Skipf("the gateway's port is taken at the forger's address: %v", err)
	}
	defer forger.Close()
	_, daemonAt := onSocket(t, netip.AddrPortFrom(server, 0).String(), map[string]string{"VPN_GATEWAY": at.String()},
		func(o *daemon.Options) { o.Network.DialGateway = nil }) // the one that the program uses

	answer := func(by *net.UDPConn) {
		t.Helper()
		if err := gateway.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, from, err := gateway.ReadFromUDPAddrPort(make([]byte, 16))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := by.WriteToUDPAddrPort(unhex(t, "0080 0000 00000007 05060708"), from); err != nil {
			t.Fatal(err)
		}
	}
	// The daemon asks at once, and again after 250 ms. On loopback a packet has
	// arrived when it is sent, and the forged one is before the client's in time.
	// Until the gateway itself has answered, a client waits.
	answer(forger)
	for range 5 {
		if got, _ := exchange(t, client, daemonAt, "0000", 100*time.Millisecond); got != "" {
			t.Fatalf("after a forged reply: %q, want none", got)
		}
	}
	answer(gateway)
	await(t, client, daemonAt)
}

// TestRFC6886StrictClients reads all kinds of replies as strict programs do.
func TestRFC6886StrictClients(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, packet string
		harm         func(*lab.Bench)
		want         strictOutcome
	}{
		{name: "address", packet: "0000", want: strictGranted},
		{name: "map TCP", packet: mapTCP, want: strictGranted},
		{name: "map UDP", packet: "0001 0000 1234 5678 00000e10", want: strictGranted},
		{name: "map for no port", packet: "0001 0000 0000 0000 00000e10", want: strictRefused},
		{name: "map with a full gateway", packet: mapTCP, harm: result(4), want: strictRefused},
		{name: "map with a silent gateway", packet: mapTCP, harm: func(b *lab.Bench) {
			b.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = true })
		}, want: strictRefused},
		{name: "delete", packet: unmapTCP, want: strictDeleted},
		{name: "delete all", packet: "0001 0000 0000 0000 00000000", want: strictDeleted},
		{name: "PCP announce", packet: pcpAnnounce(), want: strictFallBack},
		{name: "PCP map", packet: pcpMap(), want: strictFallBack},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBench(t, asRFC(), func(r *rig) {
				if tt.harm != nil {
					tt.harm(r.Bench)
				}
				request := unhex(r.t, tt.packet)
				reply := r.Ask(alice, request, 15*time.Second)
				for _, reader := range strictReaders() {
					got, err := reader.read(request, reply)
					if err != nil || got != tt.want {
						r.t.Errorf("%s reads %s as %v, %v; want %v", reader.name, hex.EncodeToString(reply), got, err, tt.want)
					}
				}
				r.mend()
			})
		})
	}
}

// TestRFC6886StrictClientsReject: the readers do drop what others have sent.
func TestRFC6886StrictClientsReject(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, request, reply, reader string }{
		{"version error as printed, with opcode 0", pcpAnnounce(), "0000 0001 00000005", "libplum"},
		{"version error as printed, with opcode 0", pcpAnnounce(), "0000 0001 00000005", "PCP client after RFC 6887 §8.3"},
		{"version error as long as a PCP header", pcpMap(), "0081 0001 00000005" + strings.Repeat("00", 16), "Bitcoin Core"},
		{"version error of version 2", pcpMap(), "0281 0001 00000005", "Bitcoin Core"},
		{"version error of version 2", pcpMap(), "0281 0001 00000005", "libplum"},
		{"version error with opcode 128 to a map", pcpMap(), "0080 0001 00000005", "PCP client after RFC 6887 §8.3"},
		{"map failure of 8 bytes", mapTCP, "0082 0004 00000005", "libtorrent"},
		{"map failure with the port that was wished for", mapTCP, "0082 0004 00000005 1234 5678 00000e10", "reader of RFC 6886"},
		{"map success for longer than asked", mapTCP, "0082 0000 00000005 1234 5678 00000e11", "reader of RFC 6886"},
		{"map success of another port", mapTCP, "0082 0000 00000005 1235 5678 00000e10", "Bitcoin Core"},
		{"address failure with an address", "0000", "0080 0003 00000005 05060708", "reader of RFC 6886"},
	} {
		t.Run(tt.name+"/"+tt.reader, func(t *testing.T) {
			t.Parallel()
			for _, reader := range strictReaders() {
				if reader.name != tt.reader {
					continue
				}
				if got, err := reader.read(unhex(t, tt.request), unhex(t, tt.reply)); err == nil {
					t.Errorf("read as %v", got)
				}
			}
		})
	}
}
