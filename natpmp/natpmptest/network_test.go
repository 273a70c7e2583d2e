package natpmptest_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp/natpmptest"
)

// listen opens a socket that is closed with the test.
func listen(t *testing.T, n *natpmptest.Network, addr string) net.PacketConn {
	t.Helper()
	c, err := n.Listen(netip.MustParseAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// dial opens a connected socket that is closed with the test.
func dial(t *testing.T, n *natpmptest.Network, local, remote string) net.Conn {
	t.Helper()
	c, err := n.Dial(netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// receive returns the next packet and its sender, or "" when none comes within a second.
func receive(t *testing.T, c net.PacketConn) (payload, from string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, addr, err := c.ReadFrom(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "", ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n]), addr.String()
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}

func TestNetworkDelivers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
		server := listen(t, n, "10.0.0.1:5351")
		client := dial(t, n, "10.0.0.2:0", "10.0.0.1:5351")
		write(t, client, "ping")
		got, from := receive(t, server)
		if got != "ping" || from != client.LocalAddr().String() || from != "10.0.0.2:49152" {
			t.Fatalf("got %q from %s", got, from)
		}
		if _, err := server.WriteTo([]byte("pong"), client.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		if got := hear(t, client); got != fmt.Sprintf("%x", "pong") {
			t.Fatalf("got %q", got)
		}
		want := map[natpmptest.Kind]uint64{natpmptest.PacketSent: 2, natpmptest.PacketDelivered: 2}
		if diff := cmp.Diff(want, n.Counts()); diff != "" {
			t.Error(diff)
		}
	})
}

// A connected socket hears its peer alone; a forger's packet meets no socket.
func TestNetworkConnectedSocketHearsItsPeerAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
		client := dial(t, n, "10.0.0.2:7000", "10.0.0.1:5351")
		to := netip.MustParseAddrPort("10.0.0.2:7000")
		n.Inject(netip.MustParseAddrPort("10.0.0.9:5351"), to, []byte("forged"))
		n.Inject(netip.MustParseAddrPort("10.0.0.1:5352"), to, []byte("other port"))
		n.Inject(netip.MustParseAddrPort("10.0.0.1:5351"), to, []byte("well forged"))
		if got := hear(t, client); got != fmt.Sprintf("%x", "well forged") {
			t.Fatalf("got %q", got)
		}
		want := map[natpmptest.Kind]uint64{
			natpmptest.PacketInjected: 3, natpmptest.PacketDelivered: 1, natpmptest.PacketRefused: 2,
		}
		if diff := cmp.Diff(want, n.Counts()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNetworkRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := natpmptest.NewNetwork(natpmptest.NetworkConfig{Latency: 10 * time.Millisecond})
		client := dial(t, n, "10.0.0.2:0", "10.0.0.1:5351")
		start := time.Now()
		write(t, client, "anybody there?")
		if _, err := client.Read(make([]byte, 10)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("Read: %v, want ECONNREFUSED", err)
		}
		if took := time.Since(start); took != 10*time.Millisecond {
			t.Errorf("refused after %v", took)
		}
		write(t, client, "again") // the error was told once
		time.Sleep(20 * time.Millisecond)
		if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("Write: %v, want ECONNREFUSED", err)
		}
		// A peer that opens its socket is reached by the same client.
		server := listen(t, n, "10.0.0.1:5351")
		write(t, client, "now")
		if got, _ := receive(t, server); got != "now" {
			t.Errorf("got %q", got)
		}
	})
}

func TestNetworkWildcardAnswersFromTheAddressAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
		server := listen(t, n, "0.0.0.0:5351")
		special := listen(t, n, "10.0.0.7:5351")
		for _, asked := range []string{"10.0.0.1:5351", "192.168.88.1:5351"} {
			client := dial(t, n, "10.0.0.2:0", asked)
			write(t, client, "hello")
			if got, _ := receive(t, server); got != "hello" {
				t.Fatalf("asked at %s the server got %q", asked, got)
			}
			if _, err := server.WriteTo([]byte("!"), client.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			if got := hear(t, client); got != "21" {
				t.Errorf("asked at %s the client got %q", asked, got)
			}
		}
		write(t, dial(t, n, "10.0.0.2:0", "10.0.0.7:5351"), "special")
		if got, _ := receive(t, special); got != "special" {
			t.Errorf("the socket of one address got %q", got)
		}
	})
}

