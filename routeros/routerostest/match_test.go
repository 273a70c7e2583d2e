package routerostest_test

import (
	"net/netip"
	"strings"
	"testing"

	"doublenat/routeros/routerostest"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	const wg, lan, wan = routerostest.TunnelInterface, routerostest.LANInterface, routerostest.WANInterface
	tests := []struct {
		name            string
		protocol, iface string
		port            uint16
		want            string // "" for no match
	}{
		{"one port", "tcp", wg, 2222, "192.168.88.20:22"},
		{"other protocol", "udp", wg, 2222, ""},
		{"other interface", "tcp", lan, 2222, ""},
		{"in a list", "tcp", wg, 8443, "192.168.88.21:8443"},
		{"first of a range", "udp", wg, 50000, "192.168.88.22:50000"},
		{"last of a range", "udp", wg, 50010, "192.168.88.22:50010"},
		{"behind a range", "udp", wg, 50011, ""},
		{"after a range in a list", "udp", wg, 51000, "192.168.88.22:51000"},
		{"negated interface", "tcp", wg, 8000, "192.168.88.23:8000"},
		{"negated interface, itself", "tcp", wan, 8000, ""},
		{"negated interface, other address", "tcp", lan, 8000, ""},
		{"disabled", "tcp", wg, 25565, ""},
		{"dynamic", "tcp", wan, 32400, "192.168.88.77:32400"},
		{"redirect", "udp", lan, 53, "192.168.88.1:53"},
		{"interface list", "udp", lan, 5351, "172.30.254.2:5351"},
		{"outside of the interface list", "udp", wan, 5351, ""},
		{"address list, which is not evaluated", "tcp", wan, 3389, ""},
		{"nothing", "tcp", wg, 1, ""},
	}
	router := newRouter(t, routerostest.Config{})
	for _, tt := range tests {
		to, id, ok := router.Match(tt.protocol, tt.iface, tt.port)
		got := ""
		if ok {
			got = to.String()
		}
		if got != tt.want || ok != (id != "") {
			t.Errorf("%s: %q by rule %q, want %q", tt.name, got, id, tt.want)
		}
	}
	row, _ := router.Find(natPath, "comment", "ssh to nas")
	if row["packets"] != "1" || row["bytes"] != "60" {
		t.Errorf("counters %s, %s", row["packets"], row["bytes"])
	}
}

// TestMatchOrder has rules of which more than one takes the packet, to tcp port
// 700 on the tunnel.
func TestMatchOrder(t *testing.T) {
	t.Parallel()
	const ours = "chain=dstnat action=dst-nat protocol=tcp in-interface=wg1 dst-port=700 to-addresses=10.9.9.9 to-ports=7"
	tests := []struct {
		name  string
		rules []string
		want  string
	}{
		{"first wins", []string{"chain=dstnat action=dst-nat protocol=tcp dst-port=1-1000 to-addresses=10.1.1.1", ours}, "10.1.1.1:700"},
		{"accept ends it", []string{"chain=dstnat action=accept in-interface=wg1", ours}, ""},
		{"log goes on", []string{"chain=dstnat action=log", "chain=dstnat action=passthrough", ours}, "10.9.9.9:7"},
		{"other chain", []string{"chain=srcnat action=accept", "chain=mine action=accept", ours}, "10.9.9.9:7"},
		{"invalid", []string{"chain=dstnat action=accept invalid=true", ours}, "10.9.9.9:7"},
		{"negated ports", []string{"chain=dstnat action=accept protocol=tcp dst-port=!700,800", ours}, "10.9.9.9:7"},
		{"negated protocol", []string{"chain=dstnat action=accept protocol=!udp", ours}, ""},
		{"protocol by number", []string{"chain=dstnat action=accept protocol=6", ours}, ""},
		{"negated list", []string{"chain=dstnat action=accept in-interface-list=!LAN", ours}, ""},
		{"every list", []string{"chain=dstnat action=accept in-interface-list=all", ours}, ""},
		{"all-ethernet", []string{"chain=dstnat action=accept in-interface=all-ethernet", ours}, "10.9.9.9:7"},
		{"another address", []string{"chain=dstnat action=accept dst-address=10.2.0.0/30", ours}, ""},
		{"no target ports", []string{"chain=dstnat action=netmap to-addresses=10.1.1.0/24 protocol=tcp dst-port=700"}, "10.1.1.0:700"},
		{"range of target ports", []string{"chain=dstnat action=dst-nat protocol=tcp to-addresses=10.1.1.1-10.1.1.9 to-ports=600-800"}, "10.1.1.1:700"},
		{"range of other target ports", []string{"chain=dstnat action=dst-nat protocol=tcp to-addresses=10.1.1.1 to-ports=1-2"}, "10.1.1.1:1"},
		{"no target address", []string{"chain=dstnat action=dst-nat protocol=tcp to-ports=8"}, "10.2.0.2:8"},
		{"needs a source", []string{"chain=dstnat action=accept src-address=10.0.0.0/8", ours}, "10.9.9.9:7"},
		{"needs a mark", []string{"chain=dstnat action=accept connection-mark=x", ours}, "10.9.9.9:7"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			router := newRouter(t, routerostest.Config{})
			for _, rule := range tt.rules {
				row := make(routerostest.Row)
				for word := range strings.FieldsSeq(rule) {
					name, value, _ := strings.Cut(word, "=")
					row[name] = value
				}
				if _, err := router.Add(natPath, row); err != nil {
					t.Fatal(err)
				}
			}
			to, _, ok := router.Match("tcp", "wg1", 700)
			want, err := netip.ParseAddrPort(tt.want)
			if ok != (err == nil) || to != want {
				t.Errorf("%v, %v, want %q", to, ok, tt.want)
			}
		})
	}
	if _, _, ok := newRouter(t, routerostest.Config{}).Match("udp", "no such interface", 53); ok {
		t.Error("a packet came in on an interface that there is not")
	}
}

// A rule that matches a source takes what comes from there, and nothing of which nobody told
// where it comes from.
func TestMatchFrom(t *testing.T) {
	t.Parallel()
	for matcher, want := range map[string][3]bool{
		"src-address=203.0.113.7":                 {true, true, false},
		"src-address=!203.0.113.7":                {false, false, true},
		"src-address=203.0.113.0/24":              {true, true, true},
		"src-port=5000":                           {true, false, true},
		"src-port=!5000":                          {false, true, false},
		"src-address=203.0.113.7 src-port=1-5000": {true, false, false},
		"src-address-list=friends":                {},
	} {
		router := newRouter(t, routerostest.Config{})
		row := routerostest.Row{"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "dst-port": "700", "to-addresses": "10.9.9.9"}
		for word := range strings.FieldsSeq(matcher) {
			name, value, _ := strings.Cut(word, "=")
			row[name] = value
		}
		if _, err := router.Add(natPath, row); err != nil {
			t.Fatal(err)
		}
		for i, from := range []string{"203.0.113.7:5000", "203.0.113.7:5001", "203.0.113.8:5000"} {
			if _, _, ok := router.MatchFrom(netip.MustParseAddrPort(from), "tcp", "wg1", 700); ok != want[i] {
				t.Errorf("%s: from %s: %v", matcher, from, ok)
			}
		}
		if _, _, ok := router.Match("tcp", "wg1", 700); ok {
			t.Errorf("%s: it matches what comes from nowhere", matcher)
		}
	}
}
