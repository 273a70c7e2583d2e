package router_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/lock"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/routeros"
	"doublenat/routeros/routerostest"
	"doublenat/routeros/routerostest/facts"
)

const (
	listPath = "/ip/firewall/address-list"
	lockList = "doublenat-lock-default"
	lease    = 15 * time.Second
)

// contender is a doublenat that wants the lock, at an address of its own.
type contender struct {
	*rig
	*router.Lock
	t    *testing.T
	host string
}

// contend starts a doublenat on a router that others have too.
func contend(t *testing.T, box *routerostest.Router, name string, changes ...func(*router.Config)) *contender {
	t.Helper()
	c := &contender{t: t, host: fmt.Sprintf("192.168.88.%d", 10+len(name))}
	dial := func(cfg *router.Config) { cfg.API.Dial = box.DialFrom(netip.MustParseAddr(c.host)) }
	c.rig = rigOn(t, box, append([]func(*router.Config){dial}, changes...)...)
	c.Lock = c.NewLock(router.LockConfig{Name: name})
	return c
}

// newBox builds a router for tests.
func newBox(t *testing.T, cfg routerostest.Config) *routerostest.Router {
	t.Helper()
	box, err := routerostest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// takes acquires the lock, or fails the test.
func (c *contender) takes() {
	c.t.Helper()
	if holder, err := c.Acquire(c.t.Context(), lease); err != nil || !holder.Mine {
		c.t.Fatalf("holder %+v, error %v", holder, err)
	}
}

// sees fails the test unless the lock is somebody else's.
func (c *contender) sees(name string) {
	c.t.Helper()
	if holder, err := c.Acquire(c.t.Context(), lease); err != nil || holder != (lock.Holder{Name: name}) {
		c.t.Fatalf("holder %+v, error %v, want %q", holder, err, name)
	}
}

// entries are the rows of the lock's list.
func entries(box *routerostest.Router) (rows []routerostest.Row) {
	for _, row := range box.Rows(listPath) {
		if row["list"] == lockList {
			rows = append(rows, row)
		}
	}
	return rows
}

// timed are the commands on address lists since the mark, each as its last word, of one host or of all.
func timed(box *routerostest.Router, mark routerostest.Mark, host string) (words []string) {
	for _, e := range box.Since(mark) {
		if path.Dir(e.Command) == listPath && (host == "" || e.Peer.String() == host) {
			words = append(words, path.Base(e.Command))
		}
	}
	return words
}

// TestLock hands a lock from one to another, on a router of every release, with a name that
// nobody should have, and holds every command against what the release takes.
func TestLock(t *testing.T) {
	t.Parallel()
	for i, release := range append(facts.Releases(), "6.49") {
		if testing.Short() && i%8 != 0 {
			continue
		}
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				box := newBox(t, routerostest.Config{Version: release, Journal: 10_000})
				const strange = "left \"one\" % = ]; 漢\x00\xff\n$x"
				a, b := contend(t, box, strange), contend(t, box, "b")
				a.takes()
				b.sees(strings.ToValidUTF8(strange, "\uFFFD"))
				for range 20 {
					time.Sleep(lease / 3)
					if err := a.Renew(t.Context(), lease); err != nil {
						t.Fatal(err)
					}
				}
				a.takes() // what we have is renewed
				if err := b.Renew(t.Context(), lease); !errors.Is(err, lock.ErrLost) {
					t.Errorf("renewed what is another one's: %v", err)
				}
				if err := errors.Join(b.Release(t.Context()), a.Release(t.Context()), a.Release(t.Context())); err != nil {
					t.Error(err)
				}
				b.takes()
				a.sees("b")
				time.Sleep(lease)
				a.takes() // it ran out
				if err := b.Renew(t.Context(), lease); !errors.Is(err, lock.ErrLost) {
					t.Errorf("renewed what had run out: %v", err)
				}
				b.sees(strings.ToValidUTF8(strange, "\uFFFD"))
				for _, e := range box.Journal() {
					if path.Dir(e.Command) != listPath {
						continue
					}
					if e.Wrote {
						t.Errorf("%s %q is written to the flash", e.Command, e.Args)
					}
					known, err := facts.Of(release)
					if err == nil {
						err = known.CheckSentence(e.Command, e.Args)
					}
					if err != nil && release != "6.49" {
						t.Errorf("%v: %s %q", err, e.Command, e.Args)
					}
				}
			})
		})
	}
}

