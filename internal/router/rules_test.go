package router_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
	"doublenat/internal/router"
	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

// versions are those between which the API differs.
func versions() []string { return []string{"6.49", "7.1", "7.12", "7.17", "7.18", "7.22"} }

// TestRuleLife makes, changes and removes rules on every version and counts
// what that costs.
func TestRuleLife(t *testing.T) {
	t.Parallel()
	for _, version := range versions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routerostest.Config{Version: version}).settled(t)
				before := r.foreign()

				mark := r.box.Mark()
				want := wanted("192.168.88.10", 6881)
				made := r.add(t, want)
				if diff := cmp.Diff([]string{"add"}, r.commands(mark)); diff != "" {
					t.Errorf("commands of an add (-want +got):\n%s", diff)
				}
				want.ID = made.ID
				if diff := cmp.Diff(want, made, cmp.Comparer(sameRule)); diff != "" || made.ID == "" {
					t.Errorf("rule made (-want +got):\n%s", diff)
				}
				row, _ := r.box.Find(natPath, ".id", made.ID)
				for name, value := range map[string]string{
					"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "in-interface": "wg1", "dst-port": "20881",
					"to-addresses": "192.168.88.10", "to-ports": "6881",
					"comment": "doublenat:default tcp 192.168.88.10:6881 inner=20881 ext=40881 life=3600",
				} {
					if row[name] != value {
						t.Errorf("%s: got %q, want %q", name, row[name], value)
					}
				}
				to, id, ok := r.box.Match("tcp", "wg1", 20881)
				if !ok || to.String() != "192.168.88.10:6881" || id != made.ID {
					t.Errorf("a packet goes to %v by rule %s, %v", to, id, ok)
				}

				want = made
				want.Packets = 1
				mark = r.box.Mark()
				if diff := cmp.Diff([]nat.Rule{want}, r.rules(t), cmp.Comparer(sameRule)); diff != "" {
					t.Errorf("rules (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]string{"print"}, r.commands(mark)); diff != "" {
					t.Errorf("commands of a look (-want +got):\n%s", diff)
				}

				want.ExternalPort, want.Match, want.Packets = 40999, nat.MatchPorts{20881, 40999}, 0
				mark = r.box.Mark()
				if err := r.UpdateRule(t.Context(), made, want); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]string{"print", "set"}, r.commands(mark)); diff != "" {
					t.Errorf("commands of an update (-want +got):\n%s", diff)
				}
				want.Packets = 1
				if diff := cmp.Diff([]nat.Rule{want}, r.rules(t), cmp.Comparer(sameRule)); diff != "" {
					t.Errorf("rules after the update (-want +got):\n%s", diff)
				}

				mark = r.box.Mark()
				if err := r.RemoveRule(t.Context(), want); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]string{"print", "remove"}, r.commands(mark)); diff != "" {
					t.Errorf("commands of a removal (-want +got):\n%s", diff)
				}
				mark = r.box.Mark()
				if err := r.RemoveRule(t.Context(), want); err != nil {
					t.Errorf("removing it again: %v", err)
				}
				if got := r.box.StatsSince(mark).Writes; got != 0 {
					t.Errorf("removing what is not there: %d writes, want none", got)
				}
				if diff := cmp.Diff(before, r.foreign()); diff != "" {
					t.Errorf("rules of others (-before +after):\n%s", diff)
				}
			})
		})
	}
}

// sameRule compares rules; it is there because addresses have unexported fields.
func sameRule(a, b nat.Rule) bool { return a == b }

