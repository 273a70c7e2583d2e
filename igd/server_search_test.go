package igd_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/igd"
	"doublenat/internal/datagram"
	"doublenat/natpmp/natpmptest"
)

// search is a packet as clients send them.
func search(target string, change ...string) string {
	packet := "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 2\r\nST: " + target + "\r\n\r\n"
	return strings.NewReplacer(change...).Replace(packet)
}

// answerTo is what a server answers to a packet, "" for nothing, by the protocol's own
// methods, as a datagram server calls them.
func answerTo(tb testing.TB, s *igd.Server, packet string, from igd.Arrival) string {
	tb.Helper()
	p := s.Searches()
	if p.Discard([]byte(packet)) != datagram.Keep {
		return ""
	}
	reply, kind := p.AtOnce(nil, []byte(packet), from)
	if kind != datagram.KindDone {
		tb.Errorf("%q is not answered at once", packet)
	}
	return string(reply)
}

// multicast is how a search of a client comes in.
func multicast() igd.Arrival {
	return igd.Arrival{Client: clientAddr, Destination: igd.SearchGroup(), Local: serverAddr.Addr(), Interface: 2}
}

// TestSearchTargets: what is found by which target, and where it leads.
func TestSearchTargets(t *testing.T) {
	t.Parallel()
	const device, service = "urn:schemas-upnp-org:device:", "urn:schemas-upnp-org:service:"
	for target, want := range map[string]string{
		device + "InternetGatewayDevice:1": "/igd1.xml", device + "InternetGatewayDevice:2": "/igd2.xml",
		device + "WANDevice:1": "/igd1.xml", device + "WANDevice:2": "/igd2.xml",
		device + "WANConnectionDevice:1": "/igd1.xml", device + "WANConnectionDevice:2": "/igd2.xml",
		service + "Layer3Forwarding:1": "/igd1.xml", service + "WANCommonInterfaceConfig:1": "/igd1.xml",
		service + "WANIPConnection:1": "/igd1.xml", service + "WANIPConnection:2": "/igd2.xml",
		"upnp:rootdevice": "/igd1.xml", "ssdp:all": "/igd1.xml",

		device + "InternetGatewayDevice:3": "", device + "InternetGatewayDevice:0": "", device + "InternetGatewayDevice": "",
		service + "WANPPPConnection:1": "", service + "WANCommonInterfaceConfig:2": "", service + "WANIPConnection:3": "",
		device + "MediaServer:1": "", "urn:dial-multiscreen-org:service:dial:1": "", "upnp:rootdevices": "", "SSDP:ALL": "",
		"uuid:00000000-0000-0000-0000-000000000000": "", "*": "",
	} {
		s := newServer(t, serverConfig(newPorts(), serverAddr))
		got := answerTo(t, s, search(target), multicast())
		if want == "" && got != "" || want != "" && !strings.Contains(got, "\r\nLOCATION: http://192.168.88.1:5000"+want+"\r\n") {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
		st := target
		if st == "ssdp:all" {
			st = device + "InternetGatewayDevice:1" // One answer, of the device that clients look for.
		}
		if want != "" && (!strings.Contains(got, "\r\nST: "+st+"\r\n") || !strings.Contains(got, "::"+st+"\r\n")) {
			t.Errorf("%s: %q", target, got)
		}
	}
}

// TestSearchByName: each name that the descriptions and answers have finds its device.
func TestSearchByName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, ln := inMemory(t, serverConfig(newPorts(), serverAddr))
		a := newAsker(t, ln, clientAddr)
		for _, path := range []string{"/igd1.xml", "/igd2.xml"} {
			for _, d := range shown(t, a, path).all() {
				got := answerTo(t, s, search(d.UDN), multicast())
				if !strings.Contains(got, "\r\nST: "+d.UDN+"\r\nUSN: "+d.UDN+"\r\nLOCATION: http://192.168.88.1:5000"+path+"\r\n") {
					t.Errorf("%s: %q", d.UDN, got)
				}
				if got := answerTo(t, s, search(d.Type), multicast()); !strings.Contains(got, "\r\nUSN: "+d.UDN+"::"+d.Type+"\r\n") {
					t.Errorf("%s: %q", d.Type, got)
				}
			}
		}
	})
}

