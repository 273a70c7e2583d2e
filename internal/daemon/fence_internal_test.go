package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/nat"
	"doublenat/internal/web"
)

var errOver = errors.New("the term is over")

// layer counts what reaches a layer of the core.
type layer struct {
	nat.Router
	nat.Gateway

	calls int
}

func (l *layer) AddRule(ctx context.Context, r nat.Rule) (nat.Rule, error) {
	l.calls++
	return r, ctx.Err()
}

func (l *layer) UpdateRule(ctx context.Context, _, _ nat.Rule) error {
	l.calls++
	return ctx.Err()
}

func (l *layer) RemoveRule(ctx context.Context, _ nat.Rule) error {
	l.calls++
	return ctx.Err()
}

func (l *layer) Rules(context.Context) (nat.Snapshot, error) {
	l.calls++
	return nat.Snapshot{}, nil
}

func (l *layer) Lease(ctx context.Context, _ nat.LeaseRequest) (nat.Lease, error) {
	l.calls++
	return nat.Lease{}, ctx.Err()
}

func (l *layer) Release(ctx context.Context, _ nat.Protocol, _ uint16) error {
	l.calls++
	return ctx.Err()
}

// writes are all ways of the core to change something.
func writes(l *layer, g guard) map[string]func(context.Context) error {
	router, gateway := fencedRouter{l, g}, fencedGateway{l, g}
	return map[string]func(context.Context) error{
		"add":     func(ctx context.Context) error { _, err := router.AddRule(ctx, nat.Rule{}); return err },
		"update":  func(ctx context.Context) error { return router.UpdateRule(ctx, nat.Rule{}, nat.Rule{}) },
		"remove":  func(ctx context.Context) error { return router.RemoveRule(ctx, nat.Rule{}) },
		"lease":   func(ctx context.Context) error { _, err := gateway.Lease(ctx, nat.LeaseRequest{}); return err },
		"release": func(ctx context.Context) error { return gateway.Release(ctx, nat.TCP, 1) },
	}
}

func TestFence(t *testing.T) {
	t.Parallel()
	open := func(ctx context.Context) (context.Context, context.CancelFunc, error) {
		ctx, cancel := context.WithCancel(ctx)
		return ctx, cancel, nil
	}
	closed := func(context.Context) (context.Context, context.CancelFunc, error) { return nil, nil, errOver }
	ending := func(ctx context.Context) (context.Context, context.CancelFunc, error) {
		ctx, cancel := context.WithCancel(ctx)
		cancel() // as if the term ended in the middle of the write
		return ctx, cancel, nil
	}
	for name := range writes(nil, nil) {
		l := new(layer)
		if err := writes(l, open)[name](t.Context()); err != nil || l.calls != 1 {
			t.Errorf("%s in a term: %v, %d calls", name, err, l.calls)
		}
		err := writes(l, closed)[name](t.Context())
		if e, ok := errors.AsType[*nat.Error](err); !ok || e.Reason != nat.ReasonDenied || e.Ambiguous || !errors.Is(err, errOver) || l.calls != 1 {
			t.Errorf("%s outside of a term: %v, %d calls", name, err, l.calls)
		}
		if err := writes(l, ending)[name](t.Context()); !errors.Is(err, context.Canceled) {
			t.Errorf("%s at the end of a term: %v, want its context ended", name, err)
		}
	}
	l := new(layer)
	if _, err := (fencedRouter{l, closed}).Rules(t.Context()); err != nil || l.calls != 1 {
		t.Errorf("a read outside of a term: %v, %d calls", err, l.calls)
	}
}

// tcpPair returns both ends of a TCP connection on loopback.
func tcpPair(t *testing.T) (client net.Conn, server *net.TCPConn) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = new(net.Dialer).DialContext(t.Context(), "tcp4", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	server, ok := conn.(*net.TCPConn)
	if !ok {
		t.Fatalf("a %T", conn)
	}
	return client, server
}

