package router_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/nat"
	"doublenat/routeros/routerostest"
)

// openTo returns a rule that is open to a remote, "" for everybody.
func openTo(t *testing.T, text string) nat.Rule {
	t.Helper()
	rule := wanted("192.168.88.10", 6881)
	if text != "" {
		remote, err := nat.ParseRemote(text)
		if err != nil {
			t.Fatal(err)
		}
		rule.Remote = remote
	}
	return rule
}

// sources are hosts of the Internet, each with a remote in which it alone may be.
func sources() map[string]netip.AddrPort {
	return map[string]netip.AddrPort{
		"the host":              netip.MustParseAddrPort("203.0.113.7:5000"),
		"from another port":     netip.MustParseAddrPort("203.0.113.7:5001"),
		"a neighbor":            netip.MustParseAddrPort("203.0.113.8:5000"),
		"a neighbor's neighbor": netip.MustParseAddrPort("203.0.114.0:5000"),
	}
}

// wantOpen fails the test if the router lets in others than the remote.
func (r *rig) wantOpen(t *testing.T, when string, remote nat.Remote) {
	t.Helper()
	for name, from := range sources() {
		if _, _, in := r.box.MatchFrom(from, "tcp", "wg1", 20881); in != remote.Admits(from) {
			t.Errorf("%s: %s is let in: %v, open to %q", when, name, in, remote)
		}
	}
}

// A rule lets in the remote and nobody else, on each version, when it was made and when it was
// changed from any remote to any other: with one command, to a row that reads as wanted.
func TestFilteredRules(t *testing.T) {
	t.Parallel()
	remotes := []string{"", "203.0.113.7", "203.0.113.0/24", "203.0.113.7:5000", "203.0.113.0/24:5000", "0.0.0.0/0:5000"}
	for _, version := range versions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routerostest.Config{Version: version}).settled(t)
				for _, before := range remotes {
					for _, after := range remotes {
						want := openTo(t, before)
						made := r.add(t, want)
						r.wantOpen(t, "made", want.Remote)
						changed := openTo(t, after)
						changed.ID = made.ID
						if err := r.UpdateRule(t.Context(), made, changed); err != nil {
							t.Fatalf("%q to %q: %v", before, after, err)
						}
						r.wantOpen(t, before+" to "+after, changed.Remote)
						got := r.rules(t)
						if len(got) == 1 {
							got[0].Packets = 0
						}
						if !slices.Equal(got, []nat.Rule{changed}) {
							t.Errorf("%q to %q: got %+v, want %+v", before, after, got, changed)
						}
						mark := r.box.Mark()
						if err := r.UpdateRule(t.Context(), changed, changed); err != nil || r.box.StatsSince(mark).Writes != 0 {
							t.Errorf("%q to %q, once more: %v, %d writes", before, after, err, r.box.StatsSince(mark).Writes)
						}
						if err := r.RemoveRule(t.Context(), changed); err != nil {
							t.Fatal(err)
						}
					}
				}
			})
		})
	}
}

// Whatever becomes of the command, at no moment is anybody let in who is neither in the former
// remote nor in the new one; and a router that was asked again has the new one.
func TestFilterSurvivesFaults(t *testing.T) {
	t.Parallel()
	for _, kind := range routerostest.FaultKinds() {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routerostest.Config{}).settled(t)
				before, after := openTo(t, "203.0.113.7"), openTo(t, "203.0.113.8:5000")
				made := r.add(t, before)
				after.ID = made.ID
				r.box.Inject(routerostest.Fault{Kind: kind, Command: natPath + "/set", Delay: 4 * time.Second})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- r.UpdateRule(ctx, made, after) }()
				for {
					stranger := netip.MustParseAddrPort("203.0.114.0:5000")
					if _, _, in := r.box.MatchFrom(stranger, "tcp", "wg1", 20881); in {
						t.Error("a stranger is let in")
					}
					select {
					case err := <-done:
						if err != nil {
							t.Errorf("changing: %v", err)
						}
						time.Sleep(time.Minute) // what is late comes now
						r.wantOpen(t, "changed", after.Remote)
						return
					case <-time.After(50 * time.Millisecond):
					}
				}
			})
		})
	}
}

// A row whose source somebody changed is not what its comment says, and is not left so by an
// update that finds its comment in order.
func TestFilterByHand(t *testing.T) {
	t.Parallel()
	for _, remote := range []string{"", "203.0.113.7", "203.0.113.0/24:5000"} {
		for name, edit := range map[string]routerostest.Row{
			"all":           {"src-address": "", "src-port": ""},
			"another":       {"src-address": "198.51.100.1"},
			"more":          {"src-address": "203.0.113.0/23"},
			"all but":       {"src-address": "!203.0.113.7"},
			"a range":       {"src-address": "203.0.113.7-203.0.113.9"},
			"another port":  {"src-port": "5002"},
			"two ports":     {"src-port": "5000,5002"},
			"no such thing": {"src-address": "host.example"},
		} {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routerostest.Config{}).settled(t)
				made := r.add(t, openTo(t, remote))
				if err := r.box.Set(natPath, made.ID, edit); err != nil {
					t.Fatal(err)
				}
				same := name == "all" && remote == ""
				if got := r.rules(t); len(got) != 1 || got[0].Altered == same || got[0].Remote != made.Remote {
					t.Errorf("%q, %s: %+v", remote, name, got)
				}
				if err := r.UpdateRule(t.Context(), made, made); err != nil {
					t.Errorf("%q, %s: %v", remote, name, err)
				}
				r.wantOpen(t, name, made.Remote)
			})
		}
	}
}