// TestSearchAnswer: the whole packet (UDA 1.1 §1.3.3).
func TestSearchAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := serverConfig(newPorts(), serverAddr)
		cfg.Boot = func() uint32 { return 1<<31 + 5 }
		s := newServer(t, cfg)
		packet := answerTo(t, s, search("upnp:rootdevice"), multicast())
		head, rest, _ := strings.Cut(packet, "\r\n")
		got := make(map[string]string)
		for line := range strings.SplitSeq(strings.TrimSuffix(rest, "\r\n\r\n"), "\r\n") {
			name, value, _ := strings.Cut(line, ":")
			got[name] = strings.TrimSpace(value)
		}
		for _, name := range []string{"USN", "SERVER", "CONFIGID.UPNP.ORG"} { // They have tests of their own.
			if got[name] == "" {
				t.Errorf("no %s", name)
			}
			delete(got, name)
		}
		want := map[string]string{
			"EXT": "", "ST": "upnp:rootdevice", "LOCATION": "http://192.168.88.1:5000/igd1.xml", "CACHE-CONTROL": "max-age=1800",
			"BOOTID.UPNP.ORG": "5", "DATE": time.Now().UTC().Format(http.TimeFormat),
		}
		if diff := cmp.Diff(want, got); head != "HTTP/1.1 200 OK" || diff != "" || !strings.HasSuffix(packet, "\r\n\r\n") {
			t.Errorf("%q (-want +got):\n%s", packet, diff)
		}
		parsed, err := igd.ParseSearchReply([]byte(packet), serverAddr.Addr())
		if err != nil || parsed.Boot != "5" || parsed.Location.String() != "http://192.168.88.1:5000/igd1.xml" {
			t.Errorf("our own client reads %+v, %v", parsed, err)
		}
	})
}

// TestConfigID: it changes when a description does, and not else (UDA 1.1 §1.2.2).
func TestConfigID(t *testing.T) {
	t.Parallel()
	config := func(change func(*igd.ServerConfig)) string {
		cfg := serverConfig(newPorts(), serverAddr)
		change(&cfg)
		_, id, _ := strings.Cut(answerTo(t, newServer(t, cfg), search("upnp:rootdevice"), multicast()), "CONFIGID.UPNP.ORG: ")
		return strings.TrimSpace(id)
	}
	same := config(func(*igd.ServerConfig) {})
	if again := config(func(c *igd.ServerConfig) { c.Boot = func() uint32 { return 8 } }); again != same {
		t.Errorf("%s, then %s", same, again)
	}
	if other := config(func(c *igd.ServerConfig) { c.Name = "other" }); other == same {
		t.Errorf("%s for both", same)
	}
}

