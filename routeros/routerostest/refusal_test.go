package routerostest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros/routerostest"
)

// TestRefusals has every error text, and that a refused command changes nothing
// and leaves the connection usable.
func TestRefusals(t *testing.T) {
	t.Parallel()
	add := func(words ...string) []string { return append([]string{natPath + "/add", "=chain=dstnat"}, words...) }
	const rule = "=.id=*4"   // ssh to nas
	const plugin = "=.id=*1" // dynamic
	tests := []struct {
		name  string
		words []string
		want  string
	}{
		{"no chain", []string{natPath + "/add", "=action=accept"}, "=message=missing value(s) of argument(s) chain"},
		{"empty chain", []string{natPath + "/add", "=chain="}, "=category=1 =message=input does not match any value of chain"},
		{"action", add("=action=fly"), "=category=1 =message=input does not match any value of action"},
		{"interface", add("=in-interface=wg9"), "=category=1 =message=input does not match any value of in-interface"},
		{"interface list", add("=in-interface-list=DMZ"), "=category=1 =message=input does not match any value of in-interface-list"},
		{"protocol", add("=protocol=tpc"), "=category=1 =message=input does not match any value of protocol"},
		{"flag", add("=disabled=maybe"), "=category=1 =message=input does not match any value of disabled"},
		{"port too high", add("=protocol=tcp", "=dst-port=65536"), "=category=1 =message=invalid value for argument dst-port"},
		{"port range backwards", add("=protocol=tcp", "=dst-port=2-1"), "=category=1 =message=invalid value for argument dst-port"},
		{"empty port", add("=protocol=tcp", "=dst-port="), "=category=1 =message=invalid value for argument dst-port"},
		{"two target ports", add("=protocol=tcp", "=to-ports=1,2"), "=category=1 =message=invalid value for argument to-ports"},
		{"address", add("=to-addresses=10.0.0.256"), "=category=1 =message=invalid value for argument to-addresses"},
		{"address range backwards", add("=to-addresses=10.0.0.2-10.0.0.1"), "=category=1 =message=invalid value for argument to-addresses"},
		{"long log prefix", add("=log-prefix=" + strings.Repeat("x", 32)), "=category=1 =message=invalid value for argument log-prefix"},
		{"ports without protocol", add("=dst-port=80"), "=message=ports can be specified if proto is tcp,udp,udp-lite,dccp,sctp"},
		{"ports of icmp", add("=protocol=icmp", "=to-ports=80"), "=message=ports can be specified if proto is tcp,udp,udp-lite,dccp,sctp"},
		{"place-before", add("=place-before=*FFFF"), "=message=item referred by 'place-before' does not exist (11)"},
		{"copy-from", add("=copy-from=*FFFF"), "=category=0 =message=no such item"},
		{"place-before in set", []string{natPath + "/set", rule, "=place-before=*1"}, "=message=unknown parameter place-before"},
		{"protocol unset", []string{natPath + "/unset", rule, "=value-name=protocol"}, "=message=ports can be specified if proto is tcp,udp,udp-lite,dccp,sctp"},
		{"chain unset", []string{natPath + "/unset", rule, "=value-name=chain"}, "=message=failure: chain cannot be unset"},
		{"unknown unset", []string{natPath + "/unset", rule, "=value-name=x"}, "=category=1 =message=input does not match any value of value-name"},
		{"unset of nothing", []string{natPath + "/unset", rule}, "=message=missing value(s) of argument(s) value-name"},
		{"set without item", []string{natPath + "/set", "=comment=x"}, "=message=missing value(s) of argument(s) numbers"},
		{"set of one good and one bad", []string{natPath + "/set", "=.id=*4,*FFFF", "=comment=x"}, "=category=0 =message=no such item"},
		{"comment with more", []string{natPath + "/comment", rule, "=chain=x"}, "=message=unknown parameter chain"},
		{"remove", []string{natPath + "/remove", "=.id=*FFFF"}, "=category=0 =message=no such item"},
		{"remove dynamic", []string{natPath + "/remove", plugin}, "=message=failure: cannot remove dynamic"},
		{"set dynamic", []string{natPath + "/set", plugin, "=comment=x"}, "=message=failure: cannot change dynamic"},
		{"disable dynamic", []string{natPath + "/disable", plugin}, "=message=failure: cannot change dynamic"},
		{"unset dynamic", []string{natPath + "/unset", plugin, "=value-name=comment"}, "=message=failure: cannot change dynamic"},
		{"move dynamic", []string{natPath + "/move", plugin, "=destination=*4"}, "=message=failure: cannot move dynamic"},
		{"move nowhere", []string{natPath + "/move", rule, "=destination=*FFFF"}, "=category=0 =message=no such item"},
		{"get without property", []string{natPath + "/get", rule}, "=message=missing value(s) of argument(s) value-name"},
		{"get of nothing", []string{natPath + "/get", "=.id=*FFFF", "=value-name=chain"}, "=category=0 =message=no such item"},
		{"print argument", []string{natPath + "/print", "=bogus="}, "=message=unknown parameter bogus"},
		{"bare word", []string{natPath + "/print", "bogus"}, "=message=unknown parameter bogus"},
		{"query without operands", []string{natPath + "/print", "?#&"}, "=message=failure: invalid query"},
		{"route check of nothing", []string{"/ip/route/check", "=once="}, "=message=missing value(s) of argument(s) dst-ip"},
		{"route check of nonsense", []string{"/ip/route/check", "=dst-ip=x"}, "=category=1 =message=invalid value for argument dst-ip"},
		{"route check argument", []string{"/ip/route/check", "=routing-table=main"}, "=message=unknown parameter routing-table"},
		{"integer", []string{"/ip/service/set", "=numbers=api", "=port=x"}, "=category=1 =message=invalid value for port, an integer required"},
		{"duration", []string{"/user/set", "=.id=admin", "=inactivity-timeout=soon"}, "=category=1 =message=invalid value for argument inactivity-timeout"},
		{"second user", []string{"/user/add", "=name=admin", "=group=full"}, "=message=failure: user with the same name already exists"},
		{"user without group", []string{"/user/add", "=name=x"}, "=message=missing value(s) of argument(s) group"},
		{"unknown group", []string{"/user/add", "=name=x", "=group=x"}, "=category=1 =message=input does not match any value of group"},
		{"second group", []string{"/user/group/add", "=name=full"}, "=message=failure: group with the same name already exists"},
		{
			"second entry",
			[]string{"/ip/firewall/address-list/add", "=list=WAN-IP", "=address=198.51.100.2"},
			"=message=failure: already have such entry",
		},
	}
	router := newRouter(t, routerostest.Config{})
	c := loginAs(t, router, routerostest.AdminUser, routerostest.AdminPassword)
	before := router.Fingerprint(natPath, nil)
	for _, tt := range tests {
		if diff := cmp.Diff("!trap "+tt.want+"\n!done", c.run(tt.words...)); diff != "" {
			t.Errorf("%s: %q (-want +got):\n%s", tt.name, tt.words, diff)
		}
	}
	if diff := cmp.Diff(string(before), string(router.Fingerprint(natPath, nil))); diff != "" {
		t.Errorf("refused commands changed rules (-before +after):\n%s", diff)
	}
	stats := router.Stats()
	if stats.Writes != 0 || stats.Traps != uint64(len(tests)) {
		t.Errorf("%d writes and %d traps, want 0 and %d", stats.Writes, stats.Traps, len(tests))
	}
}

