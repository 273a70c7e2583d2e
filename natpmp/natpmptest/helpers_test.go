package natpmptest_test

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

var (
	gatewayAddr = netip.MustParseAddrPort("10.2.0.1:5351")
	routerAddr  = netip.MustParseAddr("10.2.0.2")
	otherAddr   = netip.MustParseAddr("10.2.0.3")
)

// bench is a gateway on a network in memory.
type bench struct {
	*natpmptest.Gateway
	net *natpmptest.Network
}

// newBench starts a gateway; everything ends with the test.
func newBench(t *testing.T, cfg natpmptest.Config) *bench {
	t.Helper()
	return newBenchOn(t, natpmptest.NewNetwork(natpmptest.NetworkConfig{Capture: 1000}), cfg)
}

func newBenchOn(t *testing.T, n *natpmptest.Network, cfg natpmptest.Config) *bench {
	t.Helper()
	g, err := natpmptest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- g.ListenAndServe(ctx, func(context.Context) (net.PacketConn, error) { return n.Listen(gatewayAddr) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ListenAndServe: %v", err)
		}
		if err := n.Close(); err != nil {
			t.Errorf("closing the network: %v", err)
		}
	})
	synctest.Wait() // until the socket is open
	return &bench{Gateway: g, net: n}
}

// dial returns a client's socket.
func (b *bench) dial(t *testing.T, from netip.Addr) net.Conn {
	t.Helper()
	c, err := b.net.Dial(netip.AddrPortFrom(from, 0), gatewayAddr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ask sends a packet in hex and returns the reply in hex, "" for none within a minute.
func ask(t *testing.T, c net.Conn, packet string) string {
	t.Helper()
	if _, err := c.Write(unhex(t, packet)); err != nil {
		t.Fatalf("sending %s: %v", packet, err)
	}
	return hear(t, c)
}

// hear returns the next packet in hex, "" for none within a minute.
func hear(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2000)
	n, err := c.Read(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ""
	}
	if err != nil {
		t.Fatalf("reading: %v", err)
	}
	return hex.EncodeToString(buf[:n])
}

// request sends a map request and returns the parsed reply.
func request(t *testing.T, c net.Conn, op natpmp.Opcode, internal, external uint16, lifetime uint32) natpmp.Response {
	t.Helper()
	req := natpmp.Request{Opcode: op, InternalPort: internal, SuggestedExternalPort: external, Lifetime: lifetime}
	reply := ask(t, c, hex.EncodeToString(req.Append(nil)))
	resp, err := natpmp.ParseResponse(unhex(t, reply))
	if err != nil {
		t.Fatalf("reply %q to %+v: %v", reply, req, err)
	}
	return resp
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(compact(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// compact removes the spaces that make hex readable.
func compact(s string) string { return strings.ReplaceAll(s, " ", "") }

// addrs lets cmp compare addresses.
func addrs() cmp.Option { return cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}) }
