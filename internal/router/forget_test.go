package router_test

import (
	"net/netip"
	"testing"
	"testing/synctest"

	"doublenat/routeros/routerostest"
)

// TestForgetsOldClients has clients that go on to ask from one socket when the redirect moves: the
// router has to forget their connections to the old doublenat, and nobody else's.
func TestForgetsOldClients(t *testing.T) {
	t.Parallel()
	for _, columns := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			box := newBox(t, routerostest.Config{PortColumns: columns})
			rule, _ := box.Find(natPath, "dst-port", "5351")
			if err := box.Set(natPath, rule[".id"], routerostest.Row{"comment": "NAT-PMP to doublenat"}); err != nil {
				t.Fatal(err)
			}
			r := rigOn(t, box)
			asks := func(from, to string) {
				box.Follow(routerostest.Packet{
					Protocol: "udp", In: "bridge", Src: netip.MustParseAddrPort(from), Dst: netip.MustParseAddrPort(to),
				}, true)
			}
			asks("192.168.88.10:1000", "192.168.88.1:5351")
			asks("192.168.88.11:1000", "192.168.88.1:5351")
			asks("192.168.88.12:5351", "203.0.113.5:53")
			all := len(box.Rows("/ip/firewall/connection"))
			if moved, err := r.PointRedirects(t.Context(), netip.MustParseAddr("172.30.253.2")); moved != 1 || err != nil {
				t.Fatalf("moved %d, %v", moved, err)
			}
			if left := len(box.Rows("/ip/firewall/connection")); left != all-2 {
				t.Errorf("columns %v: %d of %d connections are left", columns, left, all)
			}
			mark := box.Mark()
			if moved, err := r.PointRedirects(t.Context(), netip.MustParseAddr("172.30.253.2")); moved != 0 || err != nil || box.StatsSince(mark).Commands > 1 {
				t.Errorf("a redirect that leads there was looked after with %d commands", box.StatsSince(mark).Commands)
			}
		})
	}
}

// TestForgetsWithoutHelp has a router that does not show its connections: the redirect moves all the same.
func TestForgetsWithoutHelp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := newBox(t, routerostest.Config{})
		rule, _ := box.Find(natPath, "dst-port", "5351")
		if err := box.Set(natPath, rule[".id"], routerostest.Row{"comment": "NAT-PMP to doublenat"}); err != nil {
			t.Fatal(err)
		}
		r := rigOn(t, box)
		defer box.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Command: "/ip/firewall/connection/print", Message: "not enough permissions (9)"})()
		if moved, err := r.PointRedirects(t.Context(), netip.MustParseAddr("172.30.253.2")); moved != 1 || err != nil {
			t.Errorf("moved %d, %v", moved, err)
		}
		if now, _ := box.Find(natPath, "dst-port", "5351"); now["to-addresses"] != "172.30.253.2" {
			t.Errorf("the redirect leads to %s", now["to-addresses"])
		}
	})
}
