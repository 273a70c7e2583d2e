package routerostest_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros/routerostest"
)

// exchange is commands, each with its reply, one after the other.
type exchange [][2]string

// check runs the commands and compares the replies; a reply that begins with "…" is
// compared from there on to its end.
func (e exchange) check(t *testing.T, c *client) {
	t.Helper()
	for _, step := range e {
		got := c.run(strings.Fields(step[0])...)
		if end, cut := strings.CutPrefix(step[1], "…"); cut && strings.HasSuffix(got, end) {
			continue
		}
		if diff := cmp.Diff(step[1], got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step[0], diff)
		}
	}
}

// TestPoliciesOfTheLogin changes a group during a session, both ways.
func TestPoliciesOfTheLogin(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	if err := router.AddUser("u", "p", "read,api"); err != nil {
		t.Fatal(err)
	}
	const add, refused = natPath + "/add =chain=dstnat", "!trap =message=not enough permissions (9)\n!done"
	poor := loginAs(t, router, "u", "p")
	exchange{{add, refused}}.check(t, poor)
	if err := router.Set("/user/group", "u", routerostest.Row{"policy": "read,write,api"}); err != nil {
		t.Fatal(err)
	}
	exchange{{add, refused}}.check(t, poor)
	rich := loginAs(t, router, "u", "p")
	exchange{{add, "!done =ret=*D"}}.check(t, rich)
	if err := router.Set("/user/group", "u", routerostest.Row{"policy": "read,api"}); err != nil {
		t.Fatal(err)
	}
	exchange{{add, "!done =ret=*E"}}.check(t, rich)
	exchange{{add, refused}}.check(t, loginAs(t, router, "u", "p"))
}

// TestPoliciesAreAdded has what set does to a group.
func TestPoliciesAreAdded(t *testing.T) {
	t.Parallel()
	const others = "!local,!telnet,!ssh,!ftp,!reboot,!policy,!winbox,!password,!web,!sniff,!sensitive,!romon,!rest-api"
	const get = "/user/group/get =.id=x =value-name=policy"
	exchange{
		{"/user/group/add =name=x =policy=read,api", "!done =ret=*5"},
		{get, "!done =ret=read,api,!local,!telnet,!ssh,!ftp,!reboot,!write,!policy,!test,!winbox,!password,!web,!sniff,!sensitive,!romon,!rest-api"},
		{"/user/group/set =.id=x =policy=test,write", "!done"},
		{get, "!done =ret=read,write,test,api," + others},
		{"/user/group/set =.id=x =policy=!read", "!done"},
		{get, "!done =ret=write,test,api,!local,!telnet,!ssh,!ftp,!reboot,!read,!policy,!winbox,!password,!web,!sniff,!sensitive,!romon,!rest-api"},
		{"/user/group/set =.id=x =policy=fly", "!trap =category=1 =message=input does not match any value of policy\n!done"},
	}.check(t, loginAs(t, newRouter(t, routerostest.Config{}), routerostest.AdminUser, routerostest.AdminPassword))
}

// TestFastTrackRows has the row on top of the tables, which only counts.
func TestFastTrackRows(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	id, err := router.Add("/ip/firewall/filter", routerostest.Row{"chain": "forward", "action": "fasttrack-connection"})
	if err != nil {
		t.Fatal(err)
	}
	const find = "=.proplist=.id,chain,action"
	exchange{
		{"/ip/firewall/filter/print ?dynamic=true " + find, "!re =.id=*9 =chain=forward =action=passthrough\n!done"},
		{"/ip/firewall/raw/print ?dynamic=true " + find, "!re =.id=*1 =chain=prerouting =action=passthrough\n!done"},
		{"/ip/firewall/mangle/print ?dynamic=true =count-only=", "!done =ret=3"},
		{"/ip/firewall/filter/add =chain=input =action=drop =place-before=*9", "!trap =message=failure: cannot move builtin\n!done"},
		{"/ip/firewall/filter/move =numbers=*1 =destination=*9", "!trap =message=failure: cannot move builtin\n!done"},
		{"/ip/firewall/filter/set =.id=*9 =comment=x", "!trap =message=failure: cannot change builtin\n!done"},
		{"/ip/firewall/filter/disable =.id=*9", "!trap =message=failure: cannot change builtin\n!done"},
		{"/ip/firewall/filter/remove =.id=*9", "!trap =message=failure: cannot remove builtin\n!done"},
		{"/ip/firewall/filter/add =chain=input =action=drop =place-before=*1", "!done =ret=*A"},
	}.check(t, login(t, router))
	rows := router.Rows("/ip/firewall/filter")
	if rows[0]["action"] != "passthrough" || rows[1][".id"] != "*A" {
		t.Errorf("the table begins with %v, %v", rows[0], rows[1])
	}
	if err := router.Disable("/ip/firewall/filter", id); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/ip/firewall/filter", "/ip/firewall/raw", "/ip/firewall/mangle"} {
		if _, found := router.Find(path, "comment", "special dummy rule to show fasttrack counters"); found {
			t.Errorf("%s still has the row", path)
		}
	}
}