// TestUnfitRouters meets every router on which a lock would be none. Nobody has the lock there, and the error says
// what the router does; nothing stays behind.
func TestUnfitRouters(t *testing.T) {
	t.Parallel()
	for want, lists := range map[string]routerostest.Lists{
		"takes the same address into one list twice":                {Twice: true},
		"says that it renews an entry which is gone":                {SetsGone: true},
		"does not let the timeout of an entry be changed":           {Timeouts: routerostest.TimeoutsFixed},
		"does not change the timeout of an entry as it was told to": {Timeouts: routerostest.TimeoutsIgnored},
		"keeps an entry with a timeout for ever":                    {Timeouts: routerostest.TimeoutsStored},
		"drops an entry after 500ms that was to last 2s":            {Early: 1500 * time.Millisecond},
		"keeps an entry that was to last 2s for longer than 5s":     {Lasting: true},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				box := newBox(t, routerostest.Config{Lists: lists})
				c := contend(t, box, "a")
				for range 3 {
					_, err := c.Acquire(t.Context(), lease)
					unfit, ok := errors.AsType[*router.UnfitError](err)
					if !ok || !strings.Contains(unfit.What, want) {
						t.Fatalf("error %v", err)
					}
					if advice, ok := remedy.For(err); !ok || !strings.Contains(advice.String(), "LOCK=none") || advice.Passes() {
						t.Errorf("advice %v", advice)
					}
				}
				mark := box.Mark()
				time.Sleep(59 * time.Second)
				if _, err := c.Acquire(t.Context(), lease); err == nil || len(timed(box, mark, "")) > 0 {
					t.Errorf("tried again too soon: %v", timed(box, mark, ""))
				}
				c.print(t)
				if left := entries(box); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		})
	}
}

// print lets the router look at its own lists, which drops what has run out.
func (c *contender) print(t *testing.T) {
	t.Helper()
	terminal := c.box.Console(routerostest.AdminUser)
	for _, refused := range routerostest.Refused(terminal.Paste("/ip firewall address-list print")) {
		t.Error(refused)
	}
}

// TestTrialGoesOn has less time for each call than the trial takes, a connection that ends
// meanwhile, and a router that is too busy once.
func TestTrialGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := newBox(t, routerostest.Config{Latency: 20 * time.Millisecond})
		c := contend(t, box, "a")
		box.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Command: listPath + "/set", Skip: 1})
		calls, began := 0, time.Now()
		for ; ; calls++ {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			holder, err := c.Acquire(ctx, lease)
			cancel()
			if holder.Mine {
				break
			}
			if err == nil || calls > 20 {
				t.Fatalf("call %d: %+v, %v", calls, holder, err)
			}
			if calls == 2 {
				box.Disconnect()
			}
		}
		if took := time.Since(began); calls < 3 || took > 10*time.Second {
			t.Errorf("took %v and %d calls", took, calls)
		}
		box.Disconnect() // does not make it try again
		time.Sleep(lease)
		mark := box.Mark()
		c.takes()
		if got := strings.Join(timed(box, mark, ""), ","); got != "print,print,add,print" && got != "print,add,print" {
			t.Errorf("sent %s", got)
		}
	})
}

// TestLostReplies loses the reply to each command, in each way in which one can be lost. Whoever
// asks again knows its own entry; there are never two.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	for _, kind := range []routerostest.FaultKind{
		routerostest.FaultCloseReply, routerostest.FaultSilenceReply, routerostest.FaultResetReply, routerostest.FaultHalfSentence, routerostest.FaultVanish,
		routerostest.FaultClose, routerostest.FaultSilence, routerostest.FaultTrap, routerostest.FaultMissingProperties, routerostest.FaultQueryIgnored,
	} {
		for _, verb := range []string{"add", "set", "remove", "print"} {
			t.Run(kind.String()+" "+verb, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					box := newBox(t, routerostest.Config{})
					a, b := contend(t, box, "a"), contend(t, box, "bb")
					a.takes()
					if err := a.Release(t.Context()); err != nil {
						t.Fatal(err)
					}
					b.takes() // both have tried the router
					if err := b.Release(t.Context()); err != nil {
						t.Fatal(err)
					}
					box.Inject(routerostest.Fault{Kind: kind, Command: listPath + "/" + verb})
					insist := func(do func(context.Context) error) {
						t.Helper()
						for try := 0; ; try++ {
							ctx, cancel := context.WithTimeout(t.Context(), lease/3)
							err := do(ctx)
							cancel()
							if err == nil {
								return
							}
							if try == 3 {
								t.Fatal(err)
							}
						}
					}
					insist(func(ctx context.Context) error {
						holder, err := a.Acquire(ctx, lease)
						if err == nil && !holder.Mine {
							t.Fatalf("the lock is %+v", holder)
						}
						return err
					})
					insist(func(ctx context.Context) error { return a.Renew(ctx, lease) })
					if got := entries(box); len(got) != 1 {
						t.Errorf("entries %v", got)
					}
					insist(a.Release)
					b.takes()
				})
			})
		}
	}
}

// TestReusedID has an entry of the administrator's that gets the id of one of ours that ran out while
// the connection was silent. It keeps its time.
func TestReusedID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := newBox(t, routerostest.Config{Lists: routerostest.Lists{ReuseIDs: true}})
		c := contend(t, box, "a")
		c.takes()
		id := entries(box)[0][".id"]
		time.Sleep(lease)
		c.print(t)
		again, err := box.Add(listPath, routerostest.Row{"list": "attackers", "address": "203.0.113.9", "timeout": "1d"})
		if err != nil || again != id {
			t.Fatalf("the id is %s, not %s again; error %v", again, id, err)
		}
		if err := c.Renew(t.Context(), lease); !errors.Is(err, lock.ErrLost) {
			t.Errorf("error %v", err)
		}
		if err := c.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if row, found := box.Find(listPath, "list", "attackers"); !found || !strings.HasPrefix(row["timeout"], "23h59m") && row["timeout"] != "1d" {
			t.Errorf("the entry of the administrator's is %v", row)
		}
	})
}

