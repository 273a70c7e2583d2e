package routerostest_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

// TestListVariants has every router that nobody has ruled out, in what a client sees of it.
func TestListVariants(t *testing.T) {
	t.Parallel()
	const (
		menu  = "/ip/firewall/address-list"
		add   = menu + "/add =list=lock =address=192.0.2.1 =timeout=10s"
		set   = menu + "/set =.id=*2 =timeout=20s"
		look  = menu + "/print ?list=lock =.proplist=.id,timeout,dynamic"
		count = menu + "/print ?list=lock =count-only="
		gone  = "!trap =category=0 =message=no such item\n!done"
	)
	for name, tt := range map[string]struct {
		lists         routerostest.Lists
		before, after exchange // in the first second, and after ten and a half
	}{
		"manual": {
			routerostest.Lists{},
			exchange{{add, "!done =ret=*2"}, {add, "!trap =message=failure: already have such entry\n!done"}, {look, "!re =.id=*2 =timeout=10s =dynamic=true\n!done"}},
			exchange{{count, "!done =ret=0"}, {set, gone}, {add, "!done =ret=*3"}},
		},
		"twice":      {routerostest.Lists{Twice: true}, exchange{{add, "!done =ret=*2"}, {add, "!done =ret=*3"}}, exchange{{count, "!done =ret=0"}}},
		"sets gone":  {routerostest.Lists{SetsGone: true}, exchange{{add, "!done =ret=*2"}}, exchange{{set, "!done"}, {count, "!done =ret=0"}}},
		"fixed":      {routerostest.Lists{Timeouts: routerostest.TimeoutsFixed}, exchange{{add, "!done =ret=*2"}, {set, "!trap =message=failure: cannot change dynamic\n!done"}}, nil},
		"ignored":    {routerostest.Lists{Timeouts: routerostest.TimeoutsIgnored}, exchange{{add, "!done =ret=*2"}, {set, "!done"}}, exchange{{count, "!done =ret=0"}}},
		"stored":     {routerostest.Lists{Timeouts: routerostest.TimeoutsStored}, exchange{{add, "!done =ret=*2"}}, exchange{{look, "!re =.id=*2 =dynamic=false\n!done"}}},
		"reused ids": {routerostest.Lists{ReuseIDs: true}, exchange{{add, "!done =ret=*2"}}, exchange{{count, "!done =ret=0"}, {add, "!done =ret=*2"}}},
		"early":      {routerostest.Lists{Early: 3 * time.Second}, exchange{{add, "!done =ret=*2"}, {set, "!done"}, {menu + "/set =.id=*2 =timeout=13s", "!done"}}, exchange{{count, "!done =ret=0"}}},
		"lasting":    {routerostest.Lists{Lasting: true}, exchange{{add, "!done =ret=*2"}}, exchange{{look, "!re =.id=*2 =timeout=0s =dynamic=true\n!done"}}},
		"no listen": {
			routerostest.Lists{NoListen: true},
			exchange{{menu + "/listen", "!trap =category=0 =message=no such command or directory (listen)\n!trap =category=0 =message=no such command prefix\n!done"}},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := login(t, newRouter(t, routerostest.Config{Lists: tt.lists}))
				tt.before.check(t, c)
				time.Sleep(10*time.Second + 500*time.Millisecond)
				tt.after.check(t, c)
			})
		})
	}
}

// TestListReboots has what a restart leaves of an entry with a timeout.
func TestListReboots(t *testing.T) {
	t.Parallel()
	for want, survives := range map[string]routerostest.Survival{
		"":              routerostest.SurvivesNot,
		"true 48s":      routerostest.SurvivesTimed,
		"false forever": routerostest.SurvivesStatic,
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				router := newRouter(t, routerostest.Config{Lists: routerostest.Lists{Reboot: survives}})
				login(t, router).run("/ip/firewall/address-list/add", "=list=lock", "=address=192.0.2.1", "=timeout=1m")
				router.Reboot(routerostest.Reboot{Down: 12 * time.Second, Cut: true})
				time.Sleep(12 * time.Second)
				login(t, router).run("/ip/firewall/address-list/print", "?list=lock")
				got := ""
				if row, found := router.Find("/ip/firewall/address-list", "list", "lock"); found {
					if got = row["dynamic"] + " " + row["timeout"]; row["timeout"] == "" {
						got += "forever"
					}
				}
				if got != want {
					t.Errorf("got %q", got)
				}
			})
		})
	}
}

// TestJournalOfPeers tells who did what, and what was written to the flash.
func TestJournalOfPeers(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	for _, host := range []string{"192.168.88.7", "192.168.88.8"} {
		conn, err := router.DialFrom(netip.MustParseAddr(host))(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c := &client{t: t, conn: conn, reader: routeros.NewReader(conn, routeros.Limits{})}
		c.run("/login", "=name="+routerostest.LeastUser, "=password="+routerostest.LeastPassword)
		mark := router.Mark()
		c.run("/ip/firewall/address-list/add", "=list=l", "=address="+host, "=timeout=1m")
		c.run("/ip/firewall/address-list/set", "=.id=*2", "=timeout=2m")
		c.run("/ip/firewall/address-list/add", "=list=static", "=address="+host)
		c.run("/ip/firewall/address-list/print")
		var got []bool
		for _, e := range router.Since(mark) {
			if e.Peer.String() != host {
				t.Errorf("command %d comes from %v", e.Number, e.Peer)
			}
			got = append(got, e.Changed, e.Wrote)
		}
		want := []bool{true, false, true, false, true, true, false, false}
		if len(got) != len(want) {
			t.Fatalf("got %v", got)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("changed and wrote: %v, want %v", got, want)
				break
			}
		}
	}
}
