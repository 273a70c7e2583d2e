package router_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/router"
	"doublenat/routeros/routerostest"
)

var (
	stunServer = netip.MustParseAddrPort("203.0.113.1:3478")
	container  = netip.MustParseAddrPort(routerostest.ContainerAddress + ":40000")
)

// question is one to a STUN server, from doublenat's container.
func question() routerostest.Packet {
	return routerostest.Packet{Protocol: "udp", In: "veth1", Src: container, Dst: stunServer}
}

// By which line a packet left is found among the connections of each version, in both forms,
// and by a router that does not search.
func TestDeparted(t *testing.T) {
	t.Parallel()
	wrong := routerostest.Row{"protocol": "tcp", "src-address": "172.30.254.2:40000", "dst-address": "203.0.113.1:3478", "reply-dst-address": "10.2.0.2:40000"}
	for _, tt := range []struct {
		name     string
		box      routerostest.Config
		prepare  func(t *testing.T, box *routerostest.Router)
		want     string
		unclear  string
		local    netip.AddrPort
		unasking bool
	}{
		{name: "7.22", want: routerostest.WANAddress},
		{name: "6.49", box: routerostest.Config{Version: "6.49"}, want: routerostest.WANAddress},
		{name: "port columns", box: routerostest.Config{PortColumns: true}, want: routerostest.WANAddress},
		{name: "queries not applied", unasking: true, want: routerostest.WANAddress},
		{name: "a tunnel", want: routerostest.TunnelAddress, prepare: func(t *testing.T, box *routerostest.Router) {
			t.Helper()
			put(t, box, "/ip/route", routerostest.Row{"dst-address": "203.0.113.1/32", "gateway": "wg1"})
		}},
		{name: "not masqueraded", want: routerostest.ContainerAddress, prepare: func(t *testing.T, box *routerostest.Router) {
			t.Helper()
			put(t, box, "/ip/route", routerostest.Row{"dst-address": "203.0.113.1/32", "gateway": "wg1"})
			put(t, box, natPath, routerostest.Row{"chain": "srcnat", "action": "accept", "out-interface": "wg1", "place-before": box.Rows(natPath)[0][".id"]})
		}},
		{name: "doublenat behind another NAT", want: routerostest.WANAddress, local: netip.MustParseAddrPort("172.17.0.2:40000")},
		{name: "of another port", unclear: "does not have it", local: netip.MustParseAddrPort("172.30.254.2:40001")},
		{name: "another host with the port", local: netip.MustParseAddrPort("172.17.0.2:40000"), unclear: "for certain", prepare: func(t *testing.T, box *routerostest.Router) {
			t.Helper()
			put(t, box, connections, routerostest.Row{
				"protocol": "udp", "src-address": "192.168.88.10:40000", "dst-address": "203.0.113.1:3478",
				"reply-src-address": "203.0.113.1:3478", "reply-dst-address": "10.2.0.2:40000",
			})
		}},
		{name: "sent to another server", unclear: "to another server", prepare: func(t *testing.T, box *routerostest.Router) {
			t.Helper()
			put(t, box, natPath, routerostest.Row{"chain": "dstnat", "action": "dst-nat", "protocol": "udp", "dst-port": "3478", "to-addresses": "203.0.113.66"})
		}},
		{name: "no track is kept", unclear: "does not have it", prepare: func(t *testing.T, box *routerostest.Router) {
			t.Helper()
			put(t, box, "/ip/firewall/raw", routerostest.Row{"chain": "prerouting", "action": "notrack", "protocol": "udp"})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tt.box).settled(t)
				put(t, r.box, connections, wrong)
				if tt.prepare != nil {
					tt.prepare(t, r.box)
				}
				r.box.Follow(question(), true)
				if tt.unasking {
					r.box.Inject(routerostest.Fault{Kind: routerostest.FaultQueryIgnored, Command: connections + "/print"})
				}
				local := container
				if tt.local.IsValid() {
					local = tt.local
				}
				got, err := r.Departed(t.Context(), local, stunServer)
				if err != nil || (tt.unclear == "") != (got.Unclear == "") || !strings.Contains(got.Unclear, tt.unclear) {
					t.Fatalf("got %+v, %v", got, err)
				}
				if want, _ := netip.ParseAddr(tt.want); got.From != want {
					t.Errorf("left from %v, want %s", got.From, tt.want)
				}
			})
		})
	}
}

const connections = "/ip/firewall/connection"

// What the router has forgotten is not certain, and a router that is gone is an error.
func TestDepartedTooLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		r.box.Follow(question(), false)
		time.Sleep(11 * time.Second)
		if got, err := r.Departed(t.Context(), container, stunServer); err != nil || got.Unclear == "" {
			t.Errorf("got %+v, %v", got, err)
		}
		r.stop()
		if got, err := r.Departed(t.Context(), container, stunServer); err == nil || got != (router.Departure{}) {
			t.Errorf("without a router %+v", got)
		}
	})
}
