package frontend_test

import (
	"cmp"
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/frontend"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

var (
	routerAddr = netip.MustParseAddrPort("192.168.88.1:5351")
	publicAddr = netip.MustParseAddr("5.6.7.8")
	clientA    = netip.MustParseAddr("192.168.88.10")
	clientB    = netip.MustParseAddr("192.168.88.11")
)

// fakeCore notes what it is asked and answers by its functions.
type fakeCore struct {
	// takes is how long everything takes.
	takes time.Duration
	// grant and err are what it answers.
	grant nat.Grant
	err   error
	// panics makes Map a bug.
	panics bool

	mu sync.Mutex
	// calls is guarded by mu.
	calls []string
}

func (c *fakeCore) note(call string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, call)
}

// asked returns what it was asked, in words.
func (c *fakeCore) asked() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.calls...)
}

func (c *fakeCore) wait(ctx context.Context) {
	select {
	case <-time.After(c.takes):
	case <-ctx.Done():
	}
}

func (c *fakeCore) Map(ctx context.Context, req nat.MapRequest) (nat.Grant, error) {
	said := "map " + req.Key.String() + " for " + req.Lifetime.String()
	if req.Filter != (nat.Filter{}) {
		said += []string{"", " and from ", " from "}[req.Filter.Op] + cmp.Or(req.Filter.Remote.String(), "everybody")
	}
	c.note(said)
	c.wait(ctx)
	if c.panics {
		panic("a bug")
	}
	return c.grant, c.err
}

func (c *fakeCore) Unmap(ctx context.Context, key nat.Key) error {
	c.note("unmap " + key.String())
	c.wait(ctx)
	return c.err
}

func (c *fakeCore) UnmapAll(ctx context.Context, client netip.Addr, p nat.Protocol) error {
	c.note("unmap all " + p.String() + " of " + client.String())
	c.wait(ctx)
	return c.err
}

// rig is a frontend behind a server, on a network in memory.
type rig struct {
	*frontend.Frontend
	core    *fakeCore
	network *natpmptest.Network
	server  *natpmp.Server
}

// newRig starts everything in a bubble of virtual time, and ends it with the test.
func newRig(t *testing.T, core *fakeCore, configure func(cfg *frontend.Config, server *natpmp.ServerConfig)) *rig {
	t.Helper()
	r := &rig{core: core, network: natpmptest.NewNetwork(natpmptest.NetworkConfig{})}
	cfg := frontend.Config{Core: core, External: func() (netip.Addr, bool) { return publicAddr, true }}
	server := natpmp.ServerConfig{Epoch: natpmp.NewEpoch()}
	if configure != nil {
		configure(&cfg, &server)
	}
	f, err := frontend.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Frontend = f
	if server.Admit == nil {
		server.Admit = f.Admit
	}
	server.Handler = f
	if r.server, err = natpmp.NewServer(server); err != nil {
		t.Fatal(err)
	}
	conn, err := r.network.Listen(routerAddr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.server.Serve(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := r.network.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// host is a socket of a LAN host.
type host struct {
	t    *testing.T
	conn net.Conn
}

// host opens a socket.
func (r *rig) host(t *testing.T, a netip.Addr) *host {
	t.Helper()
	conn, err := r.network.Dial(netip.AddrPortFrom(a, 0), routerAddr)
	if err != nil {
		t.Fatal(err)
	}
	return &host{t: t, conn: conn}
}

// send sends bytes in hexadecimal.
func (h *host) send(packet string) {
	h.t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(packet, " ", ""))
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.conn.Write(b); err != nil {
		h.t.Fatal(err)
	}
}

// replies returns what came so far, in hexadecimal, once everybody has nothing left to do.
func (h *host) replies() []string {
	h.t.Helper()
	synctest.Wait()
	var got []string
	for {
		if err := h.conn.SetReadDeadline(time.Now().Add(time.Nanosecond)); err != nil {
			h.t.Fatal(err)
		}
		buf := make([]byte, 64)
		n, err := h.conn.Read(buf)
		if err != nil {
			return got
		}
		got = append(got, hex.EncodeToString(buf[:n]))
	}
}