func TestOldRefusals(t *testing.T) {
	t.Parallel()
	c := login(t, newRouter(t, routerostest.Config{Version: "6.49"}))
	for _, tt := range []struct {
		words []string
		want  string
	}{
		{[]string{"/ip/firewall/nothing/print"}, "!trap =category=0 =message=no such command\n!done"},
		{[]string{natPath + "/fly"}, "!trap =category=0 =message=no such command\n!done"},
		{[]string{natPath + "/remove", "=.id=*FFFF"}, "!trap =category=0 =message=no such item (4)\n!done"},
		{
			[]string{natPath + "/add", "=chain=dstnat", "=dst-port=1"},
			"!trap =message=failure: ports can be specified if proto is tcp,udp,udp-lite,dccp,sctp\n!done",
		},
		{
			[]string{natPath + "/add", "=chain=input"},
			"!trap =category=1 =message=input does not match any value of chain\n!done",
		},
		{
			[]string{natPath + "/add", "=chain=srcnat", "=action=endpoint-independent-nat"},
			"!trap =category=1 =message=input does not match any value of action\n!done",
		},
		{[]string{natPath + "/add", "=chain=dstnat", "=log-prefix=" + strings.Repeat("x", 40)}, "!done =ret=*D"},
	} {
		if diff := cmp.Diff(tt.want, c.run(tt.words...)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.words, diff)
		}
	}
}

