package daemon_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/igd/igdtest"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp/pcptest"
)

// exchanges returns how often whatever is beyond the router was asked for something about a
// mapping: packets, or calls of UPnP by their names. Of a pool nobody is asked.
func (r *rig) exchanges() map[string]int {
	all := make(map[string]int)
	if r.Box != nil {
		maps.Copy(all, r.Box.Stats().Actions)
	}
	if n := int(r.requests()); n > 0 {
		all["packet"] = n
	}
	return all
}

// more returns what was asked since before.
func more(before, now map[string]int) []string {
	var all []string
	for what, n := range now {
		for range n - before[what] {
			all = append(all, what)
		}
	}
	return slices.Sorted(slices.Values(all))
}

// With each kind of gateway a create costs one command of the router and one exchange with
// what is beyond, and a renewal nothing of the router.
func TestCostWithEachKind(t *testing.T) {
	t.Parallel()
	speaksPCP, speaksUPnP := pcptest.RFC(), igdtest.IGD2()
	for name, tt := range map[string]struct {
		beyond lab.Beyond
		create []string
	}{
		"natpmp": {create: []string{"packet"}},
		"pcp":    {beyond: lab.Beyond{PCP: &speaksPCP}, create: []string{"packet"}},
		"igd":    {beyond: lab.Beyond{UPnP: &speaksUPnP}, create: []string{"AddPortMapping"}},
		"pool":   {beyond: lab.Beyond{PoolDir: t.TempDir()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Profile: natpmptest.RFC(), Beyond: tt.beyond}, func(r *rig) {
				if name == "pool" {
					if err := r.Forward("6881,20000-20009"); err != nil {
						r.t.Fatal(err)
					}
				}
				time.Sleep(20 * time.Second) // The pool is read, and the box found.
				mark, before := r.Router.Mark(), r.exchanges()
				first := r.mapped(alice, natpmp.OpMapTCP, 6881)
				if diff := cmp.Diff([]string{natAdd}, r.commands(mark)); diff != "" {
					r.t.Errorf("router commands of a create (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tt.create, more(before, r.exchanges())); diff != "" {
					r.t.Errorf("exchanges of a create (-want +got):\n%s", diff)
				}
				mark, before = r.Router.Mark(), r.exchanges()
				again := r.ask(alice, natpmp.OpMapTCP, 6881, first.ExternalPort)
				if again.Result != 0 || again.ExternalPort != first.ExternalPort {
					r.t.Errorf("renewed: %+v", again)
				}
				if did := r.commands(mark); len(did) != 0 {
					r.t.Errorf("a renewal cost the router %v", did)
				}
				if diff := more(before, r.exchanges()); len(diff) > 1 {
					r.t.Errorf("a renewal cost %v", diff)
				}
				r.agree()
			})
		})
	}
}
