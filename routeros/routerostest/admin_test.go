package routerostest_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"doublenat/routeros/routerostest"
)

// find returns a row that must be there.
func find(t *testing.T, router *routerostest.Router, path, name, value string) routerostest.Row {
	t.Helper()
	row, ok := router.Find(path, name, value)
	if !ok {
		t.Fatalf("%s has no row with %s=%s", path, name, value)
	}
	return row
}

func TestInterfaceRenamed(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	if err := router.Set("/interface", "wg1", routerostest.Row{"name": "proton"}); err != nil {
		t.Fatal(err)
	}
	if got := find(t, router, natPath, "comment", "web")["in-interface"]; got != "proton" {
		t.Errorf("rule on %q", got)
	}
	if got := find(t, router, "/interface/wireguard", "listen-port", "13231")["name"]; got != "proton" {
		t.Errorf("wireguard %q", got)
	}
	want := "!re =status=ok =interface=proton =nexthop=10.2.0.1\n!done"
	if got := login(t, router).run("/ip/route/check", "=dst-ip=10.2.0.1", "=once="); got != want {
		t.Errorf("route: %s", got)
	}
	if _, _, ok := router.Match("tcp", "proton", 2222); !ok {
		t.Error("the rule does not match any more")
	}
}

func TestInterfaceRemoved(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"6.49", "7.22"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			router := newRouter(t, routerostest.Config{Version: version})
			changes := 0
			router.OnChange(func() { changes++ })
			id := find(t, router, "/interface", "name", "wg1")[".id"]
			if err := router.Remove("/interface", "wg1"); err != nil {
				t.Fatal(err)
			}
			rule := find(t, router, natPath, "comment", "web")
			if rule["in-interface"] != id || rule["invalid"] != "true" {
				t.Errorf("rule %v", rule)
			}
			if changes != 1 {
				t.Errorf("the hook ran %d times, want 1", changes)
			}
			if _, _, ok := router.Match("tcp", "wg1", 443); ok {
				t.Error("an invalid rule matches")
			}
			if row, ok := router.Find("/interface/list/member", "interface", "wg1"); ok {
				t.Errorf("still in a list: %v", row)
			}
			want := map[string]string{"6.49": "!re =gateway-status=" + id + " unreachable\n!done", "7.22": "!re =immediate-gw= =inactive=true\n!done"}[version]
			got := login(t, router).run("/ip/route/print", "?dst-address=10.2.0.1/32", "=.proplist=immediate-gw,gateway-status,active,inactive")
			if got != want {
				t.Errorf("route: %s, want %s", got, want)
			}
		})
	}
}

func TestRoutesFollowInterfacesAndAddresses(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	c := login(t, router)
	check := func(dst string) string { return c.run("/ip/route/check", "=dst-ip="+dst, "=once=") }
	const failed = "!re =status=failed\n!done"
	const viaWAN = "!re =status=ok =interface=ether1 =nexthop=198.51.100.1\n!done"
	expect := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expect("connected", check("192.168.88.10"), "!re =status=ok =interface=bridge =nexthop=192.168.88.10\n!done")
	do(router.Set("/interface", "wg1", routerostest.Row{"running": "false"}))
	expect("tunnel down", check("10.2.0.1"), viaWAN)
	do(router.Disable("/ip/route", "*1"))
	expect("no route at all", check("10.2.0.1"), failed)
	do(router.Set("/interface", "wg1", routerostest.Row{"running": "true"}))
	do(router.Enable("/ip/route", "*1"))
	expect("tunnel up", check("10.2.0.1"), "!re =status=ok =interface=wg1 =nexthop=10.2.0.1\n!done")

	// A gateway that is an address behind the tunnel, and two of them.
	_, err := router.Add("/ip/route", routerostest.Row{"dst-address": "203.0.113.0/24", "gateway": "10.2.0.1,198.51.100.1"})
	do(err)
	want := "10.2.0.1%wg1,198.51.100.1%ether1"
	if got := find(t, router, "/ip/route", "dst-address", "203.0.113.0/24")["immediate-gw"]; got != want {
		t.Errorf("immediate-gw %q, want %q", got, want)
	}
	_, err = router.Add("/ip/route", routerostest.Row{"dst-address": "203.0.113.0/24", "gateway": "198.51.100.1%ether1", "distance": "5"})
	do(err)
	expect("lower distance", check("203.0.113.9"), "!re =status=ok =interface=wg1 =nexthop=10.2.0.1\n!done")
	_, err = router.Add("/ip/route", routerostest.Row{"dst-address": "203.0.113.9/32", "gateway": "nowhere"})
	do(err)
	expect("inactive route", check("203.0.113.9"), "!re =status=ok =interface=wg1 =nexthop=10.2.0.1\n!done")
	do(router.Remove("/ip/address", "*2"))
	expect("address gone", check("192.0.2.1"), failed)
}