// TestAddSurvivesFaults makes a rule while the router fails in every way that it
// knows. There must be exactly one rule, or none and an error.
func TestAddSurvivesFaults(t *testing.T) {
	t.Parallel()
	for _, kind := range routerostest.FaultKinds() {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routerostest.Config{}).settled(t)
				before := r.foreign()
				r.box.Inject(routerostest.Fault{Kind: kind, Command: natPath + "/add", Delay: 4 * time.Second})
				want := wanted("192.168.88.10", 6881)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				made, err := r.AddRule(ctx, want)
				if err != nil {
					t.Errorf("adding: %v", err)
				}
				if r.box.FaultCounts()[kind] == 0 {
					t.Error("the fault did not strike")
				}
				time.Sleep(time.Minute) // what is late comes now
				rules := r.rules(t)
				want.ID = made.ID
				if diff := cmp.Diff([]nat.Rule{want}, rules, cmp.Comparer(sameRule)); diff != "" {
					t.Errorf("rules (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(before, r.foreign()); diff != "" {
					t.Errorf("rules of others (-before +after):\n%s", diff)
				}
			})
		})
	}
}

// TestRemoveSurvivesFaults is TestAddSurvivesFaults for removals.
func TestRemoveSurvivesFaults(t *testing.T) {
	t.Parallel()
	for _, kind := range routerostest.FaultKinds() {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routerostest.Config{}).settled(t)
				before := r.foreign()
				made, other := r.add(t, wanted("192.168.88.10", 6881)), r.add(t, wanted("192.168.88.11", 6882))
				r.box.Inject(routerostest.Fault{Kind: kind, Command: natPath + "/remove", Delay: 4 * time.Second})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := r.RemoveRule(ctx, made); err != nil {
					t.Errorf("removing: %v", err)
				}
				if r.box.FaultCounts()[kind] == 0 {
					t.Error("the fault did not strike")
				}
				time.Sleep(time.Minute)
				if diff := cmp.Diff([]nat.Rule{other}, r.rules(t), cmp.Comparer(sameRule)); diff != "" {
					t.Errorf("rules (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(before, r.foreign()); diff != "" {
					t.Errorf("rules of others (-before +after):\n%s", diff)
				}
			})
		})
	}
}

// TestUpdateSurvivesFaults is TestAddSurvivesFaults for updates.
func TestUpdateSurvivesFaults(t *testing.T) {
	t.Parallel()
	for _, kind := range routerostest.FaultKinds() {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routerostest.Config{}).settled(t)
				made := r.add(t, wanted("192.168.88.10", 6881))
				want := made
				want.ExternalPort = 50000
				r.box.Inject(routerostest.Fault{Kind: kind, Command: natPath + "/set", Delay: 4 * time.Second})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := r.UpdateRule(ctx, made, want); err != nil {
					t.Errorf("updating: %v", err)
				}
				time.Sleep(time.Minute)
				if diff := cmp.Diff([]nat.Rule{want}, r.rules(t), cmp.Comparer(sameRule)); diff != "" {
					t.Errorf("rules (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestRulesSurviveFaults reads the table while the router fails.
func TestRulesSurviveFaults(t *testing.T) {
	t.Parallel()
	for _, kind := range routerostest.FaultKinds() {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routerostest.Config{}).settled(t)
				made := r.add(t, wanted("192.168.88.10", 6881))
				r.box.Inject(routerostest.Fault{Kind: kind, Command: natPath + "/print", Delay: time.Second})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				s, err := r.Rules(ctx)
				if err != nil {
					if e := natError(t, err); e.Reason != nat.ReasonUnreachable || e.Ambiguous {
						t.Errorf("got %+v, want a router out of reach, and no doubt about a read", e)
					}
					s, err = r.Rules(ctx)
				}
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]nat.Rule{made}, s.Rules, cmp.Comparer(sameRule)); diff != "" {
					t.Errorf("rules (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestUnknownOutcome has a router that goes down for good in the middle of each change.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	changes := map[string]func(ctx context.Context, r *rig, made nat.Rule) error{
		"add": func(ctx context.Context, r *rig, _ nat.Rule) error {
			_, err := r.AddRule(ctx, wanted("192.168.88.11", 7000))
			return err
		},
		"set": func(ctx context.Context, r *rig, made nat.Rule) error {
			want := made
			want.ExternalPort = 50000
			return r.UpdateRule(ctx, made, want)
		},
		"remove": func(ctx context.Context, r *rig, made nat.Rule) error { return r.RemoveRule(ctx, made) },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routerostest.Config{}).settled(t)
				made := r.add(t, wanted("192.168.88.10", 6881))
				r.box.Inject(routerostest.Fault{
					Kind: routerostest.FaultCloseReply, Command: natPath + "/" + name,
					Do: func(*routerostest.Router) {
						r.box.Inject(routerostest.Fault{Kind: routerostest.FaultVanish, Times: -1})
					},
				})
				ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
				defer cancel()
				start := time.Now()
				err := change(ctx, r, made)
				if e := natError(t, err); !e.Ambiguous || e.Reason != nat.ReasonUnreachable {
					t.Errorf("got %v, want an unknown outcome", err)
				}
				if took := time.Since(start); took > 8*time.Second {
					t.Errorf("took %v, want 8s at most", took)
				}
				start = time.Now()
				ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				if e := natError(t, change(ctx, r, made)); e.Ambiguous || !errors.Is(e, context.DeadlineExceeded) || time.Since(start) != 2*time.Second {
					t.Errorf("without a connection: got %v after %v, want no doubt and the context's error", e, time.Since(start))
				}
			})
		})
	}
}

