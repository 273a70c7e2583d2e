package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// outside is everything around a doublenat that runs as a process of its own, on
// addresses of this test process alone.
type outside struct {
	gateway *natpmptest.Gateway
	router  *routerostest.Router
	listen  netip.Addr
	environ []string
}

// newOutside serves a gateway and a router on the loopback interface until the
// test ends.
func newOutside(t *testing.T) *outside {
	t.Helper()
	return newOutsideAt(t, 80)
}

// newOutsideAt does so on three networks of the loopback interface from 127.net.0.0 on:
// tests that run side by side need networks of their own.
func newOutsideAt(t *testing.T, network byte) *outside {
	t.Helper()
	address := func(role byte) netip.Addr {
		return netip.AddrFrom4([4]byte{127, network + role, byte(os.Getpid() >> 8), byte(os.Getpid())})
	}
	gatewayAt, routerAt, listen := address(0), address(1), address(2)
	var lc net.ListenConfig
	packets, err := lc.ListenPacket(t.Context(), "udp4", netip.AddrPortFrom(gatewayAt, 5351).String())
	if err != nil {
		t.Skipf("this system has one loopback address: %v", err)
	}
	api, err := lc.Listen(t.Context(), "tcp4", netip.AddrPortFrom(routerAt, 8728).String())
	if err != nil {
		t.Fatal(err)
	}
	gateway, err := natpmptest.New(natpmptest.Config{Profile: natpmptest.RFC()})
	if err != nil {
		t.Fatal(err)
	}
	router, err := routerostest.New(routerostest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- gateway.Serve(ctx, packets) }()
	go func() { ended <- router.Serve(ctx, api) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, <-ended, router.Close(), packets.Close()); err != nil {
			t.Errorf("closing what is around the daemon: %v", err)
		}
	})
	return &outside{gateway: gateway, router: router, listen: listen, environ: []string{
		"VPN_GATEWAY=" + gatewayAt.String(), "MIKROTIK_API_ADDRESS=" + routerAt.String(),
		"MIKROTIK_API_USER=" + routerostest.LeastUser, "MIKROTIK_API_PASSWORD=" + routerostest.LeastPassword,
		"MIKROTIK_IN_INTERFACE=" + routerostest.TunnelInterface,
		"LISTEN_ADDR=" + netip.AddrPortFrom(listen, 5351).String(), "ANNOUNCE=off", "LOG_FORMAT=text",
	}}
}

// startBinary runs the command, which is the test binary under another name (see
// TestMain), and stops it when the test ends.
func (o *outside) startBinary(t *testing.T) (stop func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	binary := &exec.Cmd{Path: self, Args: []string{"doublenat"}, Env: o.environ, Stderr: &log}
	if err := binary.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		// One that has gone by itself is found out by Wait.
		_ = binary.Process.Signal(syscall.SIGTERM)
		if err := binary.Wait(); err != nil || t.Failed() {
			t.Errorf("the binary ended with %v and said\n%s", err, log.String())
		}
	}
	t.Cleanup(stop)
	o.await(t)
	return stop
}

// await waits until the daemon knows the public address.
func (o *outside) await(t *testing.T) {
	t.Helper()
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(o.listen, 5351)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reply := make([]byte, 16)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		// Until it has its socket the port is closed, which either call may report.
		_, _ = conn.Write([]byte{0, 0})
		if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(reply); err == nil && n == 12 && reply[3] == 0 {
			return
		}
	}
	t.Fatal("the binary did not come up")
}

// natpmpc runs Debian's client and returns what it prints, without the epochs.
func (o *outside) natpmpc(t *testing.T, args ...string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "natpmpc", append([]string{"-g", o.listen.String()}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("natpmpc %v: %v\n%s", args, err, out)
	}
	var said []string
	for line := range strings.Lines(string(out)) {
		if regexp.MustCompile(`^(Public IP|Mapped|.*(rror|fail|FAIL))`).MatchString(line) {
			// Debian's natpmpc misspells one word.
			said = append(said, strings.Replace(strings.TrimSpace(line), " lif"+"time ", " lifetime ", 1))
		}
	}
	return said
}

