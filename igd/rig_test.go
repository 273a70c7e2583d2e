package igd_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/igd"
	"doublenat/igd/igdtest"
	"doublenat/natpmp/natpmptest"
)

var (
	boxAddr    = netip.MustParseAddr("192.168.1.1")
	routerAddr = netip.MustParseAddr("192.168.1.2")
)

// rig is a client and a box in memory. It lives inside a synctest bubble.
type rig struct {
	*igd.Client
	box     *igdtest.Gateway
	place   *igdtest.Place
	network *natpmptest.Network
}

// newRig serves a box until the test ends.
func newRig(t *testing.T, profile igdtest.Profile, change func(*igd.Config)) *rig {
	t.Helper()
	r := &rig{box: igdtest.New(igdtest.Config{Profile: profile}), network: natpmptest.NewNetwork(natpmptest.NetworkConfig{Seed: 1})}
	r.place = &igdtest.Place{Gateway: r.box, Address: boxAddr, Client: routerAddr, Packets: r.network.Listen}
	dial := func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		if to.Addr() != boxAddr {
			t.Errorf("asked %v, which is not the box", to)
		}
		return r.place.Dial(ctx, to)
	}
	cfg := igd.Config{Gateway: boxAddr, Dial: dial, ListenSearch: r.place.ListenSearch}
	if change != nil {
		change(&cfg)
	}
	client, err := igd.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Client = client
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := r.place.Run(ctx); err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	t.Cleanup(func() {
		client.Close()
		cancel()
		serving.Wait()
		_ = r.network.Close()
	})
	synctest.Wait()
	return r
}

// within returns a context of so much time.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// mapping is what tests ask for.
func mapping() igd.Mapping {
	return igd.Mapping{
		Protocol: igd.TCP, External: 20000, Client: routerAddr, Internal: 20000, Lease: 2 * time.Hour, Description: "doublenat:a<b",
	}
}