func TestAdministratorsErrors(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{Version: "7.12"})
	_, added := router.Add("/ip/nat-pmp", routerostest.Row{})
	_, placed := router.Add(natPath, routerostest.Row{"place-before": "*FFFF"})
	for name, err := range map[string]error{
		"no such table": added, "no such place": placed,
		"set": router.Set(natPath, "*FFFF", routerostest.Row{}), "unset": router.Unset(natPath, "*FFFF", "comment"),
		"remove": router.Remove(natPath, ""), "enable": router.Enable(natPath, "ssh"), "move": router.Move(natPath, "*FFFF", ""),
		"user": router.AddUser("x", "y", "read"),
	} {
		if (err == nil) != (name == "user") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if rows := router.Rows("/ip/nat-pmp"); rows != nil {
		t.Errorf("rows of no table: %v", rows)
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	ours := func(row routerostest.Row) bool { return row["comment"] == "ours" }
	before := router.Fingerprint(natPath, ours)
	same := func(what string, want bool) {
		t.Helper()
		if got := bytes.Equal(before, router.Fingerprint(natPath, ours)); got != want {
			t.Errorf("%s: equal %v, want %v", what, got, want)
		}
	}
	id, err := router.Add(natPath, routerostest.Row{"chain": "dstnat", "comment": "ours", "place-before": "*3"})
	if err != nil {
		t.Fatal(err)
	}
	same("a rule of ours", true)
	router.Match("tcp", "wg1", 2222)
	same("counters", true)
	for _, step := range []struct {
		what   string
		change func() error
		back   func() error
	}{
		{"disabled", func() error { return router.Disable(natPath, "*4") }, func() error { return router.Enable(natPath, "*4") }},
		{
			"comment", func() error { return router.Set(natPath, "*4", routerostest.Row{"comment": "x"}) },
			func() error { return router.Set(natPath, "*4", routerostest.Row{"comment": "ssh to nas"}) },
		},
		{
			"port gone", func() error { return router.Unset(natPath, "*4", "to-ports") },
			func() error { return router.Set(natPath, "*4", routerostest.Row{"to-ports": "22"}) },
		},
		{"order", func() error { return router.Move(natPath, "*4", "*2") }, func() error { return router.Move(natPath, "*4", "*5") }},
		{"last", func() error { return router.Move(natPath, "*4", "") }, func() error { return router.Move(natPath, "*4", "*5") }},
	} {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		same(step.what, false)
		if err := step.back(); err != nil {
			t.Fatal(err)
		}
		same(step.what+" and back", true)
	}
	if err := router.Remove(natPath, id); err != nil {
		t.Fatal(err)
	}
	same("removed", true)
	if router.Fingerprint("/nowhere", nil) != nil {
		t.Error("fingerprint of no table")
	}
}

func TestRowsAreCopies(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	before := router.Fingerprint(natPath, nil)
	for _, row := range router.Rows(natPath) {
		clear(row)
	}
	if diff := cmp.Diff(string(before), string(router.Fingerprint(natPath, nil))); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

func TestConnectionsCanBeRemoved(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	c := login(t, router)
	if got := c.run("/ip/firewall/connection/print", "=.proplist=.id,protocol"); got != "!re =.id=*1 =protocol=tcp\n!done" {
		t.Error(got)
	}
	if got := c.run("/ip/firewall/connection/remove", "=.id=*1"); got != "!done" {
		t.Error(got)
	}
	if rows := router.Rows("/ip/firewall/connection"); len(rows) != 0 {
		t.Errorf("left: %v", rows)
	}
}

func TestJournalIsBounded(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{Journal: 3})
	c := login(t, router)
	mark := router.Mark()
	if got := router.Since(mark); got != nil {
		t.Errorf("since now: %v", got)
	}
	c.run(natPath+"/add", "=chain=dstnat")
	c.run(natPath+"/print", "?comment")
	c.run(natPath+"/set", "=.id=*FFFF")
	c.run("/nothing")
	now := time.Now()
	got := router.Since(mark)
	for i := range got {
		if age := now.Sub(got[i].Time); age < 0 || age > time.Minute {
			t.Errorf("entry %d is %v old", i, age)
		}
		got[i].Time = time.Time{}
	}
	user, peer := routerostest.LeastUser, netip.MustParseAddr("192.168.88.2")
	want := []routerostest.Entry{
		{Number: 3, Session: 1, Peer: peer, User: user, Command: natPath + "/print", Args: []string{"?comment"}, Rows: 11},
		{Number: 4, Session: 1, Peer: peer, User: user, Command: natPath + "/set", Args: []string{"=.id=*FFFF"}, Trap: "no such item"},
		{Number: 5, Session: 1, Peer: peer, User: user, Command: "/nothing", Args: []string{}, Trap: "no such command or directory (nothing)"},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(routerostest.Stats{Commands: 4, Reads: 1, Writes: 1, Rows: 11, Traps: 2}, router.StatsSince(mark)); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

// TestDynamicRulesStayOnTop tries to get a rule before one that the router made.
func TestDynamicRulesStayOnTop(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	c := login(t, router)
	c.run(natPath+"/add", "=chain=dstnat", "=place-before=*1")
	c.run(natPath+"/move", "=.id=*4", "=destination=*1")
	if got := c.run(natPath + "/find"); got != "!done =ret=*1;*4;*D;*2;*3;*5;*6;*7;*8;*9;*A;*B;*C" {
		t.Error(got)
	}
}

// TestInvalidRuleGetsAnInterface mends a rule whose interface is gone.
func TestInvalidRuleGetsAnInterface(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	if err := router.Remove("/interface", "wg1"); err != nil {
		t.Fatal(err)
	}
	c := login(t, router)
	c.run(natPath+"/set", "=.id=*4", "=comment=still invalid")
	if got := find(t, router, natPath, ".id", "*4")["invalid"]; got != "true" {
		t.Errorf("invalid=%s, want true", got)
	}
	c.run(natPath+"/set", "=.id=*4", "=in-interface=ether1")
	if got := find(t, router, natPath, ".id", "*4")["invalid"]; got != "false" {
		t.Errorf("invalid=%s, want false", got)
	}
}

// TestUpNPRuleAtTheTop is how the router itself adds a dynamic rule.
func TestUpNPRuleAtTheTop(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	if _, err := router.Add(natPath, routerostest.Row{"chain": "dstnat", "dynamic": "yes", "place-before": "*1", "protocol": "17"}); err != nil {
		t.Fatal(err)
	}
	row := router.Rows(natPath)[0]
	if row[".id"] != "*D" || row["dynamic"] != "true" || row["protocol"] != "udp" {
		t.Errorf("first rule %v", row)
	}
}