// rules returns the destinations of the daemon's rules.
func (o *outside) rules() []string {
	var all []string
	for _, r := range o.router.Rows("/ip/firewall/nat") {
		if strings.HasPrefix(r["comment"], "doublenat:default ") && !strings.HasSuffix(r["comment"], "(mine)") {
			all = append(all, fmt.Sprintf("%s → %s:%s", r["protocol"], r["to-addresses"], r["to-ports"]))
		}
	}
	slices.Sort(all)
	return all
}

// TestNatpmpc: Debian's natpmpc, which the authors of the reference server wrote,
// asks the command on a real socket.
func TestNatpmpc(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("natpmpc"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI has to have it: %v", err)
		}
		t.Skip("natpmpc is not installed (Debian: apt-get install natpmpc)")
	}
	o := newOutside(t)
	o.environ = append(o.environ, "ZERO_PORT=external")
	stop := o.startBinary(t)
	const public = "Public IP address : 5.6.7.8"
	for _, tt := range []struct {
		name  string
		args  []string
		next  uint16 // what the gateway grants next; 0 for what it likes
		said  []string
		rules []string
	}{
		{name: "address", said: []string{public}},
		{
			name: "map", args: []string{"-a", "40123", "4001", "udp", "600"},
			said:  []string{public, "Mapped public port 40123 protocol UDP to local port 4001 lifetime 600"},
			rules: []string{"udp → 127.0.0.1:4001"},
		},
		{
			name: "renew", args: []string{"-a", "0", "4001", "udp", "1200"},
			said:  []string{public, "Mapped public port 40123 protocol UDP to local port 4001 lifetime 1200"},
			rules: []string{"udp → 127.0.0.1:4001"},
		},
		{
			name: "companion", args: []string{"-a", "40123", "4001", "tcp", "600"},
			said:  []string{public, "Mapped public port 40123 protocol TCP to local port 4001 lifetime 600"},
			rules: []string{"tcp → 127.0.0.1:4001", "udp → 127.0.0.1:4001"},
		},
		{
			name: "delete", args: []string{"-a", "40123", "4001", "udp", "0"},
			said:  []string{public, "Mapped public port 0 protocol UDP to local port 4001 lifetime 0"},
			rules: []string{"tcp → 127.0.0.1:4001"},
		},
		{
			name: "delete all", args: []string{"-a", "0", "0", "tcp", "0"},
			said: []string{public, "Mapped public port 0 protocol TCP to local port 0 lifetime 0"},
		},
		{
			name: "map again", args: []string{"-a", "0", "4002", "tcp", "600"},
			rules: []string{"tcp → 127.0.0.1:4002"},
		},
		{
			name: "as scripts for ProtonVPN do", args: []string{"-a", "1", "0", "udp", "60"}, next: 40500,
			said:  []string{public, "Mapped public port 40500 protocol UDP to local port 0 lifetime 60"},
			rules: []string{"tcp → 127.0.0.1:4002", "udp → 127.0.0.1:40500"},
		},
	} {
		if tt.next != 0 {
			o.gateway.GrantNext(tt.next)
		}
		said := o.natpmpc(t, tt.args...)
		if tt.said != nil {
			if diff := cmp.Diff(tt.said, said); diff != "" {
				t.Errorf("%s: natpmpc said (-want +got):\n%s", tt.name, diff)
			}
		}
		if diff := cmp.Diff(tt.rules, o.rules()); diff != "" {
			t.Errorf("%s: rules (-want +got):\n%s", tt.name, diff)
		}
		if n := len(o.gateway.Mappings()); n != len(tt.rules) {
			t.Errorf("%s: %d leases, want %d", tt.name, n, len(tt.rules))
		}
	}
	stop()
	if left := o.rules(); len(left) != 0 || len(o.gateway.Mappings()) != 0 {
		t.Errorf("after the end: rules %v, leases %v", left, o.gateway.Mappings())
	}
}
