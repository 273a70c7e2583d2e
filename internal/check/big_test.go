package check_test

import (
	"fmt"
	"iter"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/check"
	"doublenat/internal/lab"
	"doublenat/routeros/routerostest"
)

// fill adds many rows to a table.
func (r *rig) fill(path string, number int, row func(i int) routerostest.Row) {
	r.t.Helper()
	var rows iter.Seq[routerostest.Row] = func(yield func(routerostest.Row) bool) {
		for i := range number {
			if !yield(row(i)) {
				return
			}
		}
	}
	if err := r.Router.AddAll(path, rows); err != nil {
		r.t.Fatal(err)
	}
}

// public returns the address with a number, one outside of all networks of the bench.
func public(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(45 + i>>24), byte(i >> 16), byte(i >> 8), byte(i)})
}

// many is so many rows, and a tenth of them with -short.
func many(rows int) int {
	if testing.Short() {
		return rows / 10
	}
	return rows
}

// TestBigTables has routers with tables as large as real ones have. The doctor has
// to look at everything, find what is wrong all the same, and hold little of them.
func TestBigTables(t *testing.T) {
	for name, tt := range map[string]struct {
		fill  func(r *rig)
		kinds []string
	}{
		"address lists": {func(r *rig) {
			r.add(rawPath, "chain=prerouting action=drop src-address-list=!friends in-interface=wg1", "")
			r.fill(listPath, many(200_000), func(i int) routerostest.Row {
				return routerostest.Row{"list": []string{"blocked", "friends"}[i&1], "address": public(i).String()}
			})
		}, []string{"mapped packets dropped"}},
		"routes": {func(r *rig) {
			r.fill(routePath, many(60_000), func(i int) routerostest.Row {
				prefix := netip.PrefixFrom(public(i<<8), 24)
				return routerostest.Row{"dst-address": prefix.String(), "gateway": "198.51.100.1", "distance": "20", "bgp": "true", "dynamic": "true", "routing-table": "main"}
			})
			r.remove(routePath, "dst-address", "10.2.0.1/32")
			r.add(routePath, "dst-address=10.2.0.0/24 gateway=198.51.100.1 distance=20 bgp=true dynamic=true routing-table=main", "")
			r.cfg.InInterface = "wg1"
			r.cfg.Self = nil
		}, []string{"gateway lost"}},
		"NAT": {func(r *rig) {
			r.fill(natPath, many(100_000), func(i int) routerostest.Row {
				return routerostest.Row{
					"chain": "dstnat", "action": "dst-nat", "protocol": []string{"tcp", "udp"}[i&1], "in-interface": "ether1",
					"dst-port": fmt.Sprint(1024 + i%4000), "to-addresses": "192.168.88.20", "invalid": "false", "disabled": "false", "dynamic": "false",
				}
			})
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, lab.BenchConfig{})
				tt.fill(r)
				runtime.GC()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				report := r.check()
				runtime.GC()
				runtime.ReadMemStats(&after)
				var kinds []string
				for _, f := range wrong(report) {
					kinds = append(kinds, string(f.Advice.Kind))
					t.Logf("%s: %s: %s", f.Probe, f.Seen, f.Advice)
				}
				if diff := cmp.Diff(tt.kinds, kinds); diff != "" {
					t.Errorf("kinds (-want +got):\n%s", diff)
				}
				if last := report.Findings[len(report.Findings)-1].Probe; last != "address" {
					t.Errorf("the last probe was %s", last)
				}
				if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > 8<<20 {
					t.Errorf("%d bytes more after the check", held)
				}
			})
		})
	}
}

// TestTooManyRows has more rows that may matter than anybody can hold: the doctor says
// so, and goes on with what does not need them.
func TestTooManyRows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lab.BenchConfig{})
		r.fill(filterPath, 20_001, func(i int) routerostest.Row {
			return routerostest.Row{"chain": "forward", "action": "drop", "src-address": public(i).String()}
		})
		found := wrong(r.check())
		if len(found) != 1 || !strings.Contains(found[0].Seen, "more than 20000 rows of /ip/firewall/filter/print") || found[0].Advice.Kind != check.KindTooLarge {
			t.Errorf("got %+v", found)
		}
	})
}

// TestQueriesIgnored has a router that gives everything whatever is asked.
func TestQueriesIgnored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lab.BenchConfig{})
		r.Router.Inject(routerostest.Fault{Kind: routerostest.FaultQueryIgnored, Times: -1})
		r.add(listPath, "list=others address=10.0.0.0/8", "")
		r.add(listPath, "list=bogons address=127.0.0.0/8", "")
		r.add(rawPath, "chain=prerouting action=drop src-address-list=bogons", "")
		for _, f := range wrong(r.check()) {
			t.Errorf("%s: %s", f.Probe, f.Seen)
		}
	})
}