// TestSearchesNotAnswered: what is malformed, or answered by nobody, gets silence.
func TestSearchesNotAnswered(t *testing.T) {
	t.Parallel()
	unicast := multicast()
	unicast.Destination = serverAddr.Addr()
	const root = "upnp:rootdevice"
	for name, tt := range map[string]struct {
		packet string
		from   igd.Arrival
		want   bool
	}{
		"as it should be":         {search(root), multicast(), true},
		"names in lower case":     {search(root, "MAN:", "man:", "ST:", "st:", "MX:", "Mx:"), multicast(), true},
		"no blanks":               {search(root, ": ", ":"), multicast(), true},
		"many blanks":             {search(root, ": ", ": \t "), multicast(), true},
		"more headers":            {search(root, "MX", "USER-AGENT: x/1 UPnP/2.0 y/1\r\nCPFN.UPNP.ORG: z\r\nMX"), multicast(), true},
		"a long wait":             {search(root, "MX: 2", "MX: 120"), multicast(), true},
		"unicast without wait":    {search(root, "MX: 2\r\n", ""), unicast, true},
		"unicast with a wait":     {search(root), unicast, true},
		"the system tells little": {search(root, "MX: 2\r\n", ""), igd.Arrival{Client: clientAddr}, true},
		"multicast without wait":  {search(root, "MX: 2\r\n", ""), multicast(), false},
		"no wait":                 {search(root, "MX: 2", "MX: 0"), unicast, false},
		"a negative wait":         {search(root, "MX: 2", "MX: -1"), unicast, false},
		"a word":                  {search(root, "MX: 2", "MX: soon"), unicast, false},
		"a wait for ever":         {search(root, "MX: 2", "MX: 99999999999999999999"), unicast, false},
		"no MAN":                  {search(root, "MAN: \"ssdp:discover\"\r\n", ""), unicast, false},
		"another MAN":             {search(root, "ssdp:discover", "ssdp:alive"), unicast, false},
		"MAN without quotes":      {search(root, "\"", ""), unicast, false},
		"no target":               {search(root, "ST: "+root+"\r\n", ""), unicast, false},
		"an empty target":         {search(""), unicast, false},
		"two targets":             {search(root, "ST:", "ST: ssdp:all\r\nST:"), unicast, false},
		"another request":         {search(root, "M-SEARCH", "GET"), unicast, false},
		"another path":            {search(root, " * ", " / "), unicast, false},
		"HTTP/1.0":                {search(root, "HTTP/1.1", "HTTP/1.0"), unicast, false},
		"a notice":                {search(root, "M-SEARCH", "NOTIFY"), unicast, false},
		"an answer":               {"HTTP/1.1 200 OK\r\nST: " + root + "\r\n\r\n", unicast, false},
		"no header":               {search(root, "MX:", "MX"), unicast, false},
		"bare lines":              {search(root, "\r\n", "\n"), unicast, false},
		"cut off":                 {search(root)[:60], unicast, false},
		"very many headers":       {search(root, "MAN", strings.Repeat("X: y\r\n", 100)+"MAN"), unicast, false},
	} {
		s := newServer(t, serverConfig(newPorts(), serverAddr))
		if got := answerTo(t, s, tt.packet, tt.from); (got != "") != tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	cfg := serverConfig(newPorts(), netip.AddrPort{})
	if got := answerTo(t, newServer(t, cfg), search(root), unicast); got != "" {
		t.Errorf("without a location: %q", got)
	}
}

// TestSearchesWithoutExactPorts: where clients cannot have the port that they ask for they find
// the device whose clients can be told of another, whatever they search for.
func TestSearchesWithoutExactPorts(t *testing.T) {
	t.Parallel()
	const device, service = "urn:schemas-upnp-org:device:", "urn:schemas-upnp-org:service:"
	cfg := serverConfig(newPorts(), serverAddr)
	cfg.Exact = func() bool { return false }
	s := newServer(t, cfg)
	for target, want := range map[string]string{
		"ssdp:all": device + "InternetGatewayDevice:2", "upnp:rootdevice": "upnp:rootdevice",
		device + "InternetGatewayDevice:1": "", device + "InternetGatewayDevice:2": "", device + "WANConnectionDevice:1": "",
		service + "WANIPConnection:1": "", service + "WANIPConnection:2": "", service + "WANCommonInterfaceConfig:1": "", service + "Layer3Forwarding:1": "",
	} {
		if want == "" {
			want = target
		}
		got := answerTo(t, s, search(target), multicast())
		if !strings.Contains(got, "/igd2.xml\r\n") || !strings.Contains(got, "\r\nST: "+want+"\r\n") || !strings.Contains(got, "::"+want+"\r\n") {
			t.Errorf("%s: %q", target, got)
		}
		usn, _, _ := strings.Cut(got[strings.Index(got, "USN: ")+5:], "::")
		if got := answerTo(t, s, search(usn), multicast()); !strings.Contains(got, "/igd2.xml\r\n") {
			t.Errorf("%s names %s: %q", target, usn, got)
		}
	}
}

// TestSearchFlood: 10,000 searches a second in the name of one host cost it no more than its
// share of answers, whoever lets them in, and others get theirs all the same.
func TestSearchFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := natpmptest.NewNetwork(natpmptest.NetworkConfig{Seed: 1})
		defer network.Close()
		conn, err := network.Listen(netip.AddrPortFrom(serverAddr.Addr(), igd.SearchPort))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		s := newServer(t, serverConfig(newPorts(), serverAddr))
		d, err := datagram.NewServer(datagram.Config{Protocol: func(byte) datagram.Protocol { return s.Searches() }, Group: igd.SearchGroup()})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- d.Serve(ctx, conn) }()
		const seconds, each = 5, 10000
		flood, honest := sender(t, network, clientAddr), sender(t, network, netip.MustParseAddrPort("192.168.88.77:1"))
		for range seconds {
			for range 100 {
				for range each / 100 {
					flood("upnp:rootdevice")
				}
				synctest.Wait()
				time.Sleep(10 * time.Millisecond)
			}
			honest("ssdp:all")
		}
		synctest.Wait()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		got := d.Stats()
		if bound := uint64(40 + 10*seconds + seconds + 1); got.Received != seconds*(each+1) || got.Replies > bound || got.Replies < 40+seconds || got.Panics != 0 {
			t.Errorf("%d answers to %d searches, %d at most: %+v", got.Replies, got.Received, bound, got)
		}
		t.Logf("%d answers to %d searches", got.Replies, got.Received)
	})
}

