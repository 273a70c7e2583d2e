package ops_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/internal/ops"
	"doublenat/natpmp"
)

var (
	alice = netip.MustParseAddr("192.168.88.10")
	bob   = netip.MustParseAddr("192.168.88.11")
)

// wire is a listener in memory. A connection has no buffer: who does not read holds
// up who writes, as a full TCP window does.
type wire struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newWire() *wire { return &wire{conns: make(chan net.Conn), done: make(chan struct{})} }

func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.done:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.done) })
	return nil
}

func (w *wire) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080} }

func (w *wire) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case w.conns <- theirs:
		return ours, nil
	case <-w.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// rig is the real daemon on a bench, with its HTTP server in memory.
type rig struct {
	*lab.Bench

	t    *testing.T
	wire *wire
	http *http.Client
}

// onBench runs a test in virtual time.
func onBench(t *testing.T, cfg lab.BenchConfig, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, wire: newWire()}
		transport := &http.Transport{DialContext: r.wire.dial, DisableKeepAlives: true}
		r.http = &http.Client{Transport: transport, Timeout: time.Minute}
		if cfg.Environ == nil {
			cfg.Environ = map[string]string{}
		}
		cfg.Environ["HTTP_ADDR"] = ":8080"
		cfg.Options = func(o *daemon.Options) {
			o.Version = "v1.2.3"
			o.Network.DialHook = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no hooks here") }
			o.Network.ListenHTTP = func(context.Context, config.ListenAddress) (net.Listener, error) { return r.wire, nil }
		}
		b, err := lab.NewBench(cfg)
		if err != nil {
			t.Fatal(err)
		}
		r.Bench = b
		defer func() {
			if err := b.Close(); err != nil {
				t.Logf("closing: %v", err) // with a fault that goes on, not all can be taken down
			}
		}()
		if err := r.Start(nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(7 * time.Second)
		test(r)
	})
}

// get returns the answer to a GET.
func (r *rig) get(path string) (code int, header http.Header, body string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://localhost:8080"+path, http.NoBody)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(data)
}

// status returns the picture as the API has it.
func (r *rig) status() ops.Status {
	r.t.Helper()
	_, _, body := r.get(ops.PathStatus)
	var s ops.Status
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// ask asks for a mapping for an hour.
func (r *rig) ask(client netip.Addr, op natpmp.Opcode, port uint16) natpmp.Response {
	resp, err := r.Request(client, natpmp.Request{Opcode: op, InternalPort: port, Lifetime: 3600})
	if err != nil {
		r.t.Logf("%v %d: %v", client, port, err)
	}
	return resp
}

// mapped is ask, and fails the test unless it is granted.
func (r *rig) mapped(client netip.Addr, op natpmp.Opcode, port uint16) natpmp.Response {
	r.t.Helper()
	resp := r.ask(client, op, port)
	if resp.Result != natpmp.ResultSuccess || resp.ExternalPort == 0 {
		r.t.Fatalf("%v asks for %v %d: %+v", client, op, port, resp)
	}
	return resp
}
