package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"doublenat/internal/config"
	"doublenat/natpmp"
)

// TestWatchSaysThatTheDaemonIsGone: whoever watches is told that the picture is old,
// whether the daemon ended or its host says nothing any more, and sees it come back.
func TestWatchSaysThatTheDaemonIsGone(t *testing.T) {
	t.Parallel()
	if silence+time.Second > 6*time.Second {
		t.Errorf("the daemon is missed after %v at the earliest", silence)
	}
	for name, want := range map[string]string{"ended": "ended the connection", "silent": "no word from the daemon"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var streams atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = fmt.Fprintf(w, "event: status\ndata: {\"n\":%d}\n\n", streams.Add(1))
				_ = http.NewResponseController(w).Flush()
				if name == "silent" {
					<-r.Context().Done()
				}
			}))
			t.Cleanup(server.Close)
			d := newDaemonClient(config.ListenAddress{Network: "tcp", Address: server.Listener.Addr().String()})
			t.Cleanup(d.close)
			d.silence = 300 * time.Millisecond
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var told []string
			err := watch(ctx, d, func(data []byte) error {
				told = append(told, string(data))
				if len(told) == 3 {
					cancel()
				}
				return nil
			}, func(err error) error {
				told = append(told, err.Error())
				return nil
			})
			if err != nil || len(told) != 3 || told[0] != `{"n":1}` || !strings.Contains(told[1], want) || told[2] != `{"n":2}` {
				t.Errorf("%v, told %q", err, told)
			}
		})
	}
}

// What stands on the terminal is no frozen picture.
func TestGone(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	p := &process{stdout: &out, stderr: &errs}
	if err := p.gone(errors.New("no word\nFORGED"), statusFlags{watch: true}); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "✗ No connection to doublenat since ") || strings.Contains(out.String(), "\nFORGED") || errs.Len() > 0 {
		t.Errorf("%q %q", out.String(), errs.String())
	}
	out.Reset()
	if err := p.gone(errors.New("no word"), statusFlags{watch: true, json: true}); err != nil || out.Len() > 0 || !strings.Contains(errs.String(), "No connection") {
		t.Errorf("%v %q %q", err, out.String(), errs.String())
	}
}

// silentGateway is one that gets requests and answers none. It calls got for each.
func silentGateway(t *testing.T, got func(natpmp.Request)) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64)
		for {
			n, _, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if req, err := natpmp.ParseRequest(buf[:n]); err == nil {
				got(req)
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	at, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestInterruptedMapIsGivenBack: after Ctrl-C during the first request the gateway is
// told that the mapping is not wanted, whether or not it was granted.
func TestInterruptedMapIsGivenBack(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"map", "tcp", "80"}, {"map", "tcp", "80", "--keep"}} {
		ctx, cancel := context.WithCancel(t.Context())
		deleted := make(chan struct{}, 16)
		gateway := silentGateway(t, func(req natpmp.Request) {
			switch {
			case req.Opcode != natpmp.OpMapTCP || req.InternalPort != 80:
				t.Errorf("asked for %+v", req)
			case req.Lifetime > 0:
				cancel()
			default:
				deleted <- struct{}{}
			}
		})
		var out output
		p := &process{stdout: &out, stderr: &out}
		began := time.Now()
		code := p.run(ctx, append(args, "-g", gateway.String(), "--timeout", "10m"))
		if took := time.Since(began); code != exitFailure || took > time.Minute || !strings.Contains(out.String(), "doublenat unmap tcp 80 -g "+gateway.String()) {
			t.Errorf("%v: %d after %v: %s", args, code, took, out.String())
		}
		select {
		case <-deleted:
		default:
			t.Errorf("%v: the mapping was not given back", args)
		}
		cancel()
	}
}

// An error of sending is the cause, and not that nobody answered.
func TestExplainNamesTheCause(t *testing.T) {
	t.Parallel()
	gateway := netip.MustParseAddrPort("192.168.88.1:5351")
	err := (&client{gateway: gateway}).explain(&natpmp.TimeoutError{Tries: 3, Err: context.DeadlineExceeded, Send: &net.OpError{Op: "write", Err: syscall.ENETUNREACH}})
	if err == nil || !strings.Contains(err.Error(), syscall.ENETUNREACH.Error()) || !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("%v", err)
	}
}
