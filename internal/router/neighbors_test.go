package router_test

import (
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros/routerostest"
)

// A host is seen unless the router says that it looks for it in vain, in the words of each version.
func TestNeighbors(t *testing.T) {
	t.Parallel()
	const mac = "AA:BB:CC:00:00:01"
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		rows := map[string]routerostest.Row{
			"192.168.88.10": {"mac-address": mac, "complete": "true", "dynamic": "true"},
			"192.168.88.11": {"mac-address": mac, "complete": "true", "status": "stale"},
			"192.168.88.12": {"mac-address": mac, "complete": "false"},
			"192.168.88.13": {"mac-address": mac, "status": "failed"},
			"192.168.88.14": {"complete": "true"},
			"192.168.88.15": {"mac-address": "00:00:00:00:00:00"},
			"192.168.88.16": {"mac-address": mac, "disabled": "true"},
			"192.168.88.17": {"mac-address": mac}, // nobody asks for it
		}
		var all []netip.Addr
		for address, row := range rows {
			row["address"], row["interface"] = address, "bridge"
			put(t, r.box, "/ip/arp", row)
			if address != "192.168.88.17" {
				all = append(all, netip.MustParseAddr(address))
			}
		}
		got, shown, err := r.Neighbors(t.Context(), all)
		if err != nil || !shown {
			t.Fatal(shown, err)
		}
		want := map[netip.Addr]bool{netip.MustParseAddr("192.168.88.10"): true, netip.MustParseAddr("192.168.88.11"): true}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("seen (-want +got):\n%s", diff)
		}

		r.box.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Command: "/ip/arp/print"})
		if _, shown, err := r.Neighbors(t.Context(), all); shown || err != nil {
			t.Errorf("refused: %v, %v", shown, err)
		}
		r.stop()
		if _, _, err := r.Neighbors(t.Context(), all); err == nil {
			t.Error("a router that is gone is no error")
		}
	})
}
