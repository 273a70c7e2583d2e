package router_test

import (
	"maps"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/router"
	"doublenat/routeros/routerostest"
)

// compareAddrs is for values with addresses in them.
func compareAddrs() cmp.Option {
	return cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
}

// A server of ours is where a dst-nat rule leads to it, in each form of such a rule, and
// nowhere else.
func TestEntrances(t *testing.T) {
	t.Parallel()
	server := netip.MustParseAddrPort(routerostest.ContainerAddress + ":5351")
	base := func(change routerostest.Row) routerostest.Row {
		row := routerostest.Row{"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "dst-port": "5351", "to-addresses": routerostest.ContainerAddress}
		maps.Copy(row, change)
		return row
	}
	anywhere := []router.Entrance{{Port: 5351}}
	for name, tt := range map[string]struct {
		row      routerostest.Row
		want     []router.Entrance
		unasking bool
	}{
		"plain":               {row: base(nil), want: anywhere},
		"queries not applied": {row: base(nil), want: anywhere, unasking: true},
		"another port":        {row: base(routerostest.Row{"dst-port": "49000", "to-ports": "5351"}), want: []router.Entrance{{Port: 49000}}},
		"bound":               {row: base(routerostest.Row{"dst-address": routerostest.LANAddress}), want: []router.Entrance{{Addr: netip.MustParseAddr(routerostest.LANAddress), Port: 5351}}},
		"of a network":        {row: base(routerostest.Row{"dst-address": "192.168.88.0/24"}), want: anywhere},
		"udp":                 {row: base(routerostest.Row{"protocol": "udp"})},
		"to another host":     {row: base(routerostest.Row{"to-addresses": "192.168.88.10"})},
		"to another port":     {row: base(routerostest.Row{"to-ports": "80"})},
		"disabled":            {row: base(routerostest.Row{"disabled": "yes"})},
		"many ports":          {row: base(routerostest.Row{"dst-port": "5000-6000"})},
		"another chain":       {row: base(routerostest.Row{"chain": "mine"})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routerostest.Config{}).settled(t)
				put(t, r.box, natPath, tt.row)
				if tt.unasking {
					r.box.Inject(routerostest.Fault{Kind: routerostest.FaultQueryIgnored, Command: natPath + "/print"})
				}
				got, err := r.Entrances(t.Context(), []netip.AddrPort{netip.MustParseAddrPort("172.17.0.2:5351"), server})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got, compareAddrs()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// What a router does not show has no entrance, one that is gone is an error, and so many rules
// are enough.
func TestEntrancesOfOddRouters(t *testing.T) {
	t.Parallel()
	servers := []netip.AddrPort{netip.MustParseAddrPort(routerostest.ContainerAddress + ":5351")}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		for range 20 {
			put(t, r.box, natPath, routerostest.Row{"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "dst-port": "5351", "to-addresses": routerostest.ContainerAddress})
		}
		if got, err := r.Entrances(t.Context(), servers); len(got) != 16 || err != nil {
			t.Errorf("%d entrances, %v", len(got), err)
		}
		r.box.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Command: natPath + "/print"})
		if got, err := r.Entrances(t.Context(), servers); got != nil || err != nil {
			t.Errorf("refused: %v, %v", got, err)
		}
		r.stop()
		if _, err := r.Entrances(t.Context(), servers); err == nil {
			t.Error("a router that is gone is no error")
		}
	})
}

// The router's address towards a host is the one in the host's network.
func TestAddressTowards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		for host, want := range map[string]string{"192.168.88.77": routerostest.LANAddress, "203.0.113.99": "invalid IP", "198.18.0.1": "invalid IP"} {
			if got, ok := r.AddressTowards(netip.MustParseAddr(host)); got.String() != want || ok != (want != "invalid IP") {
				t.Errorf("%s: %v, %v, want %s", host, got, ok, want)
			}
		}
	})
}
