package walk_test

import (
	"net/netip"
	"testing"

	"doublenat/internal/walk"
)

// TestMeets has one matcher of each kind, and packets that it takes or not.
func TestMeets(t *testing.T) {
	t.Parallel()
	w := tables(t, `
/interface/list name=LAN
/interface/list name=WAN
/interface/list name=BOTH include=LAN,WAN
/interface/list name=REST include=all exclude=LAN
/ip/firewall/address-list list=clients address=192.168.88.0/24
/ip/firewall/address-list list=some address=192.168.88.10
/ip/firewall/address-list list=some address=10.0.0.1
/ip/firewall/address-list list=others address=192.168.88.10 disabled=true
/ip/firewall/address-list list=names address=host.example.com
/interface/list/member list=LAN interface=bridge
/interface/list/member list=WAN interface=ether1
/interface/list/member list=WAN interface=wg1 disabled=true
/interface name=wg1 type=wg
/interface name=bridge type=bridge
/interface name=pppoe-out1 type=pppoe-out
`)
	client := walk.SpanOf(netip.MustParsePrefix("192.168.88.10/32"))
	mapped := walk.Packet{In: "wg1", State: "new", NATState: "dstnat"}
	request := walk.Packet{In: "bridge", Protocol: "udp", DstPort: 5351, Dst: client, State: "new", Local: true}
	reply := walk.Packet{
		In: "bridge", Out: "wg1", Src: walk.SpanOf(netip.MustParsePrefix("192.168.88.1/24")), Remote: true, State: "established", Mark: "vpn",
	}
	tests := []struct {
		rule string
		p    walk.Packet
		want walk.Fate
	}{
		{"chain=forward action=drop comment=x log=yes", mapped, walk.Always},
		{"in-interface=wg1", mapped, walk.Always},
		{"in-interface=!wg1", mapped, walk.Never},
		{"in-interface=ether1", mapped, walk.Never},
		{"in-interface=all-ppp", mapped, walk.Never},
		{"in-interface=!all-ppp", mapped, walk.Always},
		{"in-interface=all-ppp", walk.Packet{In: "pppoe-out1"}, walk.Always},
		{"in-interface=all-ppp", walk.Packet{In: "elsewhere"}, walk.Perhaps},
		{"out-interface=bridge", mapped, walk.Perhaps},
		{"out-interface=wg1", reply, walk.Always},
		{"out-interface=ether1", reply, walk.Never},
		{"in-interface-list=WAN", mapped, walk.Never}, // the membership is disabled
		{"in-interface-list=!WAN", mapped, walk.Always},
		{"in-interface-list=LAN", request, walk.Always},
		{"in-interface-list=BOTH", request, walk.Always},
		{"in-interface-list=BOTH", mapped, walk.Never},
		{"in-interface-list=REST", request, walk.Never},
		{"in-interface-list=REST", mapped, walk.Always},
		{"in-interface-list=*2000010", mapped, walk.Never},
		{"ipsec-policy=out,none", reply, walk.Always},
		{"ipsec-policy=in,ipsec", mapped, walk.Never},
		{"protocol=tcp tcp-flags=syn,!ack", walk.Packet{Protocol: "tcp", State: walk.StateNew}, walk.Always},
		{"protocol=tcp tcp-flags=fin,syn", walk.Packet{Protocol: "tcp", State: walk.StateNew}, walk.Never},
		{"protocol=tcp tcp-flags=ack,!syn", walk.Packet{Protocol: "tcp", State: walk.StateEstablished, Answer: true}, walk.Perhaps},
		{"protocol=tcp tcp-flags=!fin,!syn,!rst,!ack", walk.Packet{Protocol: "tcp", State: walk.StateEstablished, Answer: true}, walk.Never},
		{"protocol=tcp psd=21,3s,3,1", walk.Packet{Protocol: "tcp", State: walk.StateNew}, walk.Never},
		{"limit=10,5:packet", mapped, walk.Perhaps},
		{"in-interface-list=dynamic", request, walk.Perhaps},
		{"in-interface-list=all", mapped, walk.Always},
		{"in-interface-list=none", mapped, walk.Never},
		{"in-interface-list=gone", mapped, walk.Never},
		{"out-interface-list=WAN", mapped, walk.Perhaps},
		{"connection-state=established,related", mapped, walk.Never},
		{"connection-state=invalid,new", mapped, walk.Always},
		{"connection-nat-state=!dstnat", mapped, walk.Never},
		{"connection-nat-state=srcnat,dstnat", mapped, walk.Always},
		{"connection-nat-state=dstnat", request, walk.Perhaps},
		{"connection-mark=no-mark", reply, walk.Never},
		{"connection-mark=!no-mark", reply, walk.Always},
		{"connection-mark=vpn", mapped, walk.Perhaps},
		{"protocol=tcp", mapped, walk.Partly},
		{"protocol=!tcp", mapped, walk.Partly},
		{"protocol=17", request, walk.Always},
		{"protocol=6", request, walk.Never},
		{"protocol=icmp", mapped, walk.Never},
		{"protocol=!icmp", mapped, walk.Always},
		{"protocol=udp dst-port=5351", request, walk.Always},
		{"protocol=udp dst-port=53,5350-5360", request, walk.Always},
		{"protocol=udp dst-port=!5351", request, walk.Never},
		{"protocol=udp dst-port=1-53", request, walk.Never},
		{"protocol=udp dst-port=ntp", request, walk.Perhaps},
		{"protocol=tcp dst-port=443", mapped, walk.Perhaps},
		{"dst-address=192.168.88.10", request, walk.Always},
		{"dst-address=192.168.88.0/24", request, walk.Always},
		{"dst-address=192.168.88.1-192.168.88.20", request, walk.Always},
		{"dst-address=192.168.88.11-192.168.88.20", request, walk.Never},
		{"dst-address=!192.168.88.0/24", request, walk.Never},
		{"dst-address=nowhere", request, walk.Perhaps},
		{"dst-address=192.168.88.0/24", mapped, walk.Perhaps},
		{"dst-address=0.0.0.0/0", mapped, walk.Always},
		{"dst-address-type=local", request, walk.Always},
		{"dst-address-type=!local", request, walk.Never},
		{"dst-address-type=local", mapped, walk.Perhaps},
		{"dst-address-type=!local", reply, walk.Always},
		{"dst-address-type=unicast", reply, walk.Always},
		{"dst-address-type=broadcast", reply, walk.Never},
		{"src-address-list=friends", mapped, walk.Perhaps},
		{"src-address=192.168.0.0/16", reply, walk.Always},
		{"src-address=192.168.88.10", reply, walk.Partly},
		{"src-address=!192.168.88.10", reply, walk.Partly},
		{"src-address=192.168.88.100-192.168.89.1", reply, walk.Partly},
		{"src-address=192.168.89.0/24", reply, walk.Never},
		{"src-address-list=clients", reply, walk.Always},
		{"src-address-list=!clients", reply, walk.Never},
		{"src-address-list=some", reply, walk.Partly},
		{"src-address-list=others", reply, walk.Never},
		{"src-address-list=names", reply, walk.Perhaps},
		{"dst-address-list=!clients", request, walk.Never},
		{"from-the-future=1", mapped, walk.Perhaps},
		{"from-the-future=", mapped, walk.Always},
	}
	for _, tt := range tests {
		got := w.Match(rowOf(tt.rule), tt.p)
		if got != tt.want {
			t.Errorf("%s for %+v: got %v, want %v", tt.rule, tt.p, got, tt.want)
		}
	}
}
