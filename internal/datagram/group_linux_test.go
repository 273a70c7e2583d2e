package datagram

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
)

// TestGroupOnLoopback: a search that is sent to a group is answered from an address of this
// host, and the server knows which. Two programs share the port, and each hears the group
// on its own interfaces only.
func TestGroupOnLoopback(t *testing.T) {
	t.Parallel()
	group := netip.MustParseAddr("239.255.255.250")
	conn, err := ListenGroup(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	at, err := AddrPort(conn.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	other, err := ListenGroup(t.Context(), at.Port())
	if err != nil {
		t.Fatalf("another program on the same port: %v", err)
	}
	if ttl, err := ipv4.NewPacketConn(conn).MulticastTTL(); err != nil || ttl != groupTTL {
		t.Errorf("TTL %d, %v", ttl, err)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skip(err)
	}
	if err := Socket(other).JoinGroup(lo, &net.UDPAddr{IP: group.AsSlice()}); err != nil {
		t.Skip(err)
	}
	send := func(client *net.UDPConn, to netip.Addr) {
		t.Helper()
		if err := NewSender(client).Send([]byte("x"), netip.AddrPortFrom(to, at.Port()), netip.MustParseAddr("127.0.0.9"), lo.Index); err != nil {
			t.Fatal(err)
		}
	}
	// Who asks has a socket for each question: what comes late is no answer to the next one.
	dial := func() *net.UDPConn {
		t.Helper()
		client, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		return client
	}
	buf := make([]byte, 10)
	teller := dial()
	told, _ := AddrPort(teller.LocalAddr()) // it is one of UDP
	err = errors.New("nothing was sent")
	for try := 0; try < 50 && err != nil; try++ { // UDP: one that gets lost is sent again.
		send(teller, group)
		_ = other.SetReadDeadline(time.Now().Add(time.Second)) // without one it hangs
		_, _, err = other.ReadFromUDPAddrPort(buf)
	}
	if err != nil {
		t.Fatalf("the other program: %v", err)
	}
	_ = other.Close() // it would get what is sent to one of them
	if err := Socket(conn).JoinGroup(lo, &net.UDPAddr{IP: group.AsSlice()}); err != nil {
		t.Fatal(err)
	}
	arrivals := make(chan Arrival, 1000)
	s := serving(t, &plain{handle: func() []byte { return []byte("y") }}, Config{Group: group, Admit: func(a Arrival) bool {
		arrivals <- a
		return true
	}})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, conn) }()
	ask := func(to netip.Addr) (Arrival, netip.AddrPort) {
		t.Helper()
		var (
			n      int
			from   netip.AddrPort
			client = dial()
		)
		err := errors.New("nothing was sent")
		for try := 0; try < 50 && err != nil; try++ {
			send(client, to)
			_ = client.SetReadDeadline(time.Now().Add(time.Second))
			n, from, err = client.ReadFromUDPAddrPort(buf)
		}
		if err != nil || string(buf[:n]) != "y" || !from.Addr().IsLoopback() || from.Port() != at.Port() {
			t.Fatalf("%q from %v, %v", buf[:n], from, err)
		}
		asked, _ := AddrPort(client.LocalAddr()) // it is one of UDP
		for {
			a := <-arrivals
			if a.Client == told {
				t.Errorf("what another program hears on an interface came in: %+v", a)
			}
			if a.Client == asked {
				return a, from
			}
		}
	}
	// The server has begun: the system tells it all.
	if a, _ := ask(netip.MustParseAddr("127.0.0.5")); a.Destination != netip.MustParseAddr("127.0.0.5") {
		t.Errorf("came in as %+v", a)
	}
	if a, from := ask(group); a.Destination != group || a.Local != from.Addr() || a.Interface != lo.Index || a.Broadcast {
		t.Errorf("came in as %+v, answered from %v", a, from)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