// TestAccepted has what must not be refused.
func TestAccepted(t *testing.T) {
	t.Parallel()
	for _, words := range []string{
		"=protocol=6 =dst-port=80", "=protocol=!tcp", "=protocol=udp =dst-port=!1,2-3,65535", "=protocol=udp =dst-port=0",
		"=to-addresses=10.0.0.0/24", "=to-addresses=10.0.0.1-10.0.0.9", "=src-address=!10.0.0.0/8", "=in-interface=!wg1",
		"=in-interface=all-ethernet", "=in-interface-list=!LAN", "=in-interface-list=all", "=copy-from=*4", "=place-before=*1",
		"=disabled=true", "=log=yes", "=action=redirect", "=comment=\xff\xfe", "=comment=" + strings.Repeat("x", 247),
		"=action=socksify",
	} {
		c := login(t, newRouter(t, routerostest.Config{}))
		if got := c.run(append([]string{natPath + "/add", "=chain=dstnat"}, strings.Fields(words)...)...); got != "!done =ret=*D" {
			t.Errorf("%s: %s", words, got)
		}
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		policy string
		denied []string
	}{
		{"read,write,api,test,policy", nil},
		{"write,api,test", []string{"print", "find", "user"}},
		{"read,api,test", []string{"add", "set", "user"}},
		{"read,write,api", []string{"check", "user"}},
		{"read,write,api,test", []string{"user"}},
		{"api", []string{"print", "find", "add", "set", "check", "user"}},
	}
	commands := []struct {
		name  string
		words []string
	}{
		{"print", []string{natPath + "/print", "=count-only="}},
		{"find", []string{natPath + "/find"}},
		{"add", []string{natPath + "/add", "=chain=dstnat"}},
		{"set", []string{natPath + "/set", "=.id=*4", "=comment=x"}},
		{"check", []string{"/ip/route/check", "=dst-ip=10.2.0.1", "=once="}},
		{"user", []string{"/user/set", "=.id=admin", "=comment=x"}},
	}
	for _, tt := range tests {
		t.Run(tt.policy, func(t *testing.T) {
			t.Parallel()
			router := newRouter(t, routerostest.Config{})
			if err := router.AddUser("u", "p", tt.policy); err != nil {
				t.Fatal(err)
			}
			c := loginAs(t, router, "u", "p")
			for _, command := range commands {
				want := true
				for _, denied := range tt.denied {
					want = want && denied != command.name
				}
				got := c.run(command.words...)
				if allowed := !strings.Contains(got, "=message=not enough permissions (9)"); allowed != want {
					t.Errorf("%s: %s", command.name, got)
				}
			}
		})
	}
}

func TestSecretsAreHidden(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	least := login(t, router)
	admin := loginAs(t, router, routerostest.AdminUser, routerostest.AdminPassword)
	if got := least.run("/interface/wireguard/print"); strings.Contains(got, "private-key") || !strings.Contains(got, "public-key") {
		t.Errorf("the least user sees %s", got)
	}
	if got := admin.run("/interface/wireguard/print"); !strings.Contains(got, "=private-key=") {
		t.Errorf("the administrator sees %s", got)
	}
	admin.run("/user/add", "=name=eve", "=group=read", "=password=hunter2")
	admin.run("/user/set", "=.id=eve", "=password=hunter3")
	if got := admin.run("/user/print"); strings.Contains(got, "hunter") || !strings.Contains(got, "=name=eve") {
		t.Errorf("print of users: %s", got)
	}
	for _, entry := range router.Journal() {
		if line := strings.Join(entry.Args, " "); strings.Contains(line, "hunter") || strings.Contains(line, "staple") {
			t.Errorf("the journal has %s", line)
		}
	}
	loginAs(t, router, "eve", "hunter3")
}
