//go:build linux

package igd_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/igd"
)

// loopback serves a server on 127.0.0.1 until the test ends, searches too, and returns where
// both are.
func loopback(t *testing.T, p *ports, change func(*igd.ServerConfig)) (web, search netip.AddrPort) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	web = netip.MustParseAddrPort(ln.Addr().String())
	cfg := serverConfig(p, web)
	if change != nil {
		change(&cfg)
	}
	s := newServer(t, cfg)
	serving(t, func(ctx context.Context) error { return s.Serve(ctx, ln) })
	serveSearches(t, s, conn, nil)
	return web, netip.MustParseAddrPort(conn.LocalAddr().String())
}

// TestServerForUpnpc: Debian's upnpc, by the authors of the server that most boxes have,
// takes both devices for gateways.
func TestServerForUpnpc(t *testing.T) {
	t.Parallel()
	needs(t, "upnpc")
	for version, path := range map[int]string{1: "/igd1.xml", 2: "/igd2.xml"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			p := newPorts()
			p.put(igd.Mapping{Protocol: igd.UDP, External: 40200, Client: netip.MustParseAddr("127.0.0.9"), Internal: 1})
			web, _ := loopback(t, p, nil)
			said := func(args ...string) string { return upnpc(t, "http://"+web.String()+path, args...) }
			got := []string{said("-s"), said("-a", "127.0.0.1", "4001", "40123", "tcp", "600"), said("-a", "127.0.0.1", "4001", "40200", "udp", "600")}
			want := []string{
				"Status : Connected, ExternalIPAddress = 5.6.7.8",
				"ExternalIPAddress = 5.6.7.8, external 5.6.7.8:40123 TCP is redirected to internal 127.0.0.1:4001 (duration=600)",
				"ExternalIPAddress = 5.6.7.8, AddPortMapping(40200, 4001, 127.0.0.1) failed with code 718 (ConflictInMappingEntry)",
			}
			got = append(got, said("-n", "127.0.0.1", "4001", "40200", "udp", "600"), said("-l"), said("-d", "40123", "tcp"), said("-d", "40123", "tcp"))
			// It calls AddAnyPortMapping at version 1 too.
			want = append(want, "ExternalIPAddress = 5.6.7.8, external 5.6.7.8:40201 UDP is redirected to internal 127.0.0.1:4001 (duration=600)",
				"Status : Connected, ExternalIPAddress = 5.6.7.8, 0 TCP 40123->127.0.0.1:4001 'libminiupnpc' '' 600, 1 UDP 40201->127.0.0.1:4001 'libminiupnpc' '' 600")
			want = append(want, "UPNP_DeletePortMapping() returned : 0", "UPNP_DeletePortMapping() failed with code : 714")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("upnpc said (-want +got):\n%s", diff)
			}
			if said := said("-L"); version == 2 && !strings.Contains(said, "40201") {
				t.Errorf("GetListOfPortMappings: %s", said)
			}
			if said := said("-N", "40000", "41000", "udp"); version == 2 && len(p.PortMappings(igd.Arrival{})) != 1 {
				t.Errorf("DeletePortMappingRange: %s", said)
			}
		})
	}
}
