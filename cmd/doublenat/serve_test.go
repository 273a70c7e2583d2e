package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/daemon"
)

// serviceManager stands for systemd. It returns the path of its socket and a
// function that waits for the next message.
func serviceManager(t *testing.T) (path string, receive func() string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	if err := socket.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return path, func() string {
		buf := make([]byte, 64)
		n, err := socket.Read(buf)
		if err != nil {
			t.Error(err)
		}
		return string(buf[:n])
	}
}

func TestServeTellsTheServiceManager(t *testing.T) {
	t.Parallel()
	path, receive := serviceManager(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	environ := minimal()
	environ["NOTIFY_SOCKET"] = path
	var states []string
	p := &process{environ: environ, stderr: &bytes.Buffer{}, daemon: func(_ context.Context, o daemon.Options) error {
		o.OnReady()
		states = append(states, receive())
		cancel()
		states = append(states, receive())
		return nil
	}}
	if err := serve(ctx, p); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"READY=1", "STOPPING=1"}, states); diff != "" {
		t.Error(diff)
	}
}

// The service manager hears that the daemon lives for as long as it does.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	path, receive := serviceManager(t)
	environ := minimal()
	environ["NOTIFY_SOCKET"], environ["WATCHDOG_USEC"] = path, "20000"
	environ["WATCHDOG_PID"] = strconv.Itoa(os.Getpid())
	var stderr output
	var stuck atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := &process{environ: environ, stderr: &stderr, daemon: func(ctx context.Context, o daemon.Options) error {
		asked := make(chan struct{}, 100)
		go o.Supervise(ctx, func() error {
			defer func() { asked <- struct{}{} }()
			if stuck.Load() {
				return errors.New("the reader is stuck")
			}
			return nil
		})
		var states []string
		for range 3 {
			states = append(states, receive())
		}
		if diff := cmp.Diff([]string{"WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"}, states); diff != "" {
			t.Error(diff)
		}
		stuck.Store(true)
		for len(asked) > 0 {
			<-asked
		}
		for range 4 {
			<-asked
		}
		cancel()
		for state := receive(); state != "STOPPING=1"; state = receive() {
			if state != "WATCHDOG=1" { // sent before it was stuck
				t.Errorf("told %q", state)
			}
		}
		return nil
	}}
	if err := serve(ctx, p); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(stderr.String(), `stuck, the service manager will restart doublenat error="the reader is stuck"`); n != 1 {
		t.Errorf("%d lines, want one: %s", n, stderr.String())
	}
}

func TestWatchdogTime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		usec, pid string
		want      time.Duration
		fails     bool
	}{
		{},
		{usec: "30000000", want: 30 * time.Second},
		{usec: "30000000", pid: "7", want: 30 * time.Second},
		{usec: "30000000", pid: "8"}, // it is for our parent
		{usec: "0", fails: true},
		{usec: "-5", fails: true},
		{usec: "soon", fails: true},
		{usec: "9223372036854775807", fails: true},
	} {
		got, err := watchdogTime(map[string]string{"WATCHDOG_USEC": tt.usec, "WATCHDOG_PID": tt.pid}, 7)
		if got != tt.want || (err != nil) != tt.fails {
			t.Errorf("%+v: %v, %v", tt, got, err)
		}
	}
}

func TestServeWithoutTheServiceManagersSocket(t *testing.T) {
	t.Parallel()
	notASocket := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notASocket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, warned := range map[string]bool{notASocket: true, filepath.Join(t.TempDir(), "absent"): false, "": false} {
		environ := minimal()
		environ["NOTIFY_SOCKET"] = path
		var stderr bytes.Buffer
		ran := false
		p := &process{environ: environ, stderr: &stderr, daemon: func(context.Context, daemon.Options) error {
			ran = true
			return nil
		}}
		if err := serve(t.Context(), p); err != nil || !ran {
			t.Errorf("%q: ran %v, error %v", path, ran, err)
		}
		if got := strings.Contains(stderr.String(), "service manager cannot be told"); got != warned {
			t.Errorf("%q: warned %v, want %v: %s", path, got, warned, stderr.String())
		}
	}
}

// TestServeWithTheRealDaemon starts doublenat where neither router nor gateway
// can be reached, and stops it.
func TestServeWithTheRealDaemon(t *testing.T) {
	t.Parallel()
	path, receive := serviceManager(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	environ, _ := nowhere(t)
	environ["NOTIFY_SOCKET"] = path
	var stderr bytes.Buffer
	p := &process{environ: environ, stdout: &stderr, stderr: &stderr, daemon: runDaemon}
	ended := make(chan int, 1)
	go func() { ended <- p.run(ctx, nil) }()
	states := []string{receive()}
	cancel()
	states = append(states, receive())
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	if diff := cmp.Diff([]string{"READY=1", "STOPPING=1"}, states); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(stderr.String(), "hunter2") {
		t.Error("the password was written")
	}
}

func TestServeWhenThePortIsTaken(t *testing.T) {
	t.Parallel()
	environ, socket := nowhere(t)
	environ["LISTEN_ADDR"] = socket.LocalAddr().String()
	var stderr bytes.Buffer
	p := &process{environ: environ, stdout: &stderr, stderr: &stderr, daemon: runDaemon}
	if code := p.run(t.Context(), []string{"serve"}); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	if want := "doublenat: opening LISTEN_ADDR " + environ["LISTEN_ADDR"]; !strings.Contains(stderr.String(), want) {
		t.Errorf("%q is not in %s", want, stderr.String())
	}
}

// nowhere returns an environment in which nobody answers, and a socket that
// takes a port of the same host.
func nowhere(t *testing.T) (map[string]string, net.PacketConn) {
	t.Helper()
	// A process of its own address is alone on the well-known ports.
	own := netip.AddrFrom4([4]byte{127, 64, byte(os.Getpid() >> 8), byte(os.Getpid())})
	socket, err := net.ListenPacket("udp4", fmt.Sprintf("%s:0", own))
	if err != nil {
		t.Skipf("this system has one loopback address: %v", err)
	}
	t.Cleanup(func() { socket.Close() })
	environ := minimal()
	environ["VPN_GATEWAY"] = own.String() + ":1"
	environ["MIKROTIK_API_ADDRESS"] = own.String() + ":1"
	environ["LISTEN_ADDR"] = own.String() + ":5351"
	return environ, socket
}
