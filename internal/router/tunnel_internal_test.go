package router

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/remedy"
	"doublenat/routeros"
)

func TestExits(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		row  string
		want []string
	}{
		"v7 address":            {"gateway=10.2.0.1 immediate-gw=10.2.0.1%wg1", []string{"wg1"}},
		"v7 interface":          {"gateway=wg1 immediate-gw=wg1", []string{"wg1"}},
		"v7 several":            {"gateway=wg1,10.0.0.1 immediate-gw=wg1,10.0.0.1%ether1", []string{"wg1", "ether1"}},
		"v7 inactive":           {"gateway=10.2.0.1 immediate-gw=", nil},
		"v7 without":            {"gateway=wg1", []string{"wg1"}},
		"v7 link-local":         {"gateway=fe80::1%wg1 immediate-gw=fe80::1%wg1", []string{"wg1"}},
		"v6 two blanks":         {"gateway=1.2.3.0 gateway-status=1.2.3.0_reachable_via__ether1", []string{"ether1"}},
		"v6 one blank":          {"gateway=1.2.3.0 gateway-status=1.2.3.0_reachable_via_ether1", []string{"ether1"}},
		"v6 interface":          {"gateway=bridge1 gateway-status=bridge1_reachable", []string{"bridge1"}},
		"v6 blank in the name":  {"gateway=x gateway-status=bridge_of_the_LAN_reachable", []string{"bridge of the LAN"}},
		"v6 blank in a via":     {"gateway=x gateway-status=1.2.3.0_reachable_via__my_port", []string{"my port"}},
		"v6 recursive":          {"gateway=10.9.0.1 gateway-status=10.9.0.1_recursive_via_192.0.2.1_ether1", []string{"ether1"}},
		"v6 unreachable":        {"gateway=10.9.0.1 gateway-status=10.9.0.1_unreachable", nil},
		"v6 inactive interface": {"gateway=l2tp-out1 gateway-status=l2tp-out1_inactive", nil},
		"v6 several":            {"gateway=a,b gateway-status=1.2.3.4_reachable_via__a,b_reachable", []string{"a", "b"}},
		"v6 address alone":      {"gateway=1.2.3.4 gateway-status=1.2.3.4_reachable", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, Exits(attrs(tt.row))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFindWay(t *testing.T) {
	t.Parallel()
	const main = " active=true routing-table=main"
	tests := map[string]struct {
		rows []string
		want way
	}{
		"none":                   {nil, way{}},
		"elsewhere":              {[]string{"dst-address=10.3.0.0/24 immediate-gw=wg1" + main}, way{}},
		"default":                {[]string{"dst-address=0.0.0.0/0 immediate-gw=1.1.1.1%ether1" + main}, way{interfaces: []string{"ether1"}}},
		"longest prefix":         {[]string{"dst-address=10.2.0.0/24 immediate-gw=a" + main, "dst-address=10.2.0.1/32 immediate-gw=b" + main, "dst-address=0.0.0.0/0 immediate-gw=c" + main}, way{[]string{"b"}, 32}},
		"lowest distance":        {[]string{"dst-address=10.2.0.0/24 distance=2 immediate-gw=a" + main, "dst-address=10.2.0.0/24 distance=1 immediate-gw=b" + main, "dst-address=10.2.0.0/24 distance=3 immediate-gw=c" + main}, way{[]string{"b"}, 24}},
		"equal routes":           {[]string{"dst-address=10.2.0.0/24 immediate-gw=b" + main, "dst-address=10.2.0.0/24 immediate-gw=a,b" + main}, way{[]string{"a", "b"}, 24}},
		"inactive":               {[]string{"dst-address=10.2.0.1/32 immediate-gw=wg1 routing-table=main"}, way{}},
		"disabled":               {[]string{"dst-address=10.2.0.1/32 immediate-gw=wg1 disabled=true" + main}, way{}},
		"other table":            {[]string{"dst-address=10.2.0.1/32 immediate-gw=wg1 active=true routing-table=vpn"}, way{}},
		"v6 other table":         {[]string{"dst-address=10.2.0.1/32 gateway-status=wg1_reachable active=true routing-mark=vpn"}, way{}},
		"v6":                     {[]string{"dst-address=10.2.0.1/32 gateway-status=wg1_reachable active=true"}, way{[]string{"wg1"}, 32}},
		"without interface":      {[]string{"dst-address=10.2.0.1/32 gateway=10.9.9.9 active=true", "dst-address=10.2.0.0/24 immediate-gw=wg1" + main}, way{[]string{"wg1"}, 24}},
		"garbage":                {[]string{"dst-address=x active=true", "active=true", "dst-address=fd00::/8 active=true immediate-gw=wg1"}, way{}},
		"connected, no distance": {[]string{"dst-address=10.2.0.0/24 immediate-gw=wg1 distance=" + main}, way{[]string{"wg1"}, 24}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var rows []routeros.Row
			for _, row := range tt.rows {
				rows = append(rows, attrs(row))
			}
			got := findWay(rows, netip.MustParseAddr("10.2.0.1"))
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(way{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFindNetwork(t *testing.T) {
	t.Parallel()
	rows := []routeros.Row{
		attrs("address=192.168.88.1/24 interface=bridge"),
		attrs("address=10.2.0.2/32 interface=wg0"),
		attrs("address=10.2.0.2/24 interface=port actual-interface=wg1"),
		attrs("address=10.2.0.3/24 interface=wg1"),
		attrs("address=10.2.0.4/24 interface=off disabled=true"),
		attrs("address=10.2.0.4/24 interface=broken invalid=true"),
		attrs("address=10.2.0.1/24 interface=self"),
		attrs("address=garbage interface=x"),
	}
	if diff := cmp.Diff([]string{"wg1"}, findNetwork(rows, netip.MustParseAddr("10.2.0.1"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	all := parseInterfaces(
		[]routeros.Row{
			attrs("name=ether1 type=ether"), attrs("name=bridge type=bridge"), attrs("name=wg1 type=wg"), attrs("name=odd type=mystery"),
			attrs("name=ether2 type=ether"), attrs("name=l2tp type=l2tp-out"), attrs("name=work type=l2tp-out"), attrs("name=pppoe type=pppoe-out"), attrs("name=100%d type=ether"), attrs("type=ether"),
		},
		[]routeros.Row{attrs("name=wg1"), attrs("name=odd")},
	)
	if diff := cmp.Diff([]string{"wg1", "odd", "l2tp", "work"}, all.tunnels); diff != "" {
		t.Errorf("tunnels (-want +got):\n%s", diff)
	}
	one := parseInterfaces([]routeros.Row{attrs("name=ether1 type=ether"), attrs("name=wg1 type=wg"), attrs("name=work type=l2tp-out")}, nil)
	single := parseInterfaces([]routeros.Row{attrs("name=ether1 type=ether"), attrs("name=wg1 type=wg")}, nil)
	l := lines{main: []string{"ether1", "l2tp"}, other: []string{"ether2", "wg1", "work"}}
	many := interfaces{}
	for i := range 12 {
		many.names = append(many.names, strconv.Itoa(i))
	}
	tests := map[string]struct {
		all  interfaces
		way  way
		want string
		err  string
	}{
		"tunnel":                  {all, way{[]string{"wg1"}, 32}, "wg1", ""},
		"tunnel and another":      {all, way{[]string{"bridge", "wg1"}, 32}, "wg1", ""},
		"both by default":         {all, way{[]string{"bridge", "wg1"}, 0}, "", "in several ways"},
		"default by one of two":   {all, way{[]string{"wg1"}, 0}, "", "only by its default route through wg1, and has other tunnels"},
		"default by the only":     {one, way{[]string{"wg1"}, 0}, "wg1", ""},
		"a line by l2tp":          {all, way{[]string{"l2tp"}, 0}, "", "through l2tp, which carries its default route: that may be the line to the Internet; set MIKROTIK_IN_INTERFACE to one of: wg1,"},
		"default by the only WAN": {single, way{[]string{"ether1"}, 0}, "", ": /ip route add dst-address=10.2.0.1/32 gateway=wg1"},
		"a route by the l2tp":     {all, way{[]string{"l2tp"}, 32}, "", "through l2tp, which carries its default route: that may be the line to the Internet"},
		"another l2tp":            {all, way{[]string{"work"}, 32}, "work", ""},
		"network of the WAN":      {all, way{[]string{"ether1"}, 8}, "", "through ether1, which is no tunnel but a line to the Internet"},
		"network of a spare WAN":  {all, way{[]string{"ether2"}, 8}, "", "through ether2, which is no tunnel but a line to the Internet"},
		"network of the PPPoE":    {all, way{[]string{"pppoe"}, 8}, "", "through pppoe, which is no tunnel but a line to the Internet"},
		"by policy, a tunnel":     {all, way{[]string{"wg1"}, -1}, "wg1", ""},
		"by policy, no tunnel":    {all, way{[]string{"bridge"}, -1}, "", "through bridge, which is no tunnel but a line to the Internet"},
		"no tunnel, but a route":  {all, way{[]string{"bridge"}, 24}, "bridge", ""},
		"two tunnels":             {all, way{[]string{"work", "wg1"}, 32}, "", "in several ways; set MIKROTIK_IN_INTERFACE to one of: work, wg1"},
		"default by the WAN":      {all, way{[]string{"pppoe"}, 0}, "", "only by its default route through pppoe, which is no tunnel → add a route to 10.2.0.1 through the right one of these tunnels: wg1, odd, l2tp, work;"},
		"a format in its name":    {all, way{[]string{"100%d"}, 0}, "", "the gateway 10.2.0.1 only by its default route through 100%d, which is no tunnel"},
		"no route":                {all, way{}, "", "no route to the gateway 10.2.0.1 → add a route to 10.2.0.1 through the right one of these tunnels: wg1, odd, l2tp, work;"},
		"not an interface":        {all, way{[]string{"*C"}, 24}, "", "no route to the gateway"},
		"no interfaces":           {interfaces{}, way{}, "", "no route to the gateway 10.2.0.1 → add a route to 10.2.0.1 through the interface that leads to it;"},
		"many interfaces":         {many, way{many.names, 32}, "", "to one of: 0, 1, 2, 3, 4, 5, 6, 7 (and 4 more)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.all.choose(tt.way, l, netip.MustParseAddr("10.2.0.1"))
			if got != tt.want || (err == nil) != (tt.err == "") {
				t.Fatalf("got %q, %v, want %q, %q", got, err, tt.want, tt.err)
			}
			if err == nil {
				return
			}
			if said := said(err); !strings.Contains(said, tt.err) {
				t.Errorf("got error %q, want %q", said, tt.err)
			}
		})
	}
}

// said returns an error with its advice.
func said(err error) string {
	advice, _ := remedy.For(err)
	return err.Error() + " → " + advice.String()
}

// An interface that was named is taken, unless it carries the main default route and
// something else leads to the gateway.
func TestConfigured(t *testing.T) {
	t.Parallel()
	all := parseInterfaces([]routeros.Row{attrs("name=ether1 type=ether"), attrs("name=wg1 type=wg"), attrs("name=wg2 type=wg")}, nil)
	tests := map[string]struct {
		name string
		way  way
		err  string
	}{
		"tunnel":                {"wg1", way{[]string{"wg1"}, 32}, ""},
		"tunnel that is down":   {"wg1", way{[]string{"ether1"}, 0}, ""},
		"another tunnel":        {"wg2", way{[]string{"wg1"}, 32}, ""},
		"WAN, the only way":     {"ether1", way{[]string{"ether1"}, 0}, ""},
		"WAN beside the tunnel": {"ether1", way{[]string{"wg1"}, 32}, "MIKROTIK_IN_INTERFACE=ether1 carries the router's default route, and the gateway 10.2.0.1 is not reached through it; set MIKROTIK_IN_INTERFACE to one of: wg1"},
		"WAN, no way":           {"ether1", way{}, "to one of: wg1, wg2"},
		"WAN and the tunnel":    {"ether1", way{[]string{"ether1", "wg1"}, 32}, "is not reached through it"},
		"not there":             {"wg9", way{}, `no interface "wg9"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := all.configured(tt.name, tt.way, lines{main: []string{"ether1"}}, netip.MustParseAddr("10.2.0.1"))
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got error %v, want %q", err, tt.err)
			}
		})
	}
}

// A second provider's default route counts although it is not in use.
func TestFindLines(t *testing.T) {
	t.Parallel()
	routes := []routeros.Row{
		attrs("dst-address=0.0.0.0/0 gateway=198.51.100.1 immediate-gw=198.51.100.1%ether1 active=true routing-table=main"),
		attrs("dst-address=0.0.0.0/0 gateway=10.0.0.1 immediate-gw= inactive=true distance=2"),
		attrs("dst-address=0.0.0.0/0 gateway=wg1 immediate-gw=wg1 routing-table=vpn active=true"),
		attrs("dst-address=0.0.0.0/0 gateway=off disabled=true"),
		attrs("dst-address=10.2.0.1/32 gateway=wg2 active=true"),
		attrs("dst-address=garbage"),
	}
	addresses := []routeros.Row{attrs("address=10.0.0.7/8 interface=lte1"), attrs("address=198.51.100.2/30 interface=ether1")}
	got := findLines(routes, addresses)
	want := lines{main: []string{"ether1", "ether1", "lte1"}, other: []string{"wg1"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(lines{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
