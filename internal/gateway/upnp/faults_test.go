package upnp_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/igd"
	"doublenat/igd/igdtest"
	"doublenat/internal/gateway/upnp"
	"doublenat/internal/nat"
)

// faults are the ways in which a box fails, each as what it does for a while.
func faults() map[string]func(r *rig, dice *rand.Rand) {
	set := func(change func(*igdtest.Profile)) func(*rig, *rand.Rand) {
		return func(r *rig, _ *rand.Rand) { r.box.Adjust(change) }
	}
	return map[string]func(*rig, *rand.Rand){
		"silence":   set(func(p *igdtest.Profile) { p.Silent = true }),
		"refusal":   func(r *rig, _ *rand.Rand) { r.place.Move(0) },
		"loss":      set(func(p *igdtest.Profile) { p.LoseAnswers = 2 }),
		"late":      set(func(p *igdtest.Profile) { p.ServiceTime = 7 * time.Second }),
		"duplicate": set(func(p *igdtest.Profile) { p.SearchCopies = 5 }),
		"restart":   func(r *rig, _ *rand.Rand) { r.box.Restart(false) },
		"other port": func(r *rig, dice *rand.Rand) {
			// Somebody else takes some of the ports.
			r.box.Restart(false)
			for range 5 {
				r.box.Put(igd.Mapping{Protocol: igd.TCP, External: uint16(20000 + dice.IntN(8)), Client: otherHost, Internal: 1})
			}
		},
		"other address": func(r *rig, dice *rand.Rand) {
			r.box.SetAddress(netip.AddrFrom4([4]byte{5, 6, 7, byte(dice.IntN(256))}))
			r.place.Move(uint16(5000 + dice.IntN(100)))
		},
		"full":     set(func(p *igdtest.Profile) { p.MaxMappings = 2 }),
		"nonsense": set(func(p *igdtest.Profile) { p.Response = igdtest.Nonsense().Response }),
		"slow":     set(func(p *igdtest.Profile) { p.ServiceTime = 1500 * time.Millisecond }),
		"flipping": set(func(p *igdtest.Profile) { p.Answers = igdtest.Flipping().Answers }),
	}
}

var seeds = flag.Uint64("seeds", 1, "how often TestFaults lives through each fault with each box")

// TestFaults: whatever the box does, no success is told that is none, no other host's
// mapping is touched, and nothing is left once it is well again and all was released.
func TestFaults(t *testing.T) {
	t.Parallel()
	profiles := []igdtest.Profile{igdtest.IGD2(), igdtest.IGD1(), igdtest.Permanent()}
	if testing.Short() {
		profiles = profiles[:1]
	}
	for name, fault := range faults() {
		for _, profile := range profiles {
			t.Run(name+" "+profile.Name, func(t *testing.T) {
				t.Parallel()
				for seed := range *seeds {
					synctest.Test(t, func(t *testing.T) { liveThrough(t, profile, fault, seed) })
				}
			})
		}
	}
}

func liveThrough(t *testing.T, profile igdtest.Profile, fault func(*rig, *rand.Rand), seed uint64) {
	t.Helper()
	dice := rand.New(rand.NewPCG(seed, 1))
	r := newRig(t, profile, nil)
	held := make(map[nat.Key]uint16)
	for round := range 12 {
		if round%3 == 1 {
			fault(r, dice)
		} else {
			r.box.Adjust(func(p *igdtest.Profile) { *p = profile })
			if round%3 == 2 {
				r.place.Move(5000)
			}
		}
		for range 4 {
			turn(t, r, dice, held)
			time.Sleep(time.Duration(dice.IntN(90)) * time.Second)
		}
	}
	r.box.Adjust(func(p *igdtest.Profile) { *p = profile })
	r.place.Move(5000)
	time.Sleep(time.Minute)
	for inner := uint16(20000); inner < 20004; inner++ {
		r.release(t, nat.LeaseRequest{Protocol: nat.TCP, InnerPort: inner})
	}
	if left := r.ports(); len(left) > 0 {
		t.Errorf("seed %d: left %v\n%s", seed, left, r.log())
	}
}

// turn is a lease, a renewal or a release of one of a few ports.
func turn(t *testing.T, r *rig, dice *rand.Rand, held map[nat.Key]uint16) {
	t.Helper()
	key := nat.Key{Protocol: nat.TCP, InternalPort: uint16(20000 + dice.IntN(4))}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	foreign := others(r)
	defer func() {
		if now := others(r); now != foreign {
			t.Errorf("other hosts had %s, have %s", foreign, now)
		}
	}()
	if dice.IntN(4) == 0 {
		if err := r.Release(ctx, key.Protocol, key.InternalPort); err == nil {
			delete(held, key)
		}
		return
	}
	lease, err := r.Lease(ctx, nat.LeaseRequest{
		Protocol: key.Protocol, InnerPort: key.InternalPort, ExternalPort: held[key], Lifetime: time.Hour, Renewal: held[key] != 0,
	})
	if err != nil {
		_ = failure(t, err) // It says what the core has to know.
		return
	}
	held[key] = lease.ExternalPort
	if m, ok := at(r, lease.ExternalPort); !ok || m.Client != routerAddr || m.Internal != key.InternalPort {
		t.Errorf("a success that is none: %+v, the box has %+v", lease, m)
	}
}

// at returns the mapping of a port.
func at(r *rig, port uint16) (igd.Mapping, bool) {
	for _, m := range r.box.Mappings() {
		if m.Protocol == igd.TCP && m.External == port {
			return m, true
		}
	}
	return igd.Mapping{}, false
}

// others returns the mappings of other hosts.
func others(r *rig) (out string) {
	for _, m := range r.box.Mappings() {
		if m.Client != routerAddr {
			out += fmt.Sprintf("%d ", m.External)
		}
	}
	return out
}

// BenchmarkRenewal: what a renewal costs here, with a box in memory.
func BenchmarkRenewal(b *testing.B) {
	box := igdtest.New(igdtest.Config{Profile: igdtest.IGD1()})
	place := &igdtest.Place{Gateway: box, Address: boxAddr, Client: routerAddr}
	g, err := upnp.New(upnp.Config{
		Device: igd.Config{Description: "http://192.168.1.1:5000/rootDesc.xml", Dial: place.Dial},
		Self:   func() netip.Addr { return routerAddr },
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 2)
	go func() { done <- place.Run(ctx) }()
	go func() { done <- g.Run(ctx) }()
	req := nat.LeaseRequest{Protocol: nat.TCP, InnerPort: 20000, Lifetime: time.Hour}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Lease(ctx, req); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	if err := errors.Join(<-done, <-done); err != nil {
		b.Error(err)
	}
}
