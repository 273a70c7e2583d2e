package upnp_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/igd"
	"doublenat/igd/igdtest"
	"doublenat/internal/gateway/upnp"
	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/natpmp/natpmptest"
)

var (
	boxAddr    = netip.MustParseAddr("192.168.1.1")
	routerAddr = netip.MustParseAddr("192.168.1.2")
	otherHost  = netip.MustParseAddr("192.168.1.9")
)

// rig is a gateway of the core and a box in memory. It lives inside a synctest bubble.
type rig struct {
	*upnp.Gateway
	box     *igdtest.Gateway
	place   *igdtest.Place
	network *natpmptest.Network
	// stop ends Run and waits for it.
	stop func()

	mu      sync.Mutex // guards what follows
	logs    strings.Builder
	losses  int
	back    int
	changes []string
}

// newRig runs a gateway with a box until the test ends. Its first look is over.
func newRig(t *testing.T, profile igdtest.Profile, change func(*rig, *upnp.Config)) *rig {
	t.Helper()
	box := igdtest.New(igdtest.Config{Profile: profile})
	return newRigWith(t, box, change)
}

func newRigWith(t *testing.T, box *igdtest.Gateway, change func(*rig, *upnp.Config)) *rig {
	t.Helper()
	r := &rig{box: box, network: natpmptest.NewNetwork(natpmptest.NetworkConfig{Seed: 1})}
	r.place = &igdtest.Place{Gateway: r.box, Address: boxAddr, Client: routerAddr, Packets: r.network.Listen}
	cfg := upnp.Config{
		Device:      igd.Config{Gateway: boxAddr, Dial: r.place.Dial, ListenSearch: r.place.ListenSearch},
		Self:        func() netip.Addr { return routerAddr },
		Instance:    "default",
		OnStateLost: func() { r.update(func() { r.losses++ }) },
		OnBack:      func() { r.update(func() { r.back++ }) },
		OnAddressChange: func(before, now netip.Addr) {
			r.update(func() { r.changes = append(r.changes, before.String()+" → "+now.String()) })
		},
		Logger: slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(r, &cfg)
	}
	var err error
	if r.Gateway, err = upnp.New(cfg); err != nil {
		t.Fatal(err)
	}
	serving, unserve := context.WithCancel(context.Background())
	var below, above sync.WaitGroup
	below.Go(func() {
		if err := r.place.Run(serving); err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	synctest.Wait()
	running, halt := context.WithCancel(context.Background())
	above.Go(func() {
		if err := r.Run(running); err != nil {
			t.Errorf("running: %v", err)
		}
	})
	r.stop = func() { halt(); above.Wait() }
	t.Cleanup(func() {
		r.stop()
		unserve()
		below.Wait()
		_ = r.network.Close()
	})
	time.Sleep(300 * time.Millisecond)
	return r
}

// Write takes the log.
func (r *rig) Write(line []byte) (int, error) {
	r.update(func() { r.logs.Write(line) })
	return len(line), nil
}

func (r *rig) update(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// logged returns how many lines of the log have a text.
func (r *rig) logged(text string) (n int) {
	r.update(func() { n = strings.Count(r.logs.String(), text) })
	return n
}

// told returns how often the loss of state was reported.
func (r *rig) told() (n int) {
	r.update(func() { n = r.losses })
	return n
}

// returns says how often the box was reported to be back.
func (r *rig) returns() (n int) {
	r.update(func() { n = r.back })
	return n
}

// log returns the log.
func (r *rig) log() (text string) {
	r.update(func() { text = r.logs.String() })
	return text
}

// addresses returns the changes of the address.
func (r *rig) addresses() (out []string) {
	r.update(func() { out = slices.Clone(r.changes) })
	return out
}

// create is what tests ask for.
func create() nat.LeaseRequest {
	return nat.LeaseRequest{Protocol: nat.TCP, InnerPort: 20000, Lifetime: time.Hour}
}

// ask asks for a lease within a time.
func (r *rig) ask(t *testing.T, req nat.LeaseRequest, within time.Duration) (nat.Lease, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return r.Lease(ctx, req)
}

// must asks for a lease that has to be granted.
func (r *rig) must(t *testing.T, req nat.LeaseRequest) nat.Lease {
	t.Helper()
	lease, err := r.ask(t, req, 8*time.Second)
	if err != nil {
		t.Fatalf("lease: %v", err)
	}
	return lease
}

// release ends a lease, which has to work.
func (r *rig) release(t *testing.T, req nat.LeaseRequest) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	if err := r.Release(ctx, req.Protocol, req.InnerPort); err != nil {
		t.Errorf("release: %v", err)
	}
}

// ports returns the external ports of the box that lead to the router, with their protocols.
func (r *rig) ports() []string {
	var out []string
	for _, m := range r.box.Mappings() {
		if m.Client == routerAddr {
			out = append(out, m.Protocol.String()+" "+netip.AddrPortFrom(boxAddr, m.External).String()[len("192.168.1.1:"):])
		}
	}
	return out
}

// failure returns what an error is to the core.
func failure(t *testing.T, err error) *nat.Error {
	t.Helper()
	e, ok := errors.AsType[*nat.Error](err)
	if !ok || e.Hop != nat.HopGateway {
		t.Fatalf("error %v is none of the gateway", err)
	}
	return e
}

// advice returns what can be done about an error.
func advice(err error) string {
	a, _ := remedy.For(err)
	return a.String()
}
