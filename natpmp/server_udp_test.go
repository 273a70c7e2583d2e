package natpmp_test

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	gonatpmp "github.com/jackpal/go-nat-pmp"

	"doublenat/natpmp"
)

// serveUDP starts a server on a real socket and stops it when the test ends. It
// returns the socket's port.
func serveUDP(t *testing.T, address string, cfg natpmp.ServerConfig) uint16 {
	t.Helper()
	pc, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp4", address)
	if err != nil {
		t.Skipf("listening on %s: %v", address, err)
	}
	cfg.Epoch = natpmp.NewEpoch()
	s, err := natpmp.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, pc) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := pc.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return localAddr(pc).Port()
}

// localAddr returns the address of a socket.
func localAddr(conn interface{ LocalAddr() net.Addr }) netip.AddrPort {
	return netip.MustParseAddrPort(conn.LocalAddr().String())
}

// TestServerRepliesFromTheAddressThatWasAsked: on a wildcard socket the kernel
// alone would answer every request from the same address.
func TestServerRepliesFromTheAddressThatWasAsked(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs all of 127.0.0.0/8 on the loopback interface")
	}
	arrivals := make(chan natpmp.Arrival, 8)
	port := serveUDP(t, "0.0.0.0:0", natpmp.ServerConfig{
		Handler: natpmp.HandlerFunc(grant),
		Admit: func(a natpmp.Arrival) bool {
			arrivals <- a
			return a.Destination != netip.MustParseAddr("127.0.0.4")
		},
	})
	loopback, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skipf("no interface lo: %v", err)
	}
	// What came before Serve was called has no interface; the first exchange makes
	// sure that it has been.
	probe(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), "0000", true)
	<-arrivals
	for _, tt := range []struct {
		gateway  string
		packet   string
		answered bool
	}{
		{gateway: "127.0.0.2", packet: "0000", answered: true},
		{gateway: "127.0.0.3", packet: "0000", answered: true},
		{gateway: "127.0.0.3", packet: "0200", answered: true},
		{gateway: "127.0.0.3", packet: "0003", answered: true},
		{gateway: "127.0.0.4", packet: "0000"},
	} {
		gateway := netip.AddrPortFrom(netip.MustParseAddr(tt.gateway), port)
		asked := time.Now()
		want := natpmp.Arrival{
			Client:      probe(t, gateway, tt.packet, tt.answered),
			Destination: gateway.Addr(),
			Interface:   loopback.Index,
		}
		got := <-arrivals
		if got.At.Before(asked) || got.At.After(time.Now()) {
			t.Errorf("%s to %v: asked at %v, arrived at %v", tt.packet, gateway, asked, got.At)
		}
		got = natpmp.Arrival{Client: got.Client, Destination: got.Destination, Interface: got.Interface, Broadcast: got.Broadcast}
		if got != want {
			t.Errorf("%s to %v: arrival %+v, want %+v", tt.packet, gateway, got, want)
		}
	}
}

// probe sends a packet and checks whether it is answered, and from where. It
// returns the address that it had.
func probe(t *testing.T, gateway netip.AddrPort, packet string, answered bool) netip.AddrPort {
	t.Helper()
	// Not connected: a connected socket would hide a reply from elsewhere.
	client, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.WriteToUDPAddrPort(unhex(t, packet), gateway); err != nil {
		t.Fatal(err)
	}
	wait := 5 * time.Second
	if !answered {
		wait = 100 * time.Millisecond
	}
	if err := client.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	_, from, err := client.ReadFromUDPAddrPort(make([]byte, 64))
	if got := err == nil; got != answered || answered && from != gateway {
		t.Errorf("%s to %v: reply from %v, %v", packet, gateway, from, err)
	}
	return localAddr(client)
}

// TestServerWithGoNATPMP asks the server with an independent client.
func TestServerWithGoNATPMP(t *testing.T) {
	t.Parallel()
	serveUDP(t, "127.0.0.77:5351", natpmp.ServerConfig{Handler: natpmp.HandlerFunc(grant)})
	client := gonatpmp.NewClientWithTimeout(net.IPv4(127, 0, 0, 77), 5*time.Second)

	address, err := client.GetExternalAddress()
	if err != nil || address.ExternalIPAddress != [4]byte{5, 6, 7, 8} {
		t.Errorf("external address: %+v, %v", address, err)
	}
	mapped, err := client.AddPortMapping("tcp", 4000, 0, 3600)
	want := gonatpmp.AddPortMappingResult{InternalPort: 4000, MappedExternalPort: 4001, PortMappingLifetimeInSeconds: 3600}
	if err != nil {
		t.Fatalf("mapping: %v", err)
	}
	want.SecondsSinceStartOfEpoc = mapped.SecondsSinceStartOfEpoc
	if *mapped != want {
		t.Errorf("mapped: %+v, want %+v", *mapped, want)
	}
	deleted, err := client.AddPortMapping("udp", 4000, 4001, 0)
	if err != nil || deleted.MappedExternalPort != 0 || deleted.PortMappingLifetimeInSeconds != 0 {
		t.Errorf("deleted: %+v, %v", deleted, err)
	}
}

// TestServerDropsBroadcasts: to a broadcast address of a link nobody is asked, and from
// it nobody could be answered.
func TestServerDropsBroadcasts(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs a broadcast address on the loopback interface")
	}
	pc, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	s, err := natpmp.NewServer(natpmp.ServerConfig{Handler: natpmp.HandlerFunc(grant), Epoch: natpmp.NewEpoch()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, pc) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	defer stop()
	port := localAddr(pc).Port()
	// What came before Serve was called does not say where it was sent to.
	probe(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), "0000", true)
	for _, packet := range []string{"0000", "0200", "000200001234000000000e10"} {
		probe(t, netip.AddrPortFrom(netip.MustParseAddr("127.255.255.255"), port), packet, false)
	}
	probe(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), port), "0000", true)
	stop() // a reply is counted after it was sent
	if got := s.Stats(); got.NotAdmitted != 3 || got.Replies != 2 {
		t.Errorf("stats %+v", got)
	}
}
