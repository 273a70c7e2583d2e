package main

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/igd"
	"doublenat/igd/igdtest"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// TestUPnPTongue asks boxes of both versions: the first grants the very port or none, the other
// another one, and both are asked which mapping is this host's before it is ended.
func TestUPnPTongue(t *testing.T) {
	t.Parallel()
	own, other := netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("192.168.1.3")
	for name, tt := range map[string]struct {
		profile igdtest.Profile
		taken   bool
		want    uint16 // 0: refused
		code    igd.Code
	}{
		"version 1":        {profile: igdtest.IGD1(), want: 8080},
		"version 1, taken": {profile: igdtest.IGD1(), taken: true, code: igd.CodeConflict},
		"PPP":              {profile: igdtest.PPP(), want: 8080},
		"version 2":        {profile: igdtest.IGD2(), want: 8080},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				network := natpmptest.NewNetwork(natpmptest.NetworkConfig{Seed: 1})
				box := igdtest.New(igdtest.Config{Profile: tt.profile})
				box.Put(igd.Mapping{Protocol: igd.TCP, External: 9, Client: other, Internal: 8080, Lease: time.Hour})
				box.Put(igd.Mapping{Protocol: igd.UDP, External: 10, Client: own, Internal: 8080, Lease: time.Hour})
				if tt.taken {
					box.Put(igd.Mapping{Protocol: igd.TCP, External: 8080, Client: other, Internal: 1, Lease: time.Hour})
				}
				place := &igdtest.Place{Gateway: box, Address: netip.MustParseAddr("192.168.1.1"), Client: own, Packets: network.Listen}
				c, err := igd.NewClient(igd.Config{Gateway: place.Address, Dial: place.Dial, ListenSearch: place.ListenSearch})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(context.Background())
				var serving sync.WaitGroup
				serving.Go(func() { _ = place.Run(ctx) })
				asked := newIGDTongue(c, own, place.Address, nil)
				serving.Go(func() { _ = asked.Run(ctx) })
				defer func() { cancel(); serving.Wait(); _ = network.Close() }()
				synctest.Wait()
				got, err := asked.Map(ctx, natpmp.MapRequest{Opcode: natpmp.OpMapTCP, InternalPort: 8080, Lifetime: 600})
				if igd.CodeOf(err) != tt.code || tt.code == 0 && (got.ExternalPort != tt.want || got.Lifetime != 600) {
					t.Errorf("granted %+v, %v", got, err)
				}
				if address, err := asked.ExternalAddress(ctx); err != nil || address != netip.MustParseAddr("5.6.7.8") {
					t.Errorf("address %v, %v", address, err)
				}
				before := len(box.Mappings())
				for range 2 { // the second time there is none, which is no error
					if err := asked.Unmap(ctx, natpmp.OpMapTCP, 8080); err != nil {
						t.Error(err)
					}
				}
				ended := 0
				if tt.want != 0 {
					ended = 1
				}
				if after := len(box.Mappings()); after != before-ended {
					t.Errorf("%d mappings, then %d", before, after)
				}
			})
		})
	}
	c, err := igd.NewClient(igd.Config{Gateway: netip.MustParseAddr("192.168.1.1")})
	if err != nil {
		t.Fatal(err)
	}
	silent := newIGDTongue(c, own, netip.MustParseAddr("192.168.1.1"), nil)
	for _, err := range []error{igd.ErrSilent, context.Canceled} {
		ctx, cancel := context.WithCancel(context.Background())
		if errors.Is(err, context.Canceled) {
			cancel()
		}
		if _, ok := errors.AsType[*natpmp.TimeoutError](silent.silent(ctx, err)); !ok {
			t.Errorf("%v is no silence", err)
		}
		cancel()
	}
}