// TestLateSet has a renewal that the router carries out only when the entry is another one's. It is
// not believed.
func TestLateSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := newBox(t, routerostest.Config{Lists: routerostest.Lists{ReuseIDs: true}})
		a, b := contend(t, box, "a"), contend(t, box, "bb")
		b.takes()
		if err := b.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.takes()
		time.Sleep(lease - 2*time.Second)
		box.Inject(routerostest.Fault{Kind: routerostest.FaultDelay, Command: listPath + "/set", Delay: 4 * time.Second})
		late := make(chan error, 1)
		go func() { late <- a.Renew(t.Context(), lease) }()
		time.Sleep(3 * time.Second)
		b.takes()
		if err := <-late; err == nil {
			t.Error("a late renewal is believed")
		}
		if err := a.Renew(t.Context(), lease); !errors.Is(err, lock.ErrLost) {
			t.Errorf("error %v", err)
		}
	})
}

// TestLockReboots restarts the router under the lock, with each thing that may become of an entry.
func TestLockReboots(t *testing.T) {
	t.Parallel()
	reboot := func(c *contender) {
		c.box.Reboot(routerostest.Reboot{Down: 3 * time.Second, Cut: true})
		time.Sleep(4 * time.Second)
	}
	start := func(t *testing.T, survives routerostest.Survival) (a, b *contender) {
		t.Helper()
		box := newBox(t, routerostest.Config{Lists: routerostest.Lists{Reboot: survives}})
		a, b = contend(t, box, "a"), contend(t, box, "bb")
		a.takes()
		b.sees("a")
		reboot(a)
		return a, b
	}
	t.Run("gone", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			a, b := start(t, routerostest.SurvivesNot)
			if _, err := b.Acquire(t.Context(), lease); err == nil || !strings.Contains(err.Error(), "restarted") {
				t.Errorf("error %v", err) // a may believe in it
			}
			if err := a.Renew(t.Context(), lease); !errors.Is(err, lock.ErrLost) {
				t.Errorf("error %v", err)
			}
			a.takes() // nobody else can have had it
			reboot(a)
			time.Sleep(lease)
			b.takes()
			if err := a.Renew(t.Context(), lease); !errors.Is(err, lock.ErrLost) {
				t.Errorf("error %v", err)
			}
		})
	})
	t.Run("stays for its time", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			a, b := start(t, routerostest.SurvivesTimed)
			b.sees("a")
			if err := a.Renew(t.Context(), lease); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("stays for ever", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			a, b := start(t, routerostest.SurvivesStatic)
			if _, err := b.Acquire(t.Context(), lease); err == nil {
				t.Error("took what is another one's")
			}
			if err := a.Renew(t.Context(), lease); !errors.Is(err, lock.ErrLost) {
				t.Errorf("error %v", err)
			}
			time.Sleep(lease)
			b.takes() // the holder has removed it
		})
	})
}

// TestStaticEntry has an entry that somebody left by hand. The remedy is pasted into the terminal.
func TestStaticEntry(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"6.49", "7.9", "7.24"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := contend(t, newBox(t, routerostest.Config{Version: version}), "a")
				put(t, c.box, listPath, routerostest.Row{"list": lockList, "address": "192.0.2.1", "comment": "mine\n; [x]"})
				_, err := c.Acquire(t.Context(), lease)
				stuck, ok := errors.AsType[*router.StuckError](err)
				if !ok || stuck.List != lockList || !strings.Contains(err.Error(), "mine%0A") {
					t.Fatalf("error %v", err)
				}
				advice, _ := remedy.For(err)
				terminal := c.box.Console(routerostest.AdminUser)
				for _, command := range advice.Commands {
					if refused := routerostest.Refused(terminal.Paste(command.String())); len(refused) > 0 {
						t.Errorf("%s: %v", command, refused)
					}
				}
				c.takes()
			})
		})
	}
}

// TestLockWithoutRights is told which policy is missing, and still sees who has the lock.
func TestLockWithoutRights(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := newBox(t, routerostest.Config{})
		if err := box.AddUser("reader", "p", "read,api,test"); err != nil {
			t.Fatal(err)
		}
		c := contend(t, box, "a", func(cfg *router.Config) { cfg.API.User, cfg.API.Password = "reader", routeros.NewSecret("p") })
		_, err := c.Acquire(t.Context(), lease)
		if missing, ok := errors.AsType[*router.PermissionError](err); !ok || missing.Policy != "write" {
			t.Errorf("error %v", err)
		}
		if _, ok := errors.AsType[*router.UnfitError](err); ok {
			t.Errorf("the router is called unfit: %v", err)
		}
	})
}
