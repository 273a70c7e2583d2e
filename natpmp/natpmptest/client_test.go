package natpmptest_test

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gonatpmp "github.com/jackpal/go-nat-pmp"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// serveUDP serves a gateway on a real socket until the test ends.
func serveUDP(t *testing.T, g *natpmptest.Gateway, conn net.PacketConn) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- g.Serve(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		conn.Close()
	})
}

func TestGatewayOnARealSocket(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := natpmptest.RFC()
	p.ReplyDelay = time.Millisecond
	g, err := natpmptest.New(natpmptest.Config{Profile: p})
	if err != nil {
		t.Fatal(err)
	}
	serveUDP(t, g, conn)
	c, err := net.Dial("udp4", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := natpmp.Response{Opcode: natpmp.OpMapTCP, InternalPort: 1000, ExternalPort: 2000, Lifetime: 60}
	got := request(t, c, natpmp.OpMapTCP, 1000, 2000, 60)
	got.Epoch = 0 // real time
	if diff := cmp.Diff(want, got, addrs()); diff != "" {
		t.Error(diff)
	}
	if m := g.Mappings(); len(m) != 1 || m[0].Client.String() != "127.0.0.1" {
		t.Errorf("%v", m)
	}
}

// An independent client, which can ask on port 5351 only.
func TestGatewayForGoNATPMP(t *testing.T) {
	t.Parallel()
	// An address of this process alone, so that two test runs do not meet.
	pid := os.Getpid()
	ip := net.IPv4(127, 64+byte(pid>>16&63), byte(pid>>8), byte(pid))
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: ip, Port: natpmp.Port})
	if err != nil {
		t.Fatal(err)
	}
	g, err := natpmptest.New(natpmptest.Config{Profile: natpmptest.Proton()})
	if err != nil {
		t.Fatal(err)
	}
	g.GrantNext(40000)
	serveUDP(t, g, conn)
	c := gonatpmp.NewClientWithTimeout(ip, 10*time.Second)
	addr, err := c.GetExternalAddress()
	if err != nil {
		t.Fatal(err)
	}
	if want := [4]byte{5, 6, 7, 8}; addr.ExternalIPAddress != want {
		t.Errorf("address %v, want %v", addr.ExternalIPAddress, want)
	}
	got, err := c.AddPortMapping("tcp", 20000, 20000, 3600)
	if err != nil {
		t.Fatal(err)
	}
	got.SecondsSinceStartOfEpoc = 0
	want := &gonatpmp.AddPortMappingResult{InternalPort: 20000, MappedExternalPort: 40000, PortMappingLifetimeInSeconds: 60}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := c.AddPortMapping("tcp", 20000, 0, 0); err != nil {
		t.Errorf("deleting: %v", err)
	}
	if m := g.Mappings(); len(m) != 0 {
		t.Errorf("left: %v", m)
	}
	if _, err := c.AddPortMapping("udp", 20001, 0, 60); err != nil {
		t.Errorf("udp: %v", err)
	}
	g.Adjust(func(p *natpmptest.Profile) { p.Result = natpmp.ResultNotAuthorized })
	if _, err := c.AddPortMapping("udp", 20001, 0, 60); err == nil {
		t.Error("a refusal is no error")
	}
}