// TestIdsChange lets the router give all rows new ids while it restarts.
func TestIdsChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		before := r.foreign()
		first, second := r.add(t, wanted("192.168.88.10", 6881)), r.add(t, wanted("192.168.88.11", 6882))
		// The first rule's id now belongs to a rule of somebody else.
		if err := r.box.Set(natPath, first.ID, routerostest.Row{
			"comment": "the administrator's now", "dst-port": "8080", "to-addresses": "192.168.88.5",
		}); err != nil {
			t.Fatal(err)
		}
		moved, err := r.box.Add(natPath, routerostest.Row{
			"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "in-interface": "wg1", "dst-port": "20881", "to-addresses": "192.168.88.10",
			"to-ports": "6881", "comment": "doublenat:default tcp 192.168.88.10:6881 inner=20881 ext=40881 life=3600",
		})
		if err != nil {
			t.Fatal(err)
		}
		want := first
		want.ExternalPort = 50000
		if err := r.UpdateRule(t.Context(), first, want); err != nil {
			t.Fatal(err)
		}
		want.ID = moved
		if diff := cmp.Diff([]nat.Rule{second, want}, r.rules(t), cmp.Comparer(sameRule)); diff != "" {
			t.Errorf("rules (-want +got):\n%s", diff)
		}
		want.ID = first.ID
		if err := r.RemoveRule(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]nat.Rule{second}, r.rules(t), cmp.Comparer(sameRule)); diff != "" {
			t.Errorf("rules (-want +got):\n%s", diff)
		}
		if row, ok := r.box.Find(natPath, ".id", first.ID); !ok || row["comment"] != "the administrator's now" {
			t.Error("the administrator's rule was touched")
		}
		if err := r.box.Remove(natPath, first.ID); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, r.foreign()); diff != "" {
			t.Errorf("rules of others (-before +after):\n%s", diff)
		}
	})
}

// TestDuplicates has several rows with one comment.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		rule := wanted("192.168.88.10", 6881)
		first, second, third := r.add(t, rule), r.add(t, rule), r.add(t, rule)
		if err := r.RemoveRule(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]nat.Rule{first, third}, r.rules(t), cmp.Comparer(sameRule)); diff != "" {
			t.Errorf("rules (-want +got):\n%s", diff)
		}
		mark := r.box.Mark()
		if err := r.RemoveRule(t.Context(), rule); err != nil { // an add of which the id is not known
			t.Fatal(err)
		}
		if got := r.box.StatsSince(mark).Writes; got != 1 || len(r.rules(t)) != 0 {
			t.Errorf("got %d writes and rules %v, want 1 and none", got, r.rules(t))
		}
	})
}

