package routerostest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros/routerostest"
)

// TestVersions shows each thing that differs between versions, as a client sees it.
func TestVersions(t *testing.T) {
	t.Parallel()
	versions := []string{"6.49", "7.12", "7.17", "7.18", "7.22"}
	same := func(s string) []string { return []string{s, s, s, s, s} }
	const checked = "!re =status=ok =interface=wg1 =nexthop=10.2.0.1\n!done"
	const noCheck = "!trap =category=0 =message=no such command or directory (check)\n" +
		"!trap =category=0 =message=no such command prefix\n!done"
	const noPMP = "!trap =category=0 =message=no such command or directory (nat-pmp)\n" +
		"!trap =category=0 =message=no such command prefix\n!done"
	tests := []struct {
		name  string
		words []string
		want  []string // by version
	}{
		{
			"empty reply",
			[]string{natPath + "/print", "?comment=none"},
			[]string{"!done", "!done", "!done", "!empty\n!done", "!empty\n!done"},
		},
		{"count of nothing", []string{natPath + "/print", "?comment=none", "=count-only="}, same("!done =ret=0")},
		{
			"route check",
			[]string{"/ip/route/check", "=dst-ip=10.2.0.1", "=once="},
			[]string{checked, noCheck, noCheck, checked, checked},
		},
		{
			"route to the gateway",
			[]string{"/ip/route/print", "?dst-address=10.2.0.1/32"},
			[]string{
				"!re =.id=*2 =dst-address=10.2.0.1/32 =gateway=wg1 =gateway-status=wg1 reachable =distance=1 =scope=30 " +
					"=target-scope=10 =active=true =static=true =dynamic=false =disabled=false\n!done",
				v7GatewayRoute, v7GatewayRoute, v7GatewayRoute, v7GatewayRoute,
			},
		},
		{
			"default route",
			[]string{"/ip/route/print", "?dst-address=0.0.0.0/0", "?gateway=198.51.100.1", "=.proplist=immediate-gw,gateway-status"},
			[]string{
				"!re =gateway-status=198.51.100.1 reachable via  ether1\n!done",
				"!re =immediate-gw=198.51.100.1%ether1\n!done", "!re =immediate-gw=198.51.100.1%ether1\n!done",
				"!re =immediate-gw=198.51.100.1%ether1\n!done", "!re =immediate-gw=198.51.100.1%ether1\n!done",
			},
		},
		{
			"unknown parameter",
			[]string{natPath + "/add", "=chain=dstnat", "=bogus=1"},
			[]string{
				"!trap =message=unknown parameter\n!done",
				"!trap =message=unknown parameter bogus\n!done", "!trap =message=unknown parameter bogus\n!done",
				"!trap =message=unknown parameter bogus\n!done", "!trap =message=unknown parameter bogus\n!done",
			},
		},
		{
			"unknown item",
			[]string{natPath + "/set", "=.id=*FFFF", "=comment=x"},
			[]string{
				"!trap =category=0 =message=no such item (4)\n!done",
				"!trap =category=0 =message=no such item\n!done", "!trap =category=0 =message=no such item\n!done",
				"!trap =category=0 =message=no such item\n!done", "!trap =category=0 =message=no such item\n!done",
			},
		},
		{
			"built-in NAT-PMP",
			[]string{"/ip/nat-pmp/print"},
			[]string{
				"!trap =category=0 =message=no such command\n!done", noPMP,
				"!re =enabled=false\n!done", "!re =enabled=false\n!done", "!re =enabled=false\n!done",
			},
		},
		{
			"fields of a rule",
			[]string{natPath + "/print", "?comment=ssh to nas"},
			[]string{
				"!re =.id=*4 =chain=dstnat =action=dst-nat =to-addresses=192.168.88.20 =to-ports=22 =protocol=tcp =in-interface=wg1 " +
					"=dst-port=2222 =bytes=0 =packets=0 =invalid=false =dynamic=false =disabled=false =comment=ssh to nas\n!done",
				ruleOf("", ""), ruleOf("=dst-address-list= ", "=in-interface-list= "),
				ruleOf("=dst-address-list= ", "=in-interface-list= "), ruleOf("=dst-address-list= ", "=in-interface-list= "),
			},
		},
		{
			"sessions of a service",
			[]string{"/ip/service/print", "?name=api", "?dynamic=true", "?#!"},
			[]string{
				"!re =.id=*6 =name=api =port=8728 =address= =disabled=false =invalid=false\n!done",
				"!re =.id=*6 =name=api =port=8728 =address= =vrf=main =disabled=false =invalid=false\n!done",
				serviceWithLimit, serviceWithLimit,
				"!re =.id=*6 =name=api =port=8728 =proto=tcp =address= =vrf=main =max-sessions=20 =dynamic=false =disabled=false =invalid=false\n!done",
			},
		},
		{
			"type of the tunnel",
			[]string{"/interface/print", "?name=wg1", "=.proplist=type"},
			[]string{"!re =type=l2tp-out\n!done", "!re =type=wg\n!done", "!re =type=wg\n!done", "!re =type=wg\n!done", "!re =type=wg\n!done"},
		},
		{
			"version",
			[]string{"/system/resource/print", "=.proplist=version"},
			[]string{
				"!re =version=6.49.18 (long-term)\n!done", "!re =version=7.12 (stable)\n!done", "!re =version=7.17 (stable)\n!done",
				"!re =version=7.18 (stable)\n!done", "!re =version=7.22 (stable)\n!done",
			},
		},
	}
	for i, version := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			c := login(t, newRouter(t, routerostest.Config{Version: version}))
			for _, tt := range tests {
				if diff := cmp.Diff(strings.Split(tt.want[i], "\n"), strings.Split(c.run(tt.words...), "\n")); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tt.name, diff)
				}
			}
		})
	}
}

