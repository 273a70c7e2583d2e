package router_test

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
	"doublenat/routeros/routerostest"
)

// TestRuleForPortZero: a rule for internal port 0 forwards the external port to the
// same port of the client, and follows it in one command (facts C16).
func TestRuleForPortZero(t *testing.T) {
	t.Parallel()
	for _, version := range versions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routerostest.Config{Version: version}).settled(t)
				want := wanted("192.168.88.10", 0)
				want.ExternalPort = 40123
				made := r.add(t, want)
				check := func(external, comment string) {
					t.Helper()
					row, _ := r.box.Find(natPath, ".id", made.ID)
					if row["to-ports"] != external || row["dst-port"] != "20000" || row["comment"] != comment {
						t.Errorf("the row is %v", row)
					}
					if to, _, ok := r.box.Match("tcp", "wg1", 20000); !ok || to.String() != "192.168.88.10:"+external {
						t.Errorf("a packet goes to %v, %v", to, ok)
					}
				}
				check("40123", "doublenat:default tcp 192.168.88.10:0 inner=20000 ext=40123 life=3600")

				moved := made
				moved.ExternalPort = 40999
				mark := r.box.Mark()
				if err := r.UpdateRule(t.Context(), made, moved); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]string{"print", "set"}, r.commands(mark)); diff != "" {
					t.Errorf("commands of an update (-want +got):\n%s", diff)
				}
				check("40999", "doublenat:default tcp 192.168.88.10:0 inner=20000 ext=40999 life=3600")
				rules := r.rules(t)
				for i := range rules {
					rules[i].Packets = 0
				}
				if diff := cmp.Diff([]nat.Rule{moved}, rules, cmp.Comparer(sameRule)); diff != "" {
					t.Errorf("rules (-want +got):\n%s", diff)
				}
				if err := r.RemoveRule(t.Context(), moved); err != nil || len(r.rules(t)) != 0 {
					t.Errorf("removing: %v, %v is left", err, r.rules(t))
				}
			})
		})
	}
}
