//go:build linux

package igd_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"doublenat/igd"
	"doublenat/internal/gateway/upnp"
	"doublenat/internal/nat"
)

// TestMiniupnpdForTheCore: the core's view of the server that most boxes have: a lease, a
// renewal, a restart of the box that loses it, a leftover of another run, and the end.
func TestMiniupnpdForTheCore(t *testing.T) {
	t.Parallel()
	needs(t, "miniupnpd", "nft")
	if !alone(t) {
		return
	}
	boxAt, self := netip.MustParseAddr("192.168.77.1"), netip.MustParseAddr("192.168.77.2")
	box := newNeighbor(t, self.String(), boxAt.String())
	stop := startMiniupnpd(t, box)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()

	lost := make(chan struct{}, 10)
	begin := func() (*upnp.Gateway, func()) {
		t.Helper()
		g, err := upnp.New(upnp.Config{
			Device: igd.Config{Gateway: boxAt}, Self: func() netip.Addr { return self }, Instance: "default",
			Look: 300 * time.Millisecond, OnStateLost: func() { lost <- struct{}{} },
		})
		if err != nil {
			t.Fatal(err)
		}
		running, halt := context.WithCancel(ctx)
		done := make(chan error)
		go func() { done <- g.Run(running) }()
		return g, func() {
			halt()
			if err := <-done; err != nil {
				t.Errorf("running: %v", err)
			}
		}
	}
	mappings := func() int {
		return strings.Count(must(t, box.command("nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd")), "dnat ")
	}
	lease := func(g *upnp.Gateway, req nat.LeaseRequest) {
		t.Helper()
		got, err := g.Lease(ctx, req)
		if want := (nat.Lease{ExternalPort: 6881, Lifetime: time.Hour}); err != nil || got != want || mappings() != 1 {
			t.Fatalf("lease %+v, %v, %d mappings; want %+v, 1", got, err, mappings(), want)
		}
	}

	g, end := begin()
	req := nat.LeaseRequest{Protocol: nat.TCP, InnerPort: 20000, ExternalPort: 6881, Lifetime: time.Hour}
	lease(g, req)
	req.Renewal = true
	lease(g, req)
	stop()
	startMiniupnpd(t, box)
	select {
	case <-lost:
	case <-ctx.Done():
		t.Fatalf("nobody noticed the restart: %+v", g.Stats())
	}
	lease(g, req)
	if a, ok := g.External(); !ok || a != netip.MustParseAddr("5.6.7.8") {
		t.Errorf("address %v, %v", a, ok)
	}
	end() // As a crash: nothing is released.

	g, end = begin()
	defer end()
	if err := g.Release(ctx, nat.TCP, 20000); err != nil || mappings() != 0 {
		t.Errorf("release of a leftover: %v, %d mappings are left", err, mappings())
	}
}
