package daemon_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/internal/ops"
	"doublenat/natpmp"
)

// A page that cannot be served is a mistake of the operator's, told at the start.
func TestStatusCannotBeServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, err := lab.NewBench(lab.BenchConfig{
			Environ: map[string]string{"HTTP_ADDR": "127.0.0.1:8080"},
			Options: func(o *daemon.Options) {
				o.Network.ListenHTTP = func(context.Context, config.ListenAddress) (net.Listener, error) {
					return nil, errors.New("address already in use")
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Start(nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := b.Stop(); err == nil || !strings.Contains(err.Error(), "opening HTTP_ADDR 127.0.0.1:8080: address already in use") {
			t.Errorf("the daemon returned %v", err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}

// brokenListener is a socket that dies.
type brokenListener struct{ net.Listener }

func (brokenListener) Accept() (net.Conn, error) { return nil, errors.New("it broke") }

func (brokenListener) Close() error { return nil }

func (brokenListener) Addr() net.Addr { return &net.TCPAddr{} }

// Mappings matter more than the page: when its socket dies, they live on.
func TestStatusDies(t *testing.T) {
	t.Parallel()
	cfg := lab.BenchConfig{
		Environ: map[string]string{"HTTP_ADDR": ":8080"},
		Options: func(o *daemon.Options) {
			o.Network.ListenHTTP = func(context.Context, config.ListenAddress) (net.Listener, error) { return brokenListener{}, nil }
		},
	}
	onBench(t, cfg, func(r *rig) {
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		if s := r.Daemon().Status(); s.Verdict.State != ops.StateOK || len(s.Mappings) != 1 {
			t.Errorf("%+v, %d mappings", s.Verdict, len(s.Mappings))
		}
		if err := r.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
}
