package natpmptest_test

import (
	"context"
	"net/netip"
	"sync"
	"testing"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// A renewal through the network and the gateway and back, among 1000 leases:
// what a simulation does most.
func BenchmarkRenewal(b *testing.B) {
	n := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
	g, err := natpmptest.New(natpmptest.Config{Profile: natpmptest.RFC()})
	if err != nil {
		b.Fatal(err)
	}
	conn, err := n.Listen(gatewayAddr)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.Serve(ctx, conn) })
	defer func() {
		cancel()
		wg.Wait()
		_ = n.Close()
	}()
	c, err := n.Dial(netip.AddrPortFrom(routerAddr, 0), gatewayAddr)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 100)
	renew := func(port uint16) {
		req := natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: port, SuggestedExternalPort: port, Lifetime: 3600}
		if _, err := c.Write(req.Append(buf[:0])); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
	for port := range uint16(1000) {
		renew(1 + port)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		renew(1 + uint16(i%1000))
	}
}

// A socket for one request, as Go's NAT-PMP clients make one.
func BenchmarkDial(b *testing.B) {
	n := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
	b.ReportAllocs()
	for b.Loop() {
		c, err := n.Dial(netip.AddrPortFrom(routerAddr, 0), gatewayAddr)
		if err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}