// TestServiceConnections has the rows of connections, which have the name of the service.
func TestServiceConnections(t *testing.T) {
	t.Parallel()
	const elsewhere = "!trap =message=this is configured elsewhere\n!done"
	router := newRouter(t, routerostest.Config{Version: "7.24"})
	c := login(t, router)
	second := login(t, router)
	exchange{
		{"/ip/service/print ?name=api ?dynamic=true =count-only=", "!done =ret=2"},
		{"/ip/service/set =numbers=api =port=8728", elsewhere},
		{"/ip/service/enable =numbers=api", elsewhere},
		{"/ip/service/set =.id=*9 =port=8728", elsewhere},
		{"/ip/service/set =.id=*6 =port=8728 =available-from=", "!done"},
		{"/ip/service/set =numbers=ssh =port=22", "!done"},
	}.check(t, c)
	_ = second.conn.Close()
	synctestWait(router, 1)
	exchange{{"/ip/service/print ?name=api ?dynamic=true =.proplist=proto,remote", "!re =proto=tcp =remote=192.168.88.2:49152\n!done"}}.check(t, c)

	old := login(t, newRouter(t, routerostest.Config{Version: "7.18"}))
	exchange{
		{"/ip/service/set =numbers=api =port=8728", "!done"},
		{"/ip/service/set =numbers=api =available-from=", "!trap =message=unknown parameter available-from\n!done"},
	}.check(t, old)
}

// synctestWait waits until the router has so many sessions.
func synctestWait(router *routerostest.Router, sessions int) {
	for router.Sessions() != sessions {
		time.Sleep(time.Millisecond)
	}
}

// TestUnsettledRows reads invalid for a while and works all the same.
func TestUnsettledRows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		router := newRouter(t, routerostest.Config{})
		c := login(t, router)
		router.Inject(routerostest.Fault{Kind: routerostest.FaultUnsettled, Command: natPath + "/add", Delay: 5 * time.Second})
		const look = natPath + "/print ?.id=*D =.proplist=invalid,.about"
		exchange{
			{natPath + "/add =chain=dstnat =action=dst-nat =protocol=tcp =dst-port=4000 =in-interface=wg1 =to-addresses=192.168.88.10", "!done =ret=*D"},
			{look, "!re =invalid=true\n!done"},
			{natPath + "/print ?.id=*D ?invalid=false =count-only=", "!done =ret=0"},
		}.check(t, c)
		if _, id, _ := router.Match("tcp", "wg1", 4000); id != "*D" {
			t.Errorf("the packet meets rule %q", id)
		}
		time.Sleep(5 * time.Second)
		exchange{{look, "!re =invalid=false\n!done"}}.check(t, c)

		if err := router.Unsettle(natPath, "*D", time.Second); err != nil {
			t.Fatal(err)
		}
		exchange{{look, "!re =invalid=true\n!done"}}.check(t, c)
		if err := router.Remove("/interface", "wg1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		exchange{{look, "!re =invalid=true =.about=no such interface\n!done"}}.check(t, c)
	})
}

// TestQueryIgnored has a query word that the router accepts and does not understand.
func TestQueryIgnored(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	c := login(t, router)
	router.Inject(routerostest.Fault{Kind: routerostest.FaultQueryIgnored, Command: natPath + "/print"})
	const count = natPath + "/print ?comment=nobody =count-only="
	exchange{{count, "!done =ret=12"}, {count, "!done =ret=0"}}.check(t, c)
}

// TestDeletedLists has what rules show of an interface or list that is gone.
func TestDeletedLists(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	c := loginAs(t, router, routerostest.AdminUser, routerostest.AdminPassword)
	list := find(t, router, "/interface/list", "name", "LAN")[".id"]
	exchange{
		{"/interface/list/remove =.id=" + list, "!done"},
		{natPath + "/print ?dst-port=5351 =.proplist=in-interface-list,invalid", "!re =in-interface-list=*2000006 =invalid=false\n!done"},
		{"/ip/firewall/filter/print ?in-interface-list=!*2000006 =count-only=", "!done =ret=1"},
		{"/interface/list/member/print ?list=LAN =count-only=", "!done =ret=0"},
		{"/interface/wireguard/remove =.id=wg1", "!done"},
		{natPath + "/print ?dst-port=2222 =.proplist=in-interface,invalid,.about", "!re =in-interface=*5 =invalid=true =.about=no such interface\n!done"},
		{natPath + "/set =.id=*4 =in-interface=ether1", "!done"},
		{natPath + "/print ?dst-port=2222 =.proplist=in-interface,invalid,.about", "!re =in-interface=ether1 =invalid=false\n!done"},
	}.check(t, c)
}