// sender returns what sends searches to a server from an address.
func sender(t *testing.T, network *natpmptest.Network, from netip.AddrPort) func(target string) {
	t.Helper()
	conn, err := network.Listen(from)
	if err != nil {
		t.Fatal(err)
	}
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(serverAddr.Addr(), igd.SearchPort))
	return func(target string) {
		if _, err := conn.WriteTo([]byte(search(target)), to); err != nil {
			t.Error(err)
		}
	}
}

// TestSearchAllocations: what is somebody else's costs nothing, and a search beyond the bound
// next to nothing. It runs alone: others' allocations would count.
func TestSearchAllocations(t *testing.T) { //nolint:paralleltest // see above
	p := newServer(t, serverConfig(newPorts(), serverAddr)).Searches()
	from := multicast()
	for _, tt := range []struct {
		packet string
		most   float64
	}{
		{search("urn:dial-multiscreen-org:service:dial:1"), 0}, {search("x", "M-SEARCH", "NOTIFY"), 0}, {search("upnp:rootdevice", "MX: 2", "MX: x"), 2}, {search("upnp:rootdevice"), 0},
	} {
		packet := []byte(tt.packet)
		take := func() {
			if p.Discard(packet) == datagram.Keep {
				_, _ = p.AtOnce(nil, packet, from)
			}
		}
		for range 100 {
			take() // beyond the bound
		}
		if got := testing.AllocsPerRun(500, take); got > tt.most {
			t.Errorf("%q: %v allocations, want %v at most", tt.packet, got, tt.most)
		}
	}
}

// TestOurClientFindsOurServer: the client of this package, with a search and all actions that
// it has.
func TestOurClientFindsOurServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := natpmptest.NewNetwork(natpmptest.NetworkConfig{Seed: 1})
		t.Cleanup(func() { _ = network.Close() })
		conn, err := network.Listen(netip.AddrPortFrom(serverAddr.Addr(), igd.SearchPort))
		if err != nil {
			t.Fatal(err)
		}
		p := newPorts()
		s, ln := inMemory(t, serverConfig(p, serverAddr))
		serveSearches(t, s, conn, nil)
		c, err := igd.NewClient(igd.Config{
			Gateway: serverAddr.Addr(),
			Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
				if to != serverAddr {
					return nil, fmt.Errorf("nobody is at %v", to)
				}
				return ln.Dial(ctx, clientAddr)
			},
			ListenSearch: func(context.Context) (net.PacketConn, error) { return network.Listen(clientAddr) },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx := within(t, time.Minute)
		found, err := c.Discover(ctx)
		if err != nil || found.Service.String() != "WANIPConnection:2" || found.Boot != "7" || found.Name != "doublenat" {
			t.Fatalf("found %+v, %v", found, err)
		}
		m := igd.Mapping{Protocol: igd.UDP, External: 6881, Client: clientAddr.Addr(), Internal: 6882, Lease: time.Hour, Description: `"<&>'`}
		if err := c.Add(ctx, m); err != nil {
			t.Fatal(err)
		}
		got, err := c.Find(ctx, igd.UDP, 6881)
		if diff := cmp.Diff(m, got, addrs()); err != nil || diff != "" {
			t.Errorf("Find: %v (-want +got):\n%s", err, diff)
		}
		got, err = c.Entry(ctx, 0)
		if diff := cmp.Diff(m, got, addrs()); err != nil || diff != "" {
			t.Errorf("Entry: %v (-want +got):\n%s", err, diff)
		}
		m.Internal++
		if port, err := c.AddAny(ctx, m); err != nil || port != 6882 {
			t.Errorf("AddAny: %d, %v", port, err)
		}
		if a, err := c.ExternalAddress(ctx); err != nil || a != netip.MustParseAddr("5.6.7.8") {
			t.Errorf("address %v, %v", a, err)
		}
		for _, code := range []igd.Code{0, igd.CodeNoSuchEntry} {
			if err := c.Delete(ctx, igd.UDP, 6881); igd.CodeOf(err) != code || code == 0 && err != nil {
				t.Errorf("Delete: %v, want code %d", err, code)
			}
		}
	})
}