// What the kernel has not delivered at the end of a term never arrives.
func TestTheEndOfATermResetsConnections(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*fencedConns, net.Conn, *atomic.Bool){
		"lost":   func(f *fencedConns, _ net.Conn, _ *atomic.Bool) { f.abort() },
		"closed": func(_ *fencedConns, c net.Conn, _ *atomic.Bool) { _ = c.Close() },
		"write": func(_ *fencedConns, c net.Conn, over *atomic.Bool) {
			over.Store(true)
			if _, err := c.Write([]byte("late")); !errors.Is(err, errOver) {
				t.Errorf("a write after the term: %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := tcpPair(t)
			var over atomic.Bool
			f := newFencedConns(func() error {
				if over.Load() {
					return errOver
				}
				return nil
			})
			c, err := f.take(client, nil)
			if err != nil {
				t.Fatal(err)
			}
			// Until both buffers are full: some of it waits in our kernel.
			block := make([]byte, 1<<20)
			for {
				_ = c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
				if _, err := c.Write(block); err != nil {
					break
				}
			}
			end(f, c, &over)
			_ = server.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.Copy(io.Discard, server); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the router's end: %v, want a reset", err)
			}
		})
	}
}

// A connection that is made when the term is over is of no use.
func TestNoConnectionAfterTheTerm(t *testing.T) {
	t.Parallel()
	f := newFencedConns(func() error { return errOver })
	f.abort()
	client, _ := tcpPair(t)
	if c, err := f.take(client, nil); c != nil || !errors.Is(err, errOver) {
		t.Errorf("take() = %v, %v", c, err)
	}
}

// Between two daemons of a process packets wait in the socket.
func TestKeptSocket(t *testing.T) {
	t.Parallel()
	k := &keptSocket{listen: Network{}.withDefaults().Listen}
	defer k.forget()
	first, err := k.open(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	at := first.LocalAddr()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	client, err := new(net.Dialer).DialContext(t.Context(), "udp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	second, err := k.open(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if second.LocalAddr().String() != at.String() {
		t.Errorf("another socket, %v and %v", second.LocalAddr(), at)
	}
	buf := make([]byte, 16)
	_ = second.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, _, err := second.ReadFrom(buf); err != nil || string(buf[:n]) != "hello" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// The gateway's socket keeps its way to send without waiting, and the fence is around that too.
func TestFencedSocket(t *testing.T) {
	t.Parallel()
	at, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	var over atomic.Bool
	f := newFencedConns(func() error {
		if over.Load() {
			return errOver
		}
		return nil
	})
	n := Network{}.withDefaults().fence(f, 0)
	c, err := n.DialGateway(t.Context(), netip.MustParseAddrPort(at.LocalAddr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	socket, ok := c.(syscall.Conn)
	if !ok {
		t.Fatalf("a %T, which may wait for room", c)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	send := func(uintptr) bool { sent++; return true }
	if err := raw.Write(send); err != nil || sent != 1 {
		t.Errorf("in a term: %v, sent %d", err, sent)
	}
	over.Store(true)
	if err := raw.Write(send); !errors.Is(err, errOver) || sent != 1 {
		t.Errorf("after the term: %v, sent %d", err, sent)
	}
}

// Between two daemons of a process whoever asks for the page waits, and the socket of UPnP, which only the
// active one needs, may be missing.
func TestKeptListener(t *testing.T) {
	t.Parallel()
	for _, at := range []config.ListenAddress{{Network: "tcp", Address: "127.0.0.1:0"}, {Network: "unix", Address: filepath.Join(t.TempDir(), "s")}} {
		opened := 0
		k := &keptListener{listen: func(ctx context.Context, at config.ListenAddress) (net.Listener, error) {
			opened++
			return listenStream(ctx, at)
		}}
		first, err := k.open(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		ended, done := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- web.Serve(ended, &http.Server{ReadHeaderTimeout: time.Second}, first, time.Second) }()
		done()
		if err := <-served; err != nil {
			t.Errorf("%s: serving ended with %v", at.Network, err)
		}
		client, err := new(net.Dialer).DialContext(t.Context(), at.Network, first.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		second, err := k.open(t.Context(), at)
		if err != nil || opened != 1 {
			t.Fatalf("%s: opened %d times, %v", at.Network, opened, err)
		}
		conn, err := second.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = client.Close(), conn.Close()
		k.forget()
		if _, err := new(net.Dialer).DialContext(t.Context(), at.Network, first.Addr().String()); err == nil {
			t.Errorf("%s: still open at the end", at.Network)
		}
	}
	d := &Daemon{term: &term{terms: 1}, net: Network{ListenSearches: func(context.Context, netip.Addr) (net.PacketConn, error) { return nil, errOver }}}
	d.upnp = &upnpServer{daemon: d}
	if _, err := d.listenUPnP(t.Context()); err != nil {
		t.Errorf("a second term: %v", err)
	}
	d.term.terms = 0
	if _, err := d.listenUPnP(t.Context()); !errors.Is(err, errOver) {
		t.Errorf("the first term: %v", err)
	}
}