// TestSomebodyWasFaster removes the row between our look and our command.
func TestSomebodyWasFaster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		rule := wanted("192.168.88.10", 6881)
		first, second := r.add(t, rule), r.add(t, rule)
		drop := func(id string) func(*routerostest.Router) {
			return func(box *routerostest.Router) {
				if err := box.Remove(natPath, id); err != nil {
					t.Error(err)
				}
			}
		}
		r.box.Inject(routerostest.Fault{Command: natPath + "/remove", Do: drop(first.ID)})
		if err := r.RemoveRule(t.Context(), rule); err != nil {
			t.Errorf("removing both: %v", err)
		}
		third := r.add(t, rule)
		r.box.Inject(routerostest.Fault{Command: natPath + "/remove", Do: drop(third.ID)})
		if err := r.RemoveRule(t.Context(), third); err != nil {
			t.Errorf("removing one: %v", err)
		}
		fourth := r.add(t, rule)
		r.box.Inject(routerostest.Fault{Command: natPath + "/set", Do: drop(fourth.ID)})
		rule.ExternalPort++
		if err := r.UpdateRule(t.Context(), fourth, rule); natError(t, err).Ambiguous {
			t.Errorf("updating what is gone: got %v, want no doubt", err)
		}
		if got := r.rules(t); len(got) != 0 {
			t.Errorf("got rules %v of %v, want none", got, second)
		}
	})
}

// TestLostLook loses the reply to the look before a removal, and then the router:
// nothing was changed, and that is known.
func TestLostLook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		made := r.add(t, wanted("192.168.88.10", 6881))
		r.box.Inject(routerostest.Fault{Kind: routerostest.FaultVanish, Times: -1})
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		if e := natError(t, r.RemoveRule(ctx, made)); e.Ambiguous || !errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("got %v, want no doubt and the context's error", e)
		}
	})
}

// TestStoredOtherwise has somebody edit the rule before we look whether it was made.
func TestStoredOtherwise(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		r.box.Inject(routerostest.Fault{Kind: routerostest.FaultCloseReply, Command: natPath + "/add"})
		want := wanted("192.168.88.10", 6881)
		r.box.Inject(routerostest.Fault{Command: natPath + "/print", Do: func(box *routerostest.Router) {
			row, _ := box.Find(natPath, "dst-port", "20881")
			if err := box.Set(natPath, row[".id"], routerostest.Row{"to-ports": "22"}); err != nil {
				t.Error(err)
			}
		}})
		if made, err := r.AddRule(t.Context(), want); !natError(t, err).Ambiguous {
			t.Errorf("got %+v, %v, want an error that has the core look after it", made, err)
		}
	})
}

