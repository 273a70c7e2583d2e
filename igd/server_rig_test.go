package igd_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"doublenat/igd"
	"doublenat/igd/igdtest"
	"doublenat/internal/datagram"
)

// ports is a handler with a table in memory.
type ports struct {
	mu sync.Mutex // guards what follows
	// all has what is mapped, in the order in which it was made.
	all []igd.Mapping
	// ends is when each ends; the zero time is never.
	ends map[igd.Mapping]time.Time
	way  igd.Connection
	// asked counts the calls of each client; fail is what the next calls return.
	asked int
	fail  error
	// before is called at the beginning of each call that maps or unmaps.
	before func(ctx context.Context)
}

var _ igd.Handler = (*ports)(nil)

func newPorts() *ports {
	return &ports{
		ends: make(map[igd.Mapping]time.Time),
		way:  igd.Connection{Status: igd.Connected, Address: netip.MustParseAddr("5.6.7.8"), Uptime: time.Hour},
	}
}

// begin counts a call.
func (p *ports) begin(ctx context.Context) error {
	p.mu.Lock()
	before, fail := p.before, p.fail
	p.asked++
	p.mu.Unlock()
	if before != nil {
		before(ctx)
	}
	return fail
}

// holderLocked returns whose an external port is.
func (p *ports) holderLocked(protocol igd.Protocol, external uint16) int {
	return slices.IndexFunc(p.all, func(m igd.Mapping) bool { return m.Protocol == protocol && m.External == external })
}

func (p *ports) AddPortMapping(ctx context.Context, _ igd.Arrival, m igd.Mapping, choice igd.Choice) (uint16, error) {
	if err := p.begin(ctx); err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if choice == igd.Any && m.External == 0 {
		m.External = 50000
	}
	for {
		i := p.holderLocked(m.Protocol, m.External)
		switch {
		case i < 0:
			p.all = append(p.all, m)
			return m.External, nil
		case p.all[i].Client == m.Client && (choice == igd.Exact || p.all[i].Internal == m.Internal):
			p.all[i] = m
			return m.External, nil
		case choice == igd.Exact:
			return 0, &igd.ActionError{Code: igd.CodeConflict}
		}
		m.External++
	}
}

func (p *ports) DeletePortMapping(ctx context.Context, from igd.Arrival, protocol igd.Protocol, external uint16) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.holderLocked(protocol, external)
	if i < 0 || p.all[i].Client != from.Client.Addr() {
		return &igd.ActionError{Code: igd.CodeNoSuchEntry}
	}
	p.all = slices.Delete(p.all, i, i+1)
	return nil
}

// PortMappings returns all, so that it is the server who keeps them apart.
func (p *ports) PortMappings(igd.Arrival) []igd.Mapping {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.all)
}

func (p *ports) Connection() igd.Connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.way
}

// put makes a mapping that nobody asked for.
func (p *ports) put(all ...igd.Mapping) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, all...)
}

// serverConfig is what most tests need: a gateway at the given place.
func serverConfig(handler igd.Handler, at netip.AddrPort) igd.ServerConfig {
	return igd.ServerConfig{
		Handler: handler, UUID: [16]byte{1, 2, 3}, Boot: func() uint32 { return 7 },
		Location: func(igd.Arrival) netip.AddrPort { return at },
	}
}

// newServer returns a server, or ends the test.
func newServer(tb testing.TB, cfg igd.ServerConfig) *igd.Server {
	tb.Helper()
	s, err := igd.NewServer(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// serving runs something until the test ends, and has it end well.
func serving(tb testing.TB, run func(ctx context.Context) error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("serving: %v", err)
		}
	})
}

// serveSearches answers searches on a socket until the test ends.
func serveSearches(tb testing.TB, s *igd.Server, conn net.PacketConn, admit func(igd.Arrival) bool) *datagram.Server {
	tb.Helper()
	d, err := datagram.NewServer(datagram.Config{
		Protocol: func(byte) datagram.Protocol { return s.Searches() }, Admit: admit, Group: igd.SearchGroup(),
	})
	if err != nil {
		tb.Fatal(err)
	}
	serving(tb, func(ctx context.Context) error { return d.Serve(ctx, conn) })
	return d
}

// serverAddr is where servers in memory are, clientAddr where their clients are.
var (
	serverAddr = netip.MustParseAddrPort("192.168.88.1:5000")
	clientAddr = netip.MustParseAddrPort("192.168.88.10:40000")
)

// inMemory serves HTTP in memory until the test ends.
func inMemory(tb testing.TB, cfg igd.ServerConfig) (*igd.Server, *igdtest.Listener) {
	tb.Helper()
	s, ln := newServer(tb, cfg), igdtest.Listen(serverAddr)
	serving(tb, func(ctx context.Context) error { return s.Serve(ctx, ln) })
	return s, ln
}