const v7GatewayRoute = "!re =.id=*2 =dst-address=10.2.0.1/32 =routing-table=main =gateway=wg1 =immediate-gw=wg1 =distance=1 =scope=30 " +
	"=target-scope=10 =active=true =static=true =dynamic=false =disabled=false\n!done"

const serviceWithLimit = "!re =.id=*6 =name=api =port=8728 =address= =vrf=main =max-sessions=20 =disabled=false =invalid=false\n!done"

// ruleOf is the ssh rule of the default world on RouterOS 7, with empty matchers or not.
func ruleOf(addressList, interfaceList string) string {
	return "!re =.id=*4 =chain=dstnat =action=dst-nat =to-addresses=192.168.88.20 =to-ports=22 =protocol=tcp " + addressList +
		"=in-interface=wg1 " + interfaceList + "=dst-port=2222 =log=false =log-prefix= =bytes=0 =packets=0 =invalid=false " +
		"=dynamic=false =disabled=false =comment=ssh to nas\n!done"
}

func TestArgumentsByVersion(t *testing.T) {
	t.Parallel()
	tests := []struct {
		argument string
		known    []string
		unknown  []string
	}{
		{"=randomise-ports=yes", []string{"7.10", "7.22"}, []string{"6.49", "7.9"}}, //nolint:misspell // RouterOS spells it so
		{"=tls-host=example.com", []string{"6.49", "7.12", "7.15"}, []string{"7.16", "7.22"}},
		{"=socks5-server=192.0.2.1", []string{"7.20"}, []string{"7.19"}},
		{"=tos=8", []string{"7.21"}, []string{"7.20"}},
	}
	for _, tt := range tests {
		t.Run(tt.argument, func(t *testing.T) {
			t.Parallel()
			for _, version := range tt.known {
				c := login(t, newRouter(t, routerostest.Config{Version: version}))
				if got := c.run(natPath+"/add", "=chain=dstnat", tt.argument); got != "!done =ret=*D" {
					t.Errorf("%s: %s", version, got)
				}
			}
			for _, version := range tt.unknown {
				c := login(t, newRouter(t, routerostest.Config{Version: version}))
				if got := c.run(natPath+"/add", "=chain=dstnat", tt.argument); !strings.HasPrefix(got, "!trap =message=unknown parameter") {
					t.Errorf("%s: %s", version, got)
				}
			}
		})
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	t.Parallel()
	for _, cfg := range []routerostest.Config{
		{Version: "5.26"},
		{Version: "8.0"},
		{Version: "seven"},
		{Version: "7"},
		{Version: "7.x"},
		{Version: "7.18.beta"},
		{Version: "7.-1"},
		{Latency: -1},
		{Journal: -1},
	} {
		if _, err := routerostest.New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
	for _, version := range []string{"", "6.49.10", "7.1", "7.18.2", "7.24"} {
		if _, err := routerostest.New(routerostest.Config{Version: version}); err != nil {
			t.Errorf("%q: %v", version, err)
		}
	}
}