func TestNetworkMulticast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
		first, second := listen(t, n, "224.0.0.1:5350"), listen(t, n, "224.0.0.1:5350")
		n.Inject(gatewayAddr, netip.MustParseAddrPort("224.0.0.1:5350"), []byte("news"))
		for _, c := range []net.PacketConn{first, second} {
			if got, from := receive(t, c); got != "news" || from != gatewayAddr.String() {
				t.Errorf("got %q from %s", got, from)
			}
		}
	})
}

func TestNetworkDeadlinesAndClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
		c := dial(t, n, "10.0.0.2:0", "10.0.0.1:5351")
		read := func() error {
			_, err := c.Read(make([]byte, 10))
			return err
		}
		start := time.Now()
		_ = c.SetDeadline(start.Add(3 * time.Second))
		var timeout net.Error
		if err := read(); !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write after the deadline: %v", err)
		}
		_ = c.SetDeadline(time.Time{})
		_ = c.SetReadDeadline(start.Add(5 * time.Second))
		_ = c.SetReadDeadline(start.Add(4 * time.Second)) // moved before it passed
		if err := read(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 4*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		_ = c.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { c.Close() })
		if err := read(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read when closed: %v", err)
		}
		if _, err := c.Write(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write when closed: %v", err)
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestNetworkAddressesInUse(t *testing.T) {
	t.Parallel()
	n := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
	first := listen(t, n, "10.0.0.1:5351")
	if _, err := n.Listen(gatewayAddr); err != nil {
		t.Errorf("another address: %v", err)
	}
	same := netip.MustParseAddrPort("10.0.0.1:5351")
	if c, err := n.Listen(same); !errors.Is(err, syscall.EADDRINUSE) || c != nil {
		t.Errorf("same address: %v, %v", c, err)
	}
	first.Close()
	if _, err := n.Listen(same); err != nil {
		t.Errorf("after Close: %v", err)
	}
	if c, err := n.Dial(netip.MustParseAddrPort("[::1]:0"), same); err == nil || c != nil {
		t.Errorf("IPv6: %v, %v", c, err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if _, err := n.Listen(netip.MustParseAddrPort("10.0.0.1:0")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("on a closed network: %v", err)
	}
}

// A server that answers a client which has gone hears nothing of it, as no
// unconnected UDP socket does.
func TestNetworkUnconnectedSocketIsNotRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
		server := listen(t, n, "10.0.0.1:5351")
		gone := &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 7000}
		if _, err := server.WriteTo([]byte("late"), gone); err != nil {
			t.Fatal(err)
		}
		write(t, dial(t, n, "10.0.0.2:0", "10.0.0.1:5351"), "next")
		if got, _ := receive(t, server); got != "next" {
			t.Errorf("got %q", got)
		}
		if c := n.Counts()[natpmptest.PacketRefused]; c != 1 {
			t.Errorf("%d refused, want 1", c)
		}
	})
}

// Ephemeral ports come in turn and are found again after they ran out.
func TestNetworkEphemeralPorts(t *testing.T) {
	t.Parallel()
	n := natpmptest.NewNetwork(natpmptest.NetworkConfig{Queue: 1})
	defer n.Close()
	local, remote := netip.MustParseAddrPort("10.0.0.2:0"), netip.MustParseAddrPort("10.0.0.1:1")
	kept, err := n.Dial(local, remote)
	if err != nil {
		t.Fatal(err)
	}
	var last net.Conn
	for range 65536 - 49152 {
		if last, err = n.Dial(local, remote); err != nil {
			break
		}
		last.Close()
	}
	if err != nil || last.LocalAddr().String() != "10.0.0.2:49153" || kept.LocalAddr().String() != "10.0.0.2:49152" {
		t.Errorf("last %v, kept %v, error %v", last.LocalAddr(), kept.LocalAddr(), err)
	}
}

// Packets that came at once wake as many readers as there are.
func TestNetworkSeveralReaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := natpmptest.NewNetwork(natpmptest.NetworkConfig{Latency: time.Millisecond})
		server := listen(t, n, "10.0.0.1:5351")
		var wg sync.WaitGroup
		got := make(chan string, 3)
		for range 3 {
			wg.Go(func() {
				s := make([]byte, 10)
				size, _, err := server.ReadFrom(s)
				if err != nil {
					t.Error(err)
				}
				got <- string(s[:size])
			})
		}
		client := dial(t, n, "10.0.0.2:0", "10.0.0.1:5351")
		for _, s := range []string{"a", "b", "c"} {
			write(t, client, s)
		}
		wg.Wait() // a reader that sleeps on is a deadlock of the bubble
		all := []string{<-got, <-got, <-got}
		slices.Sort(all)
		if diff := cmp.Diff([]string{"a", "b", "c"}, all); diff != "" {
			t.Error(diff)
		}
	})
}
