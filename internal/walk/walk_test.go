package walk_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/walk"
)

var (
	request = walk.Flow{In: "bridge", Protocol: "udp", Src: addr("192.168.88.10:40000"), Dst: addr("192.168.88.1:5351")}
	api     = walk.Flow{In: "veth1", Protocol: "tcp", Src: addr("172.30.254.2:40000"), Dst: addr("192.168.88.1:8728")}
	upward  = walk.Flow{In: "veth1", Protocol: "udp", Src: addr("172.30.254.2:40000"), Dst: addr("10.2.0.1:5351")}
	mapped  = walk.Flow{In: "wg1", Protocol: "tcp", Src: addr("23.45.67.89:40000"), Dst: addr("10.2.0.2:50413"), To: addr("192.168.88.10:50413")}
)

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// brief says what became of a packet in a line.
func brief(l walk.Leg) string {
	switch l.How {
	case walk.Arrives:
		out := l.Out
		if l.Local {
			out = "router"
		}
		return fmt.Sprintf("%s>%s@%s", l.Src, l.Dst, out)
	default:
		return fmt.Sprintf("%s:%s:%s", l.How, l.Stage, l.Spot.ID())
	}
}

func TestWalk(t *testing.T) {
	t.Parallel()
	const (
		requestArrives = "192.168.88.10:40000>172.30.254.2:5351@veth1"
		requestReturns = "192.168.88.1:5351>192.168.88.10:40000@bridge"
		upwardArrives  = "10.2.0.2:40000>10.2.0.1:5351@wg1"
		upwardReturns  = "10.2.0.1:5351>172.30.254.2:40000@veth1"
		mappedArrives  = "23.45.67.89:40000>192.168.88.10:50413@bridge"
		mappedAstray   = "10.2.0.2:50413>23.45.67.89:40000@ether1"
		mappedReturns  = "10.2.0.2:50413>23.45.67.89:40000@wg1"
	)
	for _, tt := range []struct {
		name, front, more string // rows before and after those of home
		flow              walk.Flow
		there, back       string
	}{
		{"request", "", "", request, requestArrives, requestReturns},
		{"gateway", "", "", upward, upwardArrives, upwardReturns},
		{"mapped without marks", "", "", mapped, mappedArrives, mappedAstray},
		{"API without its rule", "", "", api, "lost:filter:*2", ""},
		{"API", "/ip/firewall/filter chain=input action=accept src-address=172.30.254.2", "", api, "172.30.254.2:40000>192.168.88.1:8728@router", "192.168.88.1:8728>172.30.254.2:40000@veth1"},

		// The LAN sent into the tunnel.
		{"rule by source", "", "/routing/rule src-address=192.168.88.0/24 action=lookup table=vpn", request, "10.2.0.2:40000>172.30.254.2:5351@wg1", ""},
		{"rule by source, replies", "", "/routing/rule src-address=192.168.88.0/24 action=lookup table=vpn", mapped, mappedArrives, mappedReturns},
		{"rule by interface", "", "/routing/rule interface=bridge action=lookup-only-in-table table=vpn", mapped, mappedArrives, mappedReturns},
		{"rule of version 6", "", "/ip/route/rule interface=bridge action=lookup-only-in-table table=vpn", mapped, mappedArrives, mappedReturns},
		{"mended by a rule", "/routing/rule dst-address=172.30.254.2/32 action=lookup-only-in-table table=main", "/routing/rule src-address=192.168.88.0/24 action=lookup table=vpn", request, requestArrives, requestReturns},
		{"min-prefix", "/routing/rule min-prefix=0 action=lookup table=main", "/routing/rule src-address=192.168.88.0/24 action=lookup table=vpn", request, requestArrives, requestReturns},
		{"rule drops", "", "/routing/rule dst-address=172.30.254.0/24 action=drop", request, "lost:routing:*1", ""},
		{"rule to a table without route", "", "/routing/rule src-address=192.168.88.0/24 action=lookup-only-in-table table=empty", request, "lost:routing:*1", ""},
		{"rule asks for more", "", "/routing/rule realm=7 action=drop", request, "unsure:routing:*1", ""},
		{"rule asks for more, to no effect", "", "/routing/rule realm=7 action=lookup table=main", request, requestArrives, requestReturns},
		{"mark of the LAN", "/ip/firewall/mangle chain=prerouting action=mark-routing in-interface=bridge new-routing-mark=vpn", "", request, "10.2.0.2:40000>172.30.254.2:5351@wg1", ""},
		{"mark of the LAN, not for the router", "/ip/firewall/mangle chain=prerouting action=mark-routing in-interface=bridge dst-address-type=!local new-routing-mark=vpn", "", request, requestArrives, requestReturns},
		{"mark of the LAN, replies", "/ip/firewall/mangle chain=prerouting action=mark-routing in-interface=bridge new-routing-mark=vpn", "", mapped, mappedArrives, mappedReturns},
		{"mended by accept", "/ip/firewall/mangle chain=prerouting action=accept protocol=udp dst-port=5351 dst-address-type=local in-interface-list=LAN\n" +
			"/ip/firewall/mangle chain=prerouting action=mark-routing in-interface=bridge new-routing-mark=vpn", "", request, requestArrives, requestReturns},
		{"connection marks", "/ip/firewall/mangle chain=prerouting action=mark-connection in-interface=wg1 connection-state=new new-connection-mark=c\n" +
			"/ip/firewall/mangle chain=prerouting action=mark-routing in-interface=!wg1 connection-mark=c new-routing-mark=vpn passthrough=no", "", mapped, mappedArrives, mappedReturns},
		{"connection marks behind an accept", "/ip/firewall/mangle chain=prerouting action=accept\n" +
			"/ip/firewall/mangle chain=prerouting action=mark-connection in-interface=wg1 connection-state=new new-connection-mark=c\n" +
			"/ip/firewall/mangle chain=prerouting action=mark-routing in-interface=!wg1 connection-mark=c new-routing-mark=vpn passthrough=no", "", mapped, mappedArrives, mappedAstray},
		{"VRF", "/ip/vrf name=vpn interfaces=bridge,ether5", "", request, "10.2.0.2:40000>172.30.254.2:5351@wg1", ""},
		{"VRF without a route", "/ip/vrf name=other interfaces=bridge", "", request, "unsure:routing:*F1", ""},
		{"equal routes", "", "/ip/route dst-address=172.30.254.2/32 gateway=veth1,ether1 immediate-gw=veth1,ether1 distance=1 active=true", request, "unsure:routing:*7", ""},
		{"blackhole", "", "/ip/route dst-address=172.30.254.2/32 blackhole= distance=1 active=true", request, "lost:routing:*7", ""},

		// raw.
		{"raw drops the tunnel's replies", "/ip/firewall/raw chain=prerouting action=drop in-interface-list=WAN src-address-list=bogons", "/ip/firewall/address-list list=bogons address=10.0.0.0/8", upward, upwardArrives, "lost:raw:*F1"},
		{"raw drops what is not of the LAN", "/ip/firewall/raw chain=prerouting action=drop in-interface=veth1 src-address=!192.168.88.0/24", "", upward, "lost:raw:*F1", ""},
		{"raw drops the replies to clients", "/ip/firewall/raw chain=prerouting action=drop in-interface=veth1 src-address=!192.168.88.0/24", "", request, requestArrives, "lost:raw:*F1"},
		{"not tracked", "/ip/firewall/raw chain=prerouting action=notrack protocol=udp", "", request, "lost:filter:*9", ""},
		{"replies not tracked", "/ip/firewall/raw chain=prerouting action=notrack in-interface=veth1", "", request, requestArrives, "lost:raw:*F1"},
		{"raw, bad flags", "/ip/firewall/raw chain=prerouting action=jump jump-target=bad protocol=tcp\n" +
			"/ip/firewall/raw chain=bad action=drop protocol=tcp tcp-flags=!fin,!syn,!rst,!ack\n" +
			"/ip/firewall/raw chain=bad action=drop protocol=tcp tcp-flags=fin,syn\n" +
			"/ip/firewall/raw chain=bad action=drop protocol=tcp tcp-flags=fin,!ack", "", mapped, mappedArrives, mappedAstray},

		// filter.
		{"drop-all forward", "", "/ip/firewall/filter chain=forward action=accept in-interface=bridge out-interface-list=WAN\n" +
			"/ip/firewall/filter chain=forward action=drop", request, "lost:filter:*7", ""},
		{"a limit that does not matter", "/ip/firewall/filter chain=forward action=accept limit=10,5:packet", "", request, requestArrives, requestReturns},
		{"a limit that matters", "/ip/firewall/filter chain=forward action=drop limit=10,5:packet", "", request, "unsure:filter:*F1", ""},
		{"a chain that returns", "/ip/firewall/filter chain=forward action=jump jump-target=x\n/ip/firewall/filter chain=x action=return\n/ip/firewall/filter chain=x action=drop", "", request, requestArrives, requestReturns},
		{"a circle", "/ip/firewall/filter chain=forward action=jump jump-target=forward", "", request, requestArrives, requestReturns},
		{"an action of the future", "/ip/firewall/filter chain=forward action=teleport", "", request, "unsure:filter:*F1", ""},

		// NAT.
		{"no redirect", "/ip/firewall/nat chain=dstnat action=accept", "/ip/firewall/filter chain=input action=accept", request, "192.168.88.10:40000>192.168.88.1:5351@router", "192.168.88.1:5351>192.168.88.10:40000@bridge"},
		{"redirect in a chain", "/ip/firewall/nat chain=dstnat action=jump jump-target=lan in-interface=bridge\n/ip/firewall/nat chain=lan action=dst-nat to-addresses=172.30.254.9 protocol=udp dst-port=5351", "/ip/route dst-address=172.30.254.9/32 gateway=veth1 active=true", request, "192.168.88.10:40000>172.30.254.9:5351@veth1", requestReturns},
		{"not masqueraded", "/ip/firewall/nat chain=srcnat action=accept out-interface=wg1", "", upward, "172.30.254.2:40000>10.2.0.1:5351@wg1", "10.2.0.1:5351>172.30.254.2:40000@veth1"},
		{"clients hidden", "/ip/firewall/nat chain=srcnat action=masquerade", "", request, "172.30.254.1:40000>172.30.254.2:5351@veth1", requestReturns},
		{"in the clients' own network", "/ip/firewall/nat chain=dstnat action=dst-nat to-addresses=192.168.88.5 protocol=udp dst-port=5351", "", request, "192.168.88.10:40000>192.168.88.5:5351@bridge", "lost:link:"},
		{"one of two", "/ip/firewall/nat chain=dstnat action=dst-nat to-addresses=172.30.254.2-172.30.254.3 protocol=udp dst-port=5351", "", request, "unsure:dst-nat:*F1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := first(t, tables(t, home, tt.more), tt.front)
			if tt.name == "not tracked" {
				w.Rows[walk.PathFilter] = append(w.Rows[walk.PathFilter], append(rowOf(".id=*9 chain=input action=drop"), nil...))
				w.Rows[walk.PathFilter] = w.Rows[walk.PathFilter][1:]
			}
			trip := w.Walk(tt.flow)
			want := [2]string{tt.there, tt.back}
			got := [2]string{brief(trip.There), brief(trip.Back)}
			if want[1] == "" {
				got[1] = ""
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("way there and back (-want +got):\n%s", diff)
			}
		})
	}
}
