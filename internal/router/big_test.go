package router_test

import (
	"fmt"
	"iter"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/routeros/routerostest"
)

// numbered returns rows that are made of a number.
func numbered(n int, row func(address string) routerostest.Row) iter.Seq[routerostest.Row] {
	return func(yield func(routerostest.Row) bool) {
		for i := range n {
			if !yield(row(netip.AddrFrom4([4]byte{100, byte(64 + i>>16), byte(i >> 8), byte(i)}).String())) {
				return
			}
		}
	}
}

// shop is a rule of somebody else, for the WAN.
func shop(address string) routerostest.Row {
	return routerostest.Row{
		"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "in-interface": "ether1", "dst-address": address,
		"dst-port": "80", "to-addresses": "192.168.88.30", "comment": "shop " + address,
	}
}

// TestBigTables starts on a router with 100,000 rules of others, the routes of the
// whole Internet, and an answer to the look at the table that takes its time. Once the
// last row has come there is nothing left to do.
func TestBigTables(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes some seconds to make the rows")
	}
	synctest.Test(t, func(t *testing.T) {
		box, err := routerostest.New(routerostest.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := box.AddAll(natPath, numbered(100_000, shop)); err != nil {
			t.Fatal(err)
		}
		if err := box.AddAll("/ip/route", numbered(20_000, func(address string) routerostest.Row {
			return routerostest.Row{"dst-address": address + "/32", "gateway": "198.51.100.1", "routing-table": "main"}
		})); err != nil {
			t.Fatal(err)
		}
		const last = 8 * time.Second // when the last row comes
		box.SetLatency(natPath+"/print", last)
		box.Inject(routerostest.Fault{Kind: routerostest.FaultQueryIgnored, Command: "/ip/route/print", Times: -1})
		start := time.Now()
		r := rigOn(t, box).settled(t)
		r.add(t, wanted("192.168.88.10", 6881))
		if took := time.Since(start); took > last+5*time.Second {
			t.Errorf("it took %v until the first rule was made", took)
		}
		prints := 0
		for _, e := range box.Journal() {
			if strings.HasPrefix(e.Command, natPath+"/print") {
				prints++
			}
		}
		if did := box.Stats(); prints != 1 || did.Commands > 25 || did.Writes != 1 {
			t.Errorf("the table was read %d times, %+v; want once, and little else", prints, did)
		}
	})
}

// TestTunnelLostBesideManyRules: rules leave an interface that does not lead to the
// gateway any more, however many rules of others the table has.
func TestTunnelLostBesideManyRules(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		if err := r.box.AddAll(natPath, numbered(15_000, shop)); err != nil {
			t.Fatal(err)
		}
		made := r.add(t, wanted("192.168.88.10", 6881))
		removeRoute(t, r.box, routerostest.GatewayAddress+"/32")
		time.Sleep(time.Minute)
		if _, found := r.box.Find(natPath, ".id", made.ID); found {
			t.Errorf("the rule is still there; log:\n%s", r.log)
		}
	})
}

// TestTunnelLostWithManyOfOurs: however many rules of ours there are, and however slow the
// router is, all have left after a minute. That one was removed meanwhile does no harm.
func TestTunnelLostWithManyOfOurs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{Latency: 200 * time.Millisecond}).settled(t)
		for port := range uint16(250) {
			r.add(t, wanted("192.168.88.10", 6000+port))
		}
		time.Sleep(time.Minute)
		removeRoute(t, r.box, routerostest.GatewayAddress+"/32")
		r.box.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Command: natPath + "/remove", Message: "no such item"})
		mark := r.box.Mark()
		time.Sleep(time.Minute)
		left := 0
		for _, row := range r.box.Rows(natPath) {
			if row["to-addresses"] == "192.168.88.10" {
				left++
			}
		}
		if left != 0 {
			t.Errorf("%d rules are left after a minute and %d commands", left, r.box.StatsSince(mark).Commands)
		}
	})
}

// TestRowTooLong has a row of somebody else that is longer than anything we take.
// All others are seen, and it is told once.
func TestRowTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		row := shop("192.0.2.1")
		row["comment"] = strings.Repeat("x", 70_000)
		if _, err := r.box.Add(natPath, row); err != nil {
			t.Fatal(err)
		}
		r.add(t, wanted("192.168.88.10", 6881))
		for range 3 {
			if rules := r.rules(t); len(rules) != 1 {
				t.Errorf("got %d rules, want the one that stands behind the long row", len(rules))
			}
		}
		if lines := r.log.lines("too long or too many to read"); len(lines) != 1 || !strings.Contains(lines[0], "rows=1") {
			t.Errorf("got %d lines: %v", len(lines), lines)
		}
	})
}

// TestTooManyOfOurs has more rows with comments of ours than doublenat ever makes. That
// is told as what it is, and nothing is kept of them.
func TestTooManyOfOurs(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes some seconds to make the rows")
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		i := 0
		if err := r.box.AddAll(natPath, numbered(33_000, func(address string) routerostest.Row {
			i++
			return routerostest.Row{
				"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "in-interface": "wg1", "dst-port": "20001",
				"to-addresses": address, "to-ports": "1", "comment": fmt.Sprintf("doublenat:default tcp %s:1 inner=20001 ext=%d life=60", address, i),
			}
		})); err != nil {
			t.Fatal(err)
		}
		_, err := r.Rules(t.Context())
		if _ = natError(t, err); !strings.Contains(err.Error(), "more than 32768 rows with comments of doublenat:default") {
			t.Errorf("got error %v", err)
		}
	})
}
