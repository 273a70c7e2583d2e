package router_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/router"
	"doublenat/routeros/routerostest"
)

// somewhere is a connection that leads to an address, as far as it says.
type somewhere struct {
	net.Conn

	to netip.AddrPort
}

func (c somewhere) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.to) }

// leadingTo lets the connection to a router with this name lead to the address.
func leadingTo(api, to string, more ...func(*router.Config)) func(*router.Config) {
	return func(cfg *router.Config) {
		dial := cfg.API.Dial
		cfg.API.Address = api
		cfg.API.Dial = func(ctx context.Context) (net.Conn, error) {
			conn, err := dial(ctx)
			return somewhere{conn, netip.MustParseAddrPort(to)}, err
		}
		for _, change := range more {
			change(cfg)
		}
	}
}

const exposed = "the password can be read on the way"

// A password that leaves for the Internet in the clear is warned of before it does,
// once, also where only the name server knows that it will.
func TestPlainAPIToAPublicHost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		api, to string
		want    int
	}{
		{"router.example.com:8728", "203.0.113.9:8728", 1},
		{"router.example.com:8728", "[2001:db8::9]:8728", 1},
		{"router.example.com:8728", "[::ffff:203.0.113.9]:8728", 1},
		{"router.example.com:8728", "192.168.88.1:8728", 0},
		{"router.example.com:8728", "[::ffff:10.0.0.1]:8728", 0},
		{"router.example.com:8728", "[fd00::1]:8728", 0},
		{"router.example.com:8728", "[fe80::1%eth0]:8728", 0},
		{"router.example.com:8728", "100.64.0.1:8728", 0},
		{"localhost:8728", "127.0.0.1:8728", 0},
		{"203.0.113.9:8728", "203.0.113.9:8728", 0}, // the configuration warned of it
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, routerostest.Config{}, leadingTo(tt.api, tt.to)).settled(t)
			for range 2 {
				r.reboot(t)
			}
			warned := r.log.lines(exposed)
			if len(warned) != tt.want {
				t.Errorf("%s at %s: %v, want %d lines", tt.api, tt.to, warned, tt.want)
			}
			if len(warned) > 0 && (!strings.Contains(warned[0], "level=WARN") || !strings.Contains(warned[0], "MIKROTIK_API_TLS=true") ||
				strings.Index(r.log.String(), exposed) > strings.Index(r.log.String(), "router connected")) {
				t.Errorf("not as a warning with a remedy before the login:\n%s", r.log.String())
			}
		})
	}
}

// With TLS nobody reads on the way.
func TestTLSIsNotPlain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}, leadingTo("router.example.com:8729", "203.0.113.9:8729", func(cfg *router.Config) {
			cfg.API.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		}))
		time.Sleep(time.Minute) // the handshake fails
		if warned := r.log.lines(exposed); len(warned) != 0 {
			t.Error(warned)
		}
	})
}

// Without a way of its own it connects as the API's client does.
func TestPlainAPIOverTCP(t *testing.T) {
	t.Parallel()
	box, err := routerostest.New(routerostest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- box.Serve(ctx, ln) }()
	r := rigOn(t, box, func(cfg *router.Config) { cfg.API.Address, cfg.API.Dial = ln.Addr().String(), nil })
	r.settled(t)
	r.stop() // The log is written beside.
	if got := len(r.log.lines("router connected")); got != 1 || len(r.log.lines(exposed)) != 0 {
		t.Errorf("connected %d times:\n%s", got, r.log.String())
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