// TestTimedAddresses has entries of an address list that go by themselves.
func TestTimedAddresses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		router := newRouter(t, routerostest.Config{})
		c := login(t, router)
		exchange{
			{"/ip/firewall/address-list/add =list=lock =address=192.0.2.1 =timeout=10s", "!done =ret=*2"},
			{"/ip/firewall/address-list/add =list=lock =address=192.0.2.1 =timeout=10s", "!trap =message=failure: already have such entry\n!done"},
		}.check(t, c)
		time.Sleep(4 * time.Second)
		exchange{
			{"/ip/firewall/address-list/print ?list=lock =.proplist=timeout,dynamic", "!re =timeout=6s =dynamic=true\n!done"},
			{"/ip/firewall/address-list/set =.id=*2 =timeout=10s", "!done"},
		}.check(t, c)
		time.Sleep(9 * time.Second)
		exchange{{"/ip/firewall/address-list/print ?list=lock =count-only=", "!done =ret=1"}}.check(t, c)
		time.Sleep(time.Second)
		exchange{
			{"/ip/firewall/address-list/print ?list=lock =count-only=", "!done =ret=0"},
			{"/ip/firewall/address-list/set =.id=*2 =timeout=10s", "!trap =category=0 =message=no such item\n!done"},
		}.check(t, c)
	})
}

// TestPackages installs a package in both ways.
func TestPackages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		version, command string
		installed        bool
	}{
		{"7.17", "/system/reboot", true},
		{"7.18", "/system/reboot", false},
		{"7.18", "/system/package/apply-changes", true},
	} {
		t.Run(tt.version+tt.command, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				router := newRouter(t, routerostest.Config{Version: tt.version})
				if err := router.Upload("zerotier-" + tt.version + "-arm64.npk"); err != nil {
					t.Fatal(err)
				}
				exchange{{tt.command, "!done"}}.check(t, login(t, router))
				time.Sleep(time.Minute)
				if _, got := router.Find("/system/package", "name", "zerotier"); got != tt.installed {
					t.Errorf("installed: %v", got)
				}
				exchange{{"/file/print =count-only=", "!done =ret=0"}}.check(t, login(t, router))
			})
		})
	}
	old := login(t, newRouter(t, routerostest.Config{Version: "7.17"}))
	exchange{{"/system/package/apply-changes", "!trap =category=0 =message=no such command or directory (apply-changes)\n!trap =category=0 =message=no such command prefix\n!done"}}.check(t, old)
}

// TestNewMenus reads what version 6 and 7 have in their own places.
func TestNewMenus(t *testing.T) {
	t.Parallel()
	c := login(t, newRouter(t, routerostest.Config{}))
	exchange{
		{"/ip/settings/print =.proplist=rp-filter", "!re =rp-filter=no\n!done"},
		{"/ip/settings/set =rp-filter=strict", "!done"},
		{"/ip/settings/set =rp-filter=maybe", "!trap =category=1 =message=input does not match any value of rp-filter\n!done"},
		{"/ip/cloud/print =.proplist=public-address", "!re =public-address=198.51.100.2\n!done"},
		{"/ip/firewall/raw/add =chain=prerouting =action=notrack =in-interface=veth1", "!done =ret=*1"},
		{"/ip/firewall/raw/add =chain=forward =action=drop", "!trap =category=1 =message=input does not match any value of chain\n!done"},
		{"/ip/firewall/raw/add =chain=prerouting =connection-mark=x", "!trap =message=unknown parameter connection-mark\n!done"},
		{"/ip/vrf/add =name=blue =interfaces=ether3", "!done =ret=*2"},
		{"/routing/rule/add =interface=bridge =action=lookup-only-in-table =table=vpn =min-prefix=0", "!done =ret=*3"},
		{"/routing/rule/add =table=nowhere", "!trap =category=1 =message=input does not match any value of table\n!done"},
		{"/routing/rule/add =dst-address=172.30.254.2 =table=main =place-before=*1", "!done =ret=*4"},
		{"/routing/rule/find", "!done =ret=*4;*1;*2;*3"},
		{"/system/device-mode/update =container=yes", "!done"},
	}.check(t, c)
	old := login(t, newRouter(t, routerostest.Config{Version: "6.49"}))
	exchange{
		{"/ip/route/rule/add =interface=bridge =action=lookup =table=vpn", "!done =ret=*3"},
		{"/ip/route/rule/add =min-prefix=0", "!trap =message=unknown parameter\n!done"},
		{"/ip/route/vrf/add =routing-mark=blue =interfaces=ether3", "!done =ret=*1"},
		{"/system/ntp/client/set =servers=192.0.2.1", "!trap =message=unknown parameter\n!done"},
		{"/system/ntp/client/set =primary-ntp=192.0.2.1", "!done"},
		{"/routing/rule/print", "!trap =category=0 =message=no such command\n!done"},
	}.check(t, old)
}
