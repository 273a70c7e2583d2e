package pcp_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
	"doublenat/pcp/pcptest"
)

var (
	gatewayAddr = netip.MustParseAddrPort("192.168.1.1:5351")
	ownAddr     = netip.MustParseAddr("192.168.1.2")
	publicAddr  = netip.MustParseAddr("5.6.7.8")
)

// rig is a client, a test gateway, and the network between them. A packet takes 10 ms.
type rig struct {
	*pcp.Client
	remote  *pcptest.Gateway
	network *natpmptest.Network
	start   time.Time
	stop    context.CancelFunc

	mu sync.Mutex // guards what follows
	// own is what the client takes for its address.
	own netip.Addr
	// heard is what the client told of.
	heard heard
}

// heard is what a client told of.
type heard struct {
	news            []pcp.EpochNews
	updates, strays []pcp.Response
	identities      []netip.Addr
}

// told returns what the client told of until now.
func (r *rig) told() heard {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heard
}

// newRig starts everything in a bubble of virtual time, and ends it with the test.
func newRig(t *testing.T, profile pcptest.Profile, configure func(cfg *pcp.ClientConfig)) *rig {
	t.Helper()
	r := &rig{
		start: time.Now(), own: ownAddr,
		network: natpmptest.NewNetwork(natpmptest.NetworkConfig{Latency: 10 * time.Millisecond, Capture: 10000}),
	}
	var err error
	if r.remote, err = pcptest.New(profile, natpmptest.Config{Journal: 10000}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	listens := make(chan struct{})
	begun := sync.OnceFunc(func() { close(listens) })
	go func() {
		ended <- r.remote.ListenAndServe(ctx, func(context.Context) (net.PacketConn, error) {
			defer begun()
			return r.network.Listen(gatewayAddr)
		})
	}()
	<-listens // else the first request may find it refusing
	r.Client, r.stop = r.another(t, configure)
	t.Cleanup(func() {
		r.stop()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stopping the gateway: %v", err)
		}
		_ = r.network.Close()
	})
	return r
}

// another starts a client, as after a restart of ours.
func (r *rig) another(t *testing.T, configure func(cfg *pcp.ClientConfig)) (*pcp.Client, context.CancelFunc) {
	t.Helper()
	cfg := pcp.ClientConfig{
		Dial: func(context.Context) (net.Conn, error) {
			return r.network.Dial(netip.AddrPortFrom(ownAddr, 0), gatewayAddr)
		},
		Address: r.address,
		OnEpoch: func(news pcp.EpochNews, _ uint32) { r.note(func() { r.heard.news = append(r.heard.news, news) }) },
		OnUpdate: func(resp pcp.Response, _ time.Time) {
			r.note(func() { r.heard.updates = append(r.heard.updates, resp) })
		},
		OnStray:    func(resp pcp.Response, _ time.Time) { r.note(func() { r.heard.strays = append(r.heard.strays, resp) }) },
		OnIdentity: func(before, _ netip.Addr) { r.note(func() { r.heard.identities = append(r.heard.identities, before) }) },
		Logger:     slog.New(slog.DiscardHandler),
	}
	if configure != nil {
		configure(&cfg)
	}
	c, err := pcp.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	return c, sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stopping the client: %v", err)
		}
	})
}

// address is what the client takes for its own.
func (r *rig) address() netip.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.own
}

// note changes what the mutex guards.
func (r *rig) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// asked returns the requests that were sent, and when.
func (r *rig) asked(t *testing.T) (requests []pcp.Request, at []time.Duration) {
	t.Helper()
	for _, p := range r.network.Packets(natpmptest.PacketSent) {
		if p.To != gatewayAddr {
			continue
		}
		req, err := pcp.ParseRequest(p.Payload)
		if err != nil {
			t.Fatalf("the client sent %s: %v", hex.EncodeToString(p.Payload), err)
		}
		requests, at = append(requests, req), append(at, p.At.Sub(r.start))
	}
	return requests, at
}

// within returns a context that ends so soon.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// seeded is a source of random numbers that are the same in each run.
func seeded() *rand.ChaCha8 { return rand.NewChaCha8([32]byte(bytes.Repeat([]byte{7}, 32))) }

// want is a usual request.
func want() pcp.MapRequest {
	return pcp.MapRequest{Protocol: pcp.TCP, InternalPort: 6881, ExternalPort: 51413, Lifetime: 3600}
}
