package daemon_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/internal/ops"
	"doublenat/natpmp"
	"doublenat/routeros/routerostest"
)

// onPool runs a test with a daemon that has a pool of ports at the router's line to the
// Internet, and fails it if the gateway that is there too is ever asked for anything.
func onPool(t *testing.T, environ map[string]string, test func(r *rig)) {
	t.Helper()
	onBench(t, lab.BenchConfig{Environ: environ}, func(r *rig) {
		test(r)
		if n := r.requests(); n > 0 {
			r.t.Errorf("%d packets for a gateway", n)
		}
		if err := r.Stop(); err != nil {
			r.t.Errorf("stop: %v", err)
		}
		if left := r.marked(); len(left) > 0 {
			r.t.Errorf("rules after the stop: %v", left)
		}
	})
}

// marked returns the rules with our mark, on whatever interface.
func (r *rig) marked() []routerostest.Row {
	return slices.DeleteFunc(r.Router.Rows("/ip/firewall/nat"), func(row routerostest.Row) bool {
		// One of the router's own rules looks like ours, and is not.
		return !strings.HasPrefix(row["comment"], "doublenat:") || strings.HasSuffix(row["comment"], " (mine)")
	})
}

// fromTheInternet says to which client packets for a port go that arrive from the Internet.
func (r *rig) fromTheInternet(protocol string, port uint16) string {
	to, _, ok := r.Router.Match(protocol, routerostest.WANInterface, port)
	if !ok {
		return ""
	}
	return to.String()
}

// Two ports, three clients: the third is refused, and the others keep theirs, over a crash
// too. Packets of the Internet arrive, whatever the ports' numbers on the way are.
func TestPool(t *testing.T) {
	t.Parallel()
	onPool(t, map[string]string{"VPN_GATEWAY": "pool:51413,6881:40000%" + routerostest.WANInterface}, func(r *rig) {
		carol := netip.MustParseAddr("192.168.88.12")
		first := r.ask(alice, natpmp.OpMapTCP, 80, 0)
		if first.Result != natpmp.ResultSuccess || first.ExternalPort != 6881 || first.Lifetime != 3600 {
			r.t.Fatalf("got %+v", first)
		}
		if got := r.fromTheInternet("tcp", 40000); got != "192.168.88.10:80" {
			r.t.Errorf("port 6881 leads to %q", got)
		}
		if second := r.ask(bob, natpmp.OpMapUDP, 80, 51413); second.ExternalPort != 51413 {
			r.t.Errorf("got %+v, want the port that was asked for", second)
		}
		if third := r.ask(carol, natpmp.OpMapTCP, 80, 0); third.Result != natpmp.ResultOutOfResources {
			r.t.Errorf("got %+v, want out of resources", third)
		}
		r.Kill()
		r.start(nil)
		if again := r.ask(alice, natpmp.OpMapTCP, 80, 0); again.ExternalPort != 6881 {
			r.t.Errorf("after a crash %+v", again)
		}
		if again := r.ask(bob, natpmp.OpMapUDP, 80, 0); again.ExternalPort != 51413 {
			r.t.Errorf("after a crash %+v", again)
		}
		if gone := r.send(bob, natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: 80}); gone.Result != natpmp.ResultSuccess {
			r.t.Errorf("a deletion was answered with %+v", gone)
		}
		if third := r.ask(carol, natpmp.OpMapTCP, 80, 0); third.ExternalPort != 51413 {
			r.t.Errorf("got %+v, want the port that is free now", third)
		}
	})
}

// The public address comes from the setting, or from the router, and its source is shown.
func TestPoolAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		environ map[string]string
		want    string // the address in hexadecimal, "" for none
		detail  string
	}{
		{"by hand", map[string]string{"VPN_GATEWAY": "pool:1%wg1", "PUBLIC_ADDRESS": "9.8.7.6"}, "09080706", "9.8.7.6, by PUBLIC_ADDRESS"},
		{"of the interface", map[string]string{"VPN_GATEWAY": "pool:1%" + routerostest.WANInterface}, "c6336402", "198.51.100.2, by the router's interface"},
		{"of the cloud", map[string]string{"VPN_GATEWAY": "pool:1%" + routerostest.LANInterface}, "c6336402", "198.51.100.2, by /ip/cloud of the router"},
		{"of a tunnel", map[string]string{"VPN_GATEWAY": "pool:1%wg1"}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onPool(t, tt.environ, func(r *rig) {
				got := r.send(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress})
				want := natpmp.ResultSuccess
				if tt.want == "" {
					want = natpmp.ResultNetworkFailure
				}
				if wanted, _ := netip.AddrFromSlice(unhex(r.t, tt.want)); got.Result != want || tt.want != "" && got.Address != wanted {
					r.t.Errorf("got %+v", got)
				}
				hops := r.Daemon().Status().Hops
				address := hops[len(hops)-1]
				if !strings.Contains(address.Detail, tt.detail) {
					r.t.Errorf("shown as %+v, want %q", address, tt.detail)
				}
			})
		})
	}
}

// A script changes the file: who had a port that is gone has another one within a quarter of
// a minute, and is told with the next renewal. A file with a mistake changes nothing.
func TestPoolFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ports")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("6881\n51413\n")
	onPool(t, map[string]string{"VPN_GATEWAY": "pool:%" + routerostest.WANInterface, "GATEWAY_POOL_FILE": file}, func(r *rig) {
		if got := r.ask(alice, natpmp.OpMapTCP, 80, 0); got.ExternalPort != 6881 {
			r.t.Fatalf("got %+v", got)
		}
		write("51413 # the other one is somebody else's now\n")
		time.Sleep(17 * time.Second)
		if got := r.fromTheInternet("tcp", 51413); got != "192.168.88.10:80" {
			r.t.Errorf("51413 leads to %q", got)
		}
		if got := r.fromTheInternet("tcp", 6881); got != "" {
			r.t.Errorf("6881 leads to %q", got)
		}
		write("51413 x\n")
		time.Sleep(time.Minute)
		if got := r.ask(alice, natpmp.OpMapTCP, 80, 6881); got.ExternalPort != 51413 {
			r.t.Errorf("got %+v", got)
		}
		write("")
		time.Sleep(17 * time.Second)
		hops := r.Daemon().Status().Hops
		if i := slices.IndexFunc(hops, func(h ops.HopStatus) bool { return strings.Contains(h.Summary, "no port") }); i < 0 {
			r.t.Errorf("an empty pool is shown as %+v", hops)
		}
	})
}
