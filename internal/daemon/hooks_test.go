package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/daemon"
	"doublenat/internal/hook"
	"doublenat/internal/lab"
	"doublenat/natpmp"
)

// listener hands connections in memory to an HTTP server.
type listener chan net.Conn

func (l listener) Accept() (net.Conn, error) {
	conn, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (listener) Close() error { return nil }

func (listener) Addr() net.Addr { return &net.TCPAddr{} }

func (l listener) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	l <- theirs
	return ours, nil
}

// What happens to mappings and to the address is told to ON_CHANGE_URL, from the
// start to the last mapping's end.
func TestHooks(t *testing.T) {
	t.Parallel()
	var (
		to  listener
		mu  sync.Mutex
		got []string
	)
	told := func() []string {
		mu.Lock()
		defer mu.Unlock()
		all := got
		got = nil
		return all
	}
	var log bytes.Buffer
	cfg := lab.BenchConfig{
		Logger:  slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Environ: map[string]string{"ON_CHANGE_URL": "http://user:s3cret@hooks.lan/x"},
		Options: func(o *daemon.Options) {
			to = make(listener)
			o.Network.DialHook = to.dial
			go func() {
				_ = http.Serve(to, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					var ev hook.Event
					if err := json.NewDecoder(r.Body).Decode(&ev); err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					got = append(got, fmt.Sprintf("%s %s %d %d->%d %v", ev.Kind, ev.Protocol, ev.InternalPort, ev.OldExternalPort, ev.ExternalPort, ev.ExternalAddress))
				}))
			}()
		},
	}
	onBench(t, cfg, func(r *rig) {
		defer func() {
			if r.Stop() != nil {
				r.t.Error("stopping")
			}
			close(to)
		}()
		expect := func(want ...string) {
			r.t.Helper()
			time.Sleep(time.Second)
			if diff := cmp.Diff(want, told()); diff != "" {
				r.t.Errorf("told (-want +got):\n%s", diff)
			}
		}
		expect("address_changed  0 0->0 5.6.7.8")
		port := r.mapped(alice, natpmp.OpMapTCP, 80).ExternalPort
		expect(fmt.Sprintf("created tcp 80 0->%d 5.6.7.8", port))
		r.Gateway.GrantNext(40404)
		r.Gateway.MovePorts()
		r.ask(alice, natpmp.OpMapTCP, 80, port)
		expect(fmt.Sprintf("port_changed tcp 80 %d->40404 5.6.7.8", port))
		r.Gateway.SetAddress(netip.MustParseAddr("9.9.9.9"))
		time.Sleep(50 * time.Second)
		r.ask(alice, natpmp.OpMapTCP, 80, 40404)
		time.Sleep(20 * time.Second)
		expect("address_changed  0 0->0 9.9.9.9")
		if err := r.Stop(); err != nil {
			r.t.Errorf("stopping: %v", err)
		}
		expect("shutdown tcp 80 0->40404 9.9.9.9")
		if log.Len() == 0 || bytes.Contains(log.Bytes(), []byte("s3cret")) {
			r.t.Errorf("the log has the password:\n%s", log.String())
		}
	})
}