// TestLateAdd has a router that is busy with others' commands and carries out an
// add only after we have given it up, looked in vain and made the rule again. The
// second rule cannot be avoided; it must be seen, and can be removed.
func TestLateAdd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		r.box.Inject(routerostest.Fault{Kind: routerostest.FaultDelay, Command: natPath + "/add", Delay: 4 * time.Second})
		done := make(chan nat.Rule, 1)
		go func() {
			made, err := r.AddRule(t.Context(), wanted("192.168.88.10", 6881))
			if err != nil {
				t.Error(err)
			}
			done <- made
		}()
		for range 6 {
			time.Sleep(time.Second)
			r.rules(t) // the connection is not silent
		}
		made := <-done
		rules := r.rules(t)
		if len(rules) != 2 || rules[0] != made {
			t.Fatalf("got rules %v, want %v and its double", rules, made)
		}
		if err := r.RemoveRule(t.Context(), rules[1]); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]nat.Rule{made}, r.rules(t), cmp.Comparer(sameRule)); diff != "" {
			t.Errorf("rules (-want +got):\n%s", diff)
		}
	})
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		policy string
		want   string
	}{
		"no write": {"read,api,test", `add the policy "write"`},
		"no read":  {"write,api,test", `add the policy "read"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				box, err := routerostest.New(routerostest.Config{})
				if err != nil {
					t.Fatal(err)
				}
				if err := box.AddUser("poor", "secret", tt.policy); err != nil {
					t.Fatal(err)
				}
				r := rigOn(t, box, func(cfg *router.Config) { cfg.API.User, cfg.API.Password = "poor", routeros.NewSecret("secret") })
				for range 3 {
					_, err := r.AddRule(t.Context(), wanted("192.168.88.10", 6881))
					e := natError(t, err)
					if e.Reason != nat.ReasonDenied || e.Ambiguous {
						t.Errorf("got %v, want denied and no doubt", err)
					}
					if _, ok := errors.AsType[*router.PermissionError](err); !ok {
						t.Errorf("got %v, want a PermissionError", err)
					}
				}
				time.Sleep(10 * time.Minute)
				if got := r.log.lines("router denies permission"); len(got) != 1 {
					t.Errorf("the log names the missing policy %d times, want once:\n%s", len(got), r.log)
				}
				if got := r.Status().Denied; len(got) != 1 {
					t.Errorf("status: got %q", got)
				}
				if err := box.Set("/user/group", "poor", routerostest.Row{"policy": "read,write,api,test"}); err != nil {
					t.Fatal(err)
				}
				box.Disconnect() // rights are those of the login
				time.Sleep(time.Minute)
				r.add(t, wanted("192.168.88.10", 6881))
				if got := r.Status().Denied; got != nil {
					t.Errorf("status after the remedy: got %q", got)
				}
			})
		})
	}
}

// TestOtherTraps has the router refuse with something that nobody foresees.
func TestOtherTraps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		made := r.add(t, wanted("192.168.88.10", 6881))
		other := made
		other.ExternalPort++
		for _, command := range []string{"add", "set", "remove", "print"} {
			r.box.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Command: natPath + "/" + command, Message: "failure: no", Times: -1})
		}
		_, errAdd := r.AddRule(t.Context(), made)
		_, errRules := r.Rules(t.Context())
		for name, err := range map[string]error{
			"add": errAdd, "rules": errRules,
			"update": r.UpdateRule(t.Context(), made, other), "remove": r.RemoveRule(t.Context(), made),
		} {
			if e := natError(t, err); e.Reason != nat.ReasonUnreachable || e.Ambiguous {
				t.Errorf("%s: got %v, want unreachable and no doubt", name, err)
			}
		}
	})
}

func TestBadRules(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		good := wanted("192.168.88.10", 6881)
		mark := r.box.Mark()
		for name, change := range map[string]func(*nat.Rule){
			"no protocol":    func(b *nat.Rule) { b.Key.Protocol = 0 },
			"IPv6":           func(b *nat.Rule) { b.Key.Client = netip.MustParseAddr("fd00::1") },
			"no inner port":  func(b *nat.Rule) { b.InnerPort = 0 },
			"no outer port":  func(b *nat.Rule) { b.ExternalPort = 0 },
			"no lifetime":    func(b *nat.Rule) { b.Lifetime = 0 },
			"half a second":  func(b *nat.Rule) { b.Lifetime += time.Second / 2 },
			"long lifetime":  func(b *nat.Rule) { b.Lifetime = (1 << 32) * time.Second },
			"matches no one": func(b *nat.Rule) { b.Match = nat.MatchPorts{} },
		} {
			bad := good
			change(&bad)
			if _, err := r.AddRule(t.Context(), bad); natError(t, err).Ambiguous {
				t.Errorf("%s: adding: %v", name, err)
			}
			if err := r.UpdateRule(t.Context(), good, bad); natError(t, err).Ambiguous {
				t.Errorf("%s: updating: %v", name, err)
			}
			if bad.Match[0] != 0 && r.RemoveRule(t.Context(), bad) == nil {
				t.Errorf("%s: removing worked", name)
			}
		}
		if got := r.commands(mark); got != nil {
			t.Errorf("the router got %q", got)
		}
	})
}
