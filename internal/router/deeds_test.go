package router_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
	"doublenat/internal/router"
	"doublenat/routeros/routerostest"
)

// set changes a row as the administrator would.
func (r *rig) set(t *testing.T, id string, row routerostest.Row) {
	t.Helper()
	if err := r.box.Set(natPath, id, row); err != nil {
		t.Fatal(err)
	}
}

// A row that this process made stays its own without its comment, and is mended in
// place or removed. One that was changed in all that matters is the administrator's.
func TestRowsWithoutTheirComment(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change routerostest.Row
		want   func(*nat.Rule) // nil for a row that is not ours any more
	}{
		"comment":           {routerostest.Row{"comment": "x"}, func(r *nat.Rule) { r.Edited = true }},
		"another of ours":   {routerostest.Row{"comment": "doublenat:default tcp 192.168.88.10:6881 inner=1 ext=2 life=3"}, func(r *nat.Rule) { r.Edited = true }},
		"interface":         {routerostest.Row{"in-interface": "ether1"}, func(r *nat.Rule) { r.Edited, r.Displaced = true, true }},
		"and the interface": {routerostest.Row{"comment": "", "in-interface": "ether1"}, func(r *nat.Rule) { r.Edited, r.Displaced = true, true }},
		"and switched off":  {routerostest.Row{"comment": "", "disabled": "true"}, func(r *nat.Rule) { r.Edited, r.Altered = true, true }},
		"and the target":    {routerostest.Row{"comment": "", "to-addresses": "192.168.88.5"}, func(r *nat.Rule) { r.Edited, r.Altered = true, true }},
		"and the port":      {routerostest.Row{"comment": "", "dst-port": "80"}, func(r *nat.Rule) { r.Edited, r.Altered, r.Match = true, true, nat.MatchPorts{} }},
		"and both":          {routerostest.Row{"comment": "", "dst-port": "80", "to-addresses": "192.168.88.5"}, nil},
		"and the protocol":  {routerostest.Row{"comment": "", "protocol": "udp"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routerostest.Config{}).settled(t)
				made := r.add(t, wanted("192.168.88.10", 6881))
				r.rules(t)
				r.set(t, made.ID, tt.change)
				var want []nat.Rule
				if tt.want != nil {
					want = append(want, made)
					tt.want(&want[0])
				}
				if diff := cmp.Diff(want, r.rules(t), cmp.Comparer(sameRule)); diff != "" {
					t.Fatalf("rules (-want +got):\n%s", diff)
				}
				if tt.want != nil && !want[0].Altered {
					if err := r.UpdateRule(t.Context(), want[0], made); err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff([]nat.Rule{made}, r.rules(t), cmp.Comparer(sameRule)); diff != "" {
						t.Errorf("after an update (-want +got):\n%s", diff)
					}
					r.set(t, made.ID, tt.change)
				}
				if err := r.RemoveRule(t.Context(), made); err != nil {
					t.Fatal(err)
				}
				if _, found := r.box.Find(natPath, ".id", made.ID); found != (tt.want == nil) {
					t.Errorf("found after the removal: %v", found)
				}
			})
		})
	}
}

// A rule with our comment is from a former run when it is there at first, and nobody's
// doing here when it comes later; also one of ours that comes back after its removal.
func TestAliens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box, err := routerostest.New(routerostest.Config{})
		if err != nil {
			t.Fatal(err)
		}
		row := func(port string) routerostest.Row {
			return routerostest.Row{
				"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "in-interface": "wg1", "dst-port": "20" + port, "to-addresses": "192.168.88.10",
				"to-ports": "1" + port, "comment": "doublenat:default tcp 192.168.88.10:1" + port + " inner=20" + port + " ext=40" + port + " life=3600",
			}
		}
		put(t, box, natPath, row("001"))
		r := rigOn(t, box).settled(t)
		put(t, box, natPath, row("002"))
		made := r.add(t, wanted("192.168.88.11", 6881))
		aliens := func() (found []string) {
			for _, rule := range r.rules(t) {
				if rule.Alien {
					found = append(found, rule.Key.String())
				}
			}
			return found
		}
		if diff := cmp.Diff([]string{"tcp 192.168.88.10:1002"}, aliens()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		again, _ := box.Find(natPath, ".id", made.ID)
		if err := r.RemoveRule(t.Context(), made); err != nil {
			t.Fatal(err)
		}
		delete(again, ".id")
		put(t, box, natPath, again)
		if diff := cmp.Diff([]string{"tcp 192.168.88.10:1002", "tcp 192.168.88.11:6881"}, aliens()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		box.Disconnect()
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"tcp 192.168.88.10:1002", "tcp 192.168.88.11:6881"}, aliens()); diff != "" {
			t.Errorf("after a reconnect (-want +got):\n%s", diff)
		}
	})
}

