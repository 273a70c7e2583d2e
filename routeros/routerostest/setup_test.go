package routerostest_test

import (
	"slices"
	"strings"
	"testing"

	"doublenat/routeros/routerostest"
)

// TestSetUpCommands has what an administrator types to set the router up, or to
// mend it, on RouterOS 6 and 7.
func TestSetUpCommands(t *testing.T) {
	t.Parallel()
	commands := []string{
		"/user/group/add =name=mapper =policy=read,write,api,test",
		"/user/add =name=mapper =group=mapper =password=x =address=172.30.254.2/32",
		"/user/set =.id=mapper =address=",
		"/ip/service/set =.id=*6 =disabled=no =address=172.30.254.2/32,192.168.88.0/24",
		"/ip/firewall/address-list/add =list=mappers =address=172.30.254.2",
		"/ip/firewall/nat/add =chain=dstnat =action=dst-nat =protocol=udp =dst-port=5351 =in-interface-list=LAN " +
			"=dst-address-type=local =to-addresses=172.30.254.2",
		"/ip/firewall/filter/add =chain=input =action=accept =protocol=tcp =dst-port=8728 =in-interface=veth1 =place-before=*1",
		"/ip/firewall/filter/disable =numbers=*1",
		"/ip/firewall/mangle/add =chain=prerouting =action=mark-connection =in-interface=wg1 =connection-state=new " +
			"=new-connection-mark=back =passthrough=yes",
		"/ip/firewall/mangle/remove =.id=*1",
		"/interface/list/add =name=TUNNELS",
		"/interface/list/member/add =list=TUNNELS =interface=wg1",
		"/ip/route/add =dst-address=10.99.0.0/16 =gateway=wg1 =distance=3",
	}
	byVersion := map[string][]string{
		"6.49": {"/ip/route/rule/add =src-address=192.168.88.9 =action=lookup =table=vpn", "/ip/route/add =dst-address=0.0.0.0/0 =gateway=wg1 =routing-mark=back"},
		"7.22": {
			"/routing/table/add =name=back =fib=", "/routing/rule/add =src-address=192.168.88.9 =action=lookup =table=back",
			"/ip/route/add =dst-address=0.0.0.0/0 =gateway=wg1 =routing-table=back", "/ip/nat-pmp/set =enabled=no",
		},
	}
	for version, more := range byVersion {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			router := newRouter(t, routerostest.Config{Version: version})
			c := loginAs(t, router, routerostest.AdminUser, routerostest.AdminPassword)
			for _, command := range slices.Concat(commands, more) {
				if got := c.run(strings.Fields(command)...); !strings.HasPrefix(got, "!done") {
					t.Errorf("%s: %s", command, got)
				}
			}
			row := find(t, router, "/ip/route", "dst-address", "10.99.0.0/16")
			if row["active"] != "true" || row["static"] != "true" {
				t.Errorf("the route is %v", row)
			}
			if got := router.Rows("/ip/firewall/filter")[0]["dst-port"]; got != "8728" {
				t.Errorf("first filter rule for port %q, want 8728", got)
			}
			loginAs(t, router, "mapper", "x")
		})
	}
}

func TestSetUpRefusals(t *testing.T) {
	t.Parallel()
	c := loginAs(t, newRouter(t, routerostest.Config{}), routerostest.AdminUser, routerostest.AdminPassword)
	for command, want := range map[string]string{
		"/ip/firewall/filter/add =chain=input =action=dst-nat":                      "=category=1 =message=input does not match any value of action",
		"/ip/firewall/filter/add =chain=input =dst-port=80":                         "=message=ports can be specified if proto is tcp,udp,udp-lite,dccp,sctp",
		"/ip/firewall/mangle/add =chain=prerouting =action=drop":                    "=category=1 =message=input does not match any value of action",
		"/interface/list/member/add =list=LAN =interface=bridge":                    "=message=failure: already have such entry",
		"/interface/list/remove =.id=*1":                                            "=message=failure: cannot remove builtin",
		"/ip/route/add =dst-address=x =gateway=wg1":                                 "=category=1 =message=invalid value for argument dst-address",
		"/ip/route/add =dst-address=10.0.0.0/8 =gateway=wg1 =distance=x":            "=category=1 =message=invalid value for distance, an integer required",
		"/ip/route/add =dst-address=10.0.0.0/8 =gateway=wg1 =routing-mark=back":     "=message=unknown parameter routing-mark",
		"/ip/route/remove =.id=*4":                                                  "=message=failure: cannot remove dynamic",
		"/routing/rule/add =action=fly":                                             "=category=1 =message=input does not match any value of action",
		"/ip/nat-pmp/set =enabled=perhaps":                                          "=category=1 =message=input does not match any value of enabled",
		"/user/add =name=x =group=full =address=nowhere":                            "=category=1 =message=invalid value for argument address",
		"/ip/firewall/address-list/add =list= =address=10.0.0.1":                    "=category=1 =message=invalid value for argument list",
		"/ip/service/set =numbers=api =disabled=no":                                 "=message=this is configured elsewhere",
		"/system/resource/set =name=x":                                              "=category=0 =message=no such command or directory (set)\n!trap =category=0 =message=no such command prefix",
		"/ip/firewall/nat/add =chain=dstnat =in-interface=all-ethernet =protocol=x": "=category=1 =message=input does not match any value of protocol",
	} {
		if got := c.run(strings.Fields(command)...); got != "!trap "+want+"\n!done" {
			t.Errorf("%s: %s", command, got)
		}
	}
}
