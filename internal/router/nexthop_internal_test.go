package router

import (
	"net/netip"
	"slices"
	"testing"

	"doublenat/routeros"
)

// The gateway of the default route, in the words of both major versions.
func TestNextHop(t *testing.T) {
	t.Parallel()
	const active = " active=true"
	for name, tt := range map[string]struct {
		rows    []string
		known   string
		want    string
		through []string
	}{
		"no route":             {},
		"an address":           {rows: []string{"dst-address=0.0.0.0/0 gateway=192.168.1.1 immediate-gw=192.168.1.1%ether1 distance=1 dhcp=true" + active}, want: "192.168.1.1", through: []string{"ether1"}},
		"an address of 6":      {rows: []string{"dst-address=0.0.0.0/0 gateway=192.168.1.1 gateway-status=192.168.1.1_reachable_via__ether1 distance=1" + active}, want: "192.168.1.1", through: []string{"ether1"}},
		"before it is settled": {rows: []string{"dst-address=0.0.0.0/0 gateway=192.168.1.1" + active}, want: "192.168.1.1"},
		"with its interface":   {rows: []string{"dst-address=0.0.0.0/0 gateway=192.168.1.1%ether1" + active}, want: "192.168.1.1", through: []string{"ether1"}},
		"recursive":            {rows: []string{"dst-address=0.0.0.0/0 gateway=8.8.8.8 immediate-gw=192.168.1.1%ether1" + active}, want: "192.168.1.1", through: []string{"ether1"}},
		"recursive of 6":       {rows: []string{"dst-address=0.0.0.0/0 gateway=8.8.8.8 gateway-status=8.8.8.8_recursive_via_192.168.1.1_ether1" + active}, want: "192.168.1.1", through: []string{"ether1"}},
		"an interface":         {rows: []string{"dst-address=0.0.0.0/0 gateway=pppoe-out1 immediate-gw=pppoe-out1" + active}, through: []string{"pppoe-out1"}},
		"an interface of 6":    {rows: []string{"dst-address=0.0.0.0/0 gateway=ether1 gateway-status=ether1_reachable" + active}, through: []string{"ether1"}},
		"not in use":           {rows: []string{"dst-address=0.0.0.0/0 gateway=192.168.1.1", "dst-address=0.0.0.0/0 gateway=192.168.2.1 disabled=true" + active, "dst-address=0.0.0.0/0 gateway=192.168.3.1 inactive=true" + active}},
		"of another table":     {rows: []string{"dst-address=0.0.0.0/0 gateway=192.168.1.1 routing-table=vpn" + active, "dst-address=0.0.0.0/0 gateway=192.168.2.1 routing-mark=vpn" + active}},
		"of a part":            {rows: []string{"dst-address=0.0.0.0/1 gateway=10.2.0.1" + active, "dst-address=::/0 gateway=fe80::1%ether1" + active}},
		"lowest distance": {
			rows: []string{"dst-address=0.0.0.0/0 gateway=192.168.2.1 distance=5" + active, "dst-address=0.0.0.0/0 gateway=192.168.1.1 distance=1 routing-table=main" + active},
			want: "192.168.1.1",
		},
		"lowest distance is an interface": {
			rows:    []string{"dst-address=0.0.0.0/0 gateway=192.168.2.1 distance=5" + active, "dst-address=0.0.0.0/0 gateway=lte1 distance=1" + active},
			through: []string{"lte1"},
		},
		"equal ones":           {rows: []string{"dst-address=0.0.0.0/0 gateway=192.168.1.1,192.168.2.1 immediate-gw=192.168.1.1%ether1,192.168.2.1%ether2" + active}, want: "192.168.1.1", through: []string{"ether1", "ether2"}},
		"equal ones, known":    {rows: []string{"dst-address=0.0.0.0/0 gateway=192.168.1.1" + active, "dst-address=0.0.0.0/0 gateway=192.168.2.1" + active}, known: "192.168.2.1", want: "192.168.2.1"},
		"no host":              {rows: []string{"dst-address=0.0.0.0/0 gateway=255.255.255.255" + active, "dst-address=0.0.0.0/0 gateway=fe80::1" + active}},
		"a route into nowhere": {rows: []string{"dst-address=0.0.0.0/0 blackhole=" + active}},
	} {
		var rows []routeros.Row
		for _, row := range tt.rows {
			rows = append(rows, attrs(row))
		}
		known, _ := netip.ParseAddr(tt.known)
		want, _ := netip.ParseAddr(tt.want)
		if got, through := nextHop(rows, known); got != want || !slices.Equal(through, tt.through) {
			t.Errorf("%s: got %v through %q, want %v through %q", name, got, through, want, tt.through)
		}
	}
}
