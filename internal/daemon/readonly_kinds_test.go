package daemon_test

import (
	"testing"
	"time"

	"doublenat/igd/igdtest"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp/pcptest"
	"doublenat/routeros/routerostest"
)

// TestReadOnlyWithEachKind: whatever the gateway is asked by, with READ_ONLY it is changed in
// nothing, nor is the router; what a run before has left stays until its time is over.
func TestReadOnlyWithEachKind(t *testing.T) {
	t.Parallel()
	t.Run("natpmp", func(t *testing.T) {
		t.Parallel()
		onBench(t, lab.BenchConfig{Profile: natpmptest.RFC()}, func(r *rig) { r.onlyReads(1, r.changes) })
	})
	t.Run("pcp", func(t *testing.T) {
		t.Parallel()
		onBench(t, byPCP(pcptest.RFC()), func(r *rig) { r.onlyReads(1, r.changes) })
	})
	for _, kind := range []string{"igd", "auto"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			onDevice(t, igdtest.Permanent(), kind, func(r *rig, box *igdtest.Gateway) {
				r.onlyReads(1, func() int {
					s := box.Stats()
					return s.Creates + s.Renewals + s.Deletes
				})
				if n := len(box.Mappings()); n != 1 {
					r.t.Errorf("the box has %d mappings, want the one of the run before", n)
				}
			})
		})
	}
	t.Run("pool", func(t *testing.T) {
		t.Parallel()
		environ := map[string]string{"VPN_GATEWAY": "pool:51413%" + routerostest.WANInterface}
		onBench(t, lab.BenchConfig{Environ: environ}, func(r *rig) { r.onlyReads(0, func() int { return int(r.requests()) }) })
	})
}

// changes returns how often the gateway changed a mapping.
func (r *rig) changes() int {
	s := r.Gateway.Stats()
	return int(s.Creates + s.Renewals + s.Deletes)
}

// onlyReads has a run leave a mapping, for which the gateway is changed so often at least, and one
// with READ_ONLY follow. Changes returns how often the gateway was changed.
func (r *rig) onlyReads(least int, changes func() int) {
	r.t.Helper()
	stop := func() {
		r.t.Helper()
		if err := r.Stop(); err != nil {
			r.t.Errorf("stop: %v", err)
		}
	}
	stop()
	r.start(map[string]string{"SHUTDOWN": "keep"})
	r.mapped(alice, natpmp.OpMapTCP, 80)
	stop()
	rules, writes, asked := string(r.Router.Fingerprint("/ip/firewall/nat", nil)), r.Router.Stats().Writes, changes()
	if asked < least {
		r.t.Fatalf("the gateway was changed %d times for a mapping", asked)
	}

	r.start(map[string]string{"READ_ONLY": "true"})
	for range 3 {
		for _, port := range []uint16{80, 81} {
			if got := r.ask(alice, natpmp.OpMapTCP, port, 0); got.Result != natpmp.ResultNotAuthorized {
				r.t.Errorf("port %d: answered %+v, want result 2", port, got)
			}
		}
		if got := r.hop("lan"); got != "read-only, clients are refused, on 192.168.88.1:5351" {
			r.t.Errorf("the page says %q", got)
		}
		time.Sleep(10 * time.Minute)
	}
	stop()
	if got := string(r.Router.Fingerprint("/ip/firewall/nat", nil)); got != rules || r.Router.Stats().Writes != writes {
		r.t.Errorf("the router was changed:\n%s\nwas:\n%s", got, rules)
	}
	if got := changes(); got != asked {
		r.t.Errorf("the gateway was changed %d times", got-asked)
	}
}