// A rule that the router calls invalid is no news for ten seconds. Then the log says so,
// once, with what the router says about it, and the status has it until it is well.
func TestInvalidRules(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		doubts := 0
		r := newRig(t, routerostest.Config{}, func(cfg *router.Config) { cfg.OnDoubt = func() { doubts++ } }).settled(t)
		made := r.add(t, wanted("192.168.88.10", 6881))
		r.set(t, made.ID, routerostest.Row{"invalid": "true", ".about": "no\nroute"})
		row, _ := r.box.Find(natPath, ".id", made.ID)
		if row["invalid"] != "true" {
			t.Skip("the router for tests does not keep that")
		}
		said := func() []string { return r.log.lines("calls a rule of ours invalid") }
		since := time.Now()
		for range 3 {
			r.rules(t)
			time.Sleep(3 * time.Second)
			if r.rules(t); len(said()) != 0 || r.Status().Invalid != nil {
				t.Errorf("alarmed after %v: %v", time.Since(since), said())
			}
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if doubts != 1 {
			t.Errorf("%d doubts, want 1", doubts)
		}
		for range 3 {
			r.rules(t)
		}
		want := []router.InvalidRule{{ID: made.ID, Comment: row["comment"], About: "no\nroute", Since: since}}
		if diff := cmp.Diff(want, r.Status().Invalid); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got := said(); len(got) != 1 || !strings.Contains(got[0], `about="no\nroute"`) || !strings.Contains(got[0], "level=WARN") {
			t.Errorf("said %q", got)
		}
		r.set(t, made.ID, routerostest.Row{"invalid": "false"})
		if r.rules(t); r.Status().Invalid != nil || len(r.log.lines("no longer invalid")) != 1 {
			t.Errorf("still ill:\n%s", r.log)
		}
	})
}

// Rules of others that ask for an interface list which was deleted are named, once.
func TestDeletedList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{})
		if _, err := r.box.Add("/interface/list", routerostest.Row{"name": "guests"}); err != nil {
			t.Fatal(err)
		}
		id, err := r.box.Add(natPath, routerostest.Row{
			"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "dst-port": "80", "in-interface-list": "!guests", "to-addresses": "192.168.88.5", "comment": "web",
		})
		if err != nil {
			t.Fatal(err)
		}
		r.settled(t)
		said := func() []string { return r.log.lines("name an interface list that was deleted") }
		if r.rules(t); len(said()) != 0 {
			t.Errorf("said %q of a list that is there", said())
		}
		list, _ := r.box.Find("/interface/list", "name", "guests")
		if err := r.box.Remove("/interface/list", list[".id"]); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			r.rules(t)
			time.Sleep(time.Minute)
		}
		if got := said(); len(got) != 1 || !strings.Contains(got[0], id+" (web)") || !strings.Contains(got[0], "remedy=") {
			t.Errorf("said %q", got)
		}
	})
}

// An update of what is already as wanted costs the router's flash nothing.
func TestUpdateOfWhatIsRight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		made := r.add(t, wanted("192.168.88.10", 6881))
		want := made
		want.ExternalPort, want.Match = 40999, nat.MatchPorts{20881, 40999}
		for i, writes := range []uint64{1, 0, 0} {
			mark := r.box.Mark()
			if err := r.UpdateRule(t.Context(), made, want); err != nil {
				t.Fatal(err)
			}
			if got := r.box.StatsSince(mark).Writes; got != writes {
				t.Errorf("update %d: %d writes, want %d", i, got, writes)
			}
		}
	})
}
