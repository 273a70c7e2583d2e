package routerostest_test

import (
	"fmt"
	"iter"
	"net/netip"
	"strings"
	"testing"

	"doublenat/routeros/routerostest"
)

// many makes rows from a number.
func many(n int, row func(i int) routerostest.Row) iter.Seq[routerostest.Row] {
	return func(yield func(routerostest.Row) bool) {
		for i := range n {
			if !yield(row(i)) {
				return
			}
		}
	}
}

// numbered is an address that nobody else has.
func numbered(i int) string {
	return netip.AddrFrom4([4]byte{100, byte(64 + i>>16), byte(i >> 8), byte(i)}).String()
}

// bigWorld has the tables of people with large lists, full routes and many forwards.
func bigWorld(t *testing.T) *routerostest.Router {
	t.Helper()
	router := newRouter(t, routerostest.Config{})
	for path, rows := range map[string]iter.Seq[routerostest.Row]{
		"/ip/firewall/address-list": many(200_000, func(i int) routerostest.Row {
			return routerostest.Row{"list": "blocked", "address": numbered(i)}
		}),
		"/ip/route": many(20_000, func(i int) routerostest.Row {
			return routerostest.Row{"dst-address": numbered(i) + "/32", "gateway": "198.51.100.1", "routing-table": "main", "bgp": "true"}
		}),
		natPath: many(100_000, func(i int) routerostest.Row {
			return routerostest.Row{
				"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "in-interface": "ether1", "dst-address": numbered(i),
				"dst-port": "80", "to-addresses": "192.168.88.30", "comment": fmt.Sprintf("shop %d", i),
			}
		}),
	} {
		if err := router.AddAll(path, rows); err != nil {
			t.Fatal(err)
		}
	}
	return router
}

// TestBigTables asks for few rows of large tables, for all of them, and stops in the
// middle.
func TestBigTables(t *testing.T) {
	t.Parallel()
	router := bigWorld(t)
	c := login(t, router)
	exchange{
		{"/ip/firewall/address-list/print =count-only=", "!done =ret=200001"},
		{"/ip/firewall/address-list/print ?list=WAN-IP =.proplist=address", "!re =address=198.51.100.2\n!done"},
		{"/ip/route/print ?active=true =count-only=", "!done =ret=20007"},
		{natPath + "/print ?in-interface=wg1 =count-only=", "!done =ret=5"},
		{"/ip/firewall/address-list/add =list=blocked =address=" + numbered(199_999), "!trap =message=failure: already have such entry\n!done"},
	}.check(t, c)
	if _, id, _ := router.Match("tcp", "wg1", 2222); id != "*4" {
		t.Errorf("the packet meets %q", id)
	}
	if way, back, problem := router.Answered(requestOfLAN()); problem != "" {
		t.Errorf("%s\n%v\n%v", problem, way, back)
	}

	c.send(natPath+"/print", "=.proplist=.id,comment", ".tag=a")
	rows := 0
	for c.next() != "!done .tag=a" {
		rows++
	}
	if rows != 100_012 {
		t.Errorf("%d rows, want 100012", rows)
	}

	c.send("/ip/firewall/address-list/print", ".tag=b")
	c.lines(10)
	c.send("/cancel", "=tag=b", ".tag=c")
	rows = 10
	last := ""
	for last != "!done .tag=b" {
		last = c.next()
		rows++
		if strings.HasPrefix(last, "!trap") && last != "!trap .tag=b =category=2 =message=interrupted" {
			t.Fatal(last)
		}
	}
	if rows > 150_000 {
		t.Errorf("%d sentences came though the print was interrupted", rows)
	}
	exchange{{"/system/identity/print", "!re =name=MikroTik\n!done"}}.check(t, c)
}
