package gateway_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"doublenat/internal/gateway"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

var (
	gatewayAddr = netip.MustParseAddrPort("10.2.0.1:5351")
	tunnelAddr  = netip.MustParseAddrPort("10.2.0.2:0")
	publicAddr  = netip.MustParseAddr("5.6.7.8")
)

// change is a call of OnAddressChange.
type change struct{ Before, Now string }

// rig is a gateway of ours, a test gateway, and the network between them.
type rig struct {
	*gateway.Gateway
	remote  *natpmptest.Gateway
	network *natpmptest.Network
	start   time.Time

	mu sync.Mutex
	// losses, changes and logs are guarded by mu.
	losses  []time.Duration
	changes []change
	logs    bytes.Buffer
}

// newRig starts everything in a bubble of virtual time, and ends it with the test.
// A packet takes 10 ms.
func newRig(t *testing.T, profile natpmptest.Profile, configure func(r *rig, cfg *gateway.Config)) *rig {
	t.Helper()
	r := newNetwork()
	remote, err := natpmptest.New(natpmptest.Config{Profile: profile, Journal: 10000})
	if err != nil {
		t.Fatal(err)
	}
	r.remote = remote
	cfg := r.config()
	if configure != nil {
		configure(r, &cfg)
	}
	g, err := gateway.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.run(t, g)
	return r
}

// newNetwork returns a rig that has nobody on its network yet.
func newNetwork() *rig {
	return &rig{
		start:   time.Now(),
		network: natpmptest.NewNetwork(natpmptest.NetworkConfig{Latency: 10 * time.Millisecond, Capture: 10000}),
	}
}

// config returns what a gateway of the rig is made from.
func (r *rig) config() gateway.Config {
	return gateway.Config{
		Dial:            func(context.Context) (net.Conn, error) { return r.network.Dial(tunnelAddr, gatewayAddr) },
		OnStateLost:     r.stateLost,
		OnAddressChange: r.addressChanged,
		Logger:          slog.New(slog.NewTextHandler(r, nil)),
	}
}

// run starts the test gateway and ours, and ends them with the test.
func (r *rig) run(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	r.Gateway = g
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	listens := make(chan struct{})
	begun := sync.OnceFunc(func() { close(listens) })
	go func() {
		done <- r.remote.ListenAndServe(ctx, func(context.Context) (net.PacketConn, error) {
			defer begun()
			return r.network.Listen(gatewayAddr)
		})
	}()
	<-listens // else the first request may find it refusing
	go func() { done <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("stopping: %v", err)
			}
		}
		if err := r.network.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (r *rig) stateLost() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.losses = append(r.losses, time.Since(r.start))
}

func (r *rig) addressChanged(before, now netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = append(r.changes, change{Before: before.String(), Now: now.String()})
}

// Write takes in the log.
func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.logs.Write(p)
}

// stateLosses returns when OnStateLost was called.
func (r *rig) stateLosses() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]time.Duration(nil), r.losses...)
}

// addressChanges returns the calls of OnAddressChange.
func (r *rig) addressChanges() []change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]change(nil), r.changes...)
}

// logged returns how often the log has the text.
func (r *rig) logged(text string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.logs.String(), text)
}

// asked returns when requests of the opcode were sent.
func (r *rig) asked(op natpmp.Opcode) []time.Duration {
	var at []time.Duration
	for _, p := range r.network.Packets(natpmptest.PacketSent) {
		if p.To == gatewayAddr && natpmp.Opcode(p.Payload[1]) == op {
			at = append(at, p.At.Sub(r.start))
		}
	}
	return at
}

// swallow makes the network eat everything between the two, or stop to.
func (r *rig) swallow(on bool) {
	r.network.SetFaults(natpmptest.Between(tunnelAddr.Addr(), gatewayAddr.Addr()), natpmptest.Faults{Blackhole: on})
}
