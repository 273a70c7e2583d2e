package check_test

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/check"
	"doublenat/internal/lab"
	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/natpmp"
	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

// trouble is one thing that can be wrong, how it is provoked, and what the doctor
// has to say of it, and of nothing else.
type trouble struct {
	name    string
	version string
	provoke func(r *rig)
	probe   string
	level   check.Level
	kind    remedy.Kind
	text    string // in what is seen or in the remedy
	// beside are probes that have to find something too: the same row does more harm.
	beside []string
	// mend does what the remedy says where that is no command. Nil is to type the commands.
	mend func(r *rig)
}

// routerTroubles are those of logging in and of finding the tunnel.
func routerTroubles() []trouble {
	return []trouble{
		{
			name: "wrong password", probe: "login", level: check.Fail, kind: remedy.KindLogin, text: "invalid user name or password",
			provoke: func(r *rig) { r.cfg.API.Password = routeros.NewSecret("hunter2") },
			mend:    func(r *rig) { r.cfg.API.Password = routeros.NewSecret(routerostest.LeastPassword) },
		},
		{
			name: "service off", probe: "login", level: check.Fail, kind: remedy.KindPort, text: "connection refused",
			provoke: func(r *rig) {
				r.set("/ip/service", "name", "api", routerostest.Row{"disabled": "true"})
			},
			// Over the service that is off nothing can be typed.
			mend: func(r *rig) {
				r.set("/ip/service", "name", "api", routerostest.Row{"disabled": "false"})
			},
		},
		{
			name: "service not for us", probe: "login", level: check.Fail, kind: remedy.KindClosed, text: "address list",
			provoke: func(r *rig) {
				r.set("/ip/service", "name", "api", routerostest.Row{"address": "203.0.113.7/32"})
			},
			mend: func(r *rig) { r.set("/ip/service", "name", "api", routerostest.Row{"address": ""}) },
		},
		{
			name: "user not for us", probe: "login", level: check.Fail, kind: remedy.KindLogin, text: "address list",
			provoke: func(r *rig) {
				r.set("/user", "name", routerostest.LeastUser, routerostest.Row{"address": "203.0.113.7/32"})
			},
			mend: func(r *rig) {
				r.set("/user", "name", routerostest.LeastUser, routerostest.Row{"address": ""})
			},
		},
		{
			name: "silent router", probe: "login", level: check.Fail, kind: remedy.KindClosed, text: "no answer from the router in time",
			provoke: func(r *rig) {
				r.Router.Inject(routerostest.Fault{Kind: routerostest.FaultVanish, Times: -1})
			},
			mend: func(r *rig) { r.Router.ClearFaults() },
		},
		{
			name: "router not reachable", probe: "login", level: check.Fail, kind: remedy.KindConnection, text: "no route to host",
			provoke: func(r *rig) {
				r.cfg.API.Dial = func(context.Context) (net.Conn, error) { return nil, syscall.EHOSTUNREACH }
			},
			mend: func(r *rig) { r.cfg.API.Dial = r.Router.Dial },
		},
		{
			name: "no certificate", probe: "login", level: check.Fail, kind: remedy.KindTLS, text: "assign a certificate to the router's api-ssl service",
			provoke: func(r *rig) {
				r.cfg.API.TLS = &tls.Config{ServerName: "router", MinVersion: tls.VersionTLS12}
				r.cfg.API.Dial = func(context.Context) (net.Conn, error) { return withoutCertificate(), nil }
			},
			mend: func(r *rig) { r.cfg.API.TLS, r.cfg.API.Dial = nil, r.Router.Dial },
		},
		{
			name: "may not read", probe: "rights", level: check.Fail, kind: remedy.KindPermission, text: "add the policy read",
			provoke: func(r *rig) {
				r.set("/user/group", "name", "doublenat", routerostest.Row{"policy": "write,api,test"})
			},
			mend: func(r *rig) { r.obey([]remedy.Command{remedy.GrantAll("doublenat")}) },
		},
		{
			name: "may not write", probe: "rights", level: check.Fail, kind: remedy.KindPermission, text: "add the policy write to the group doublenat",
			provoke: func(r *rig) {
				r.set("/user/group", "name", "doublenat", routerostest.Row{"policy": "read,api,test"})
			},
		},
		{
			name: "in the group read", probe: "rights", level: check.Fail, kind: remedy.KindPermission, text: "/user set doublenat group=doublenat",
			provoke: func(r *rig) {
				r.set("/user", "name", "doublenat", routerostest.Row{"group": "read"})
				r.remove("/user/group", "name", "doublenat")
			},
		},
		{
			name: "in a group with others", probe: "rights", level: check.Fail, kind: remedy.KindPermission, text: "name=doublenat-api policy=read,write,api,test",
			provoke: func(r *rig) {
				r.set("/user/group", "name", "doublenat", routerostest.Row{"policy": "read,api"})
				r.add("/user", "name=dashboard group=doublenat password=secret", "")
			},
		},
		{
			name: "may not test", probe: "rights", level: check.Warn, kind: remedy.KindPermission, text: "add the policy test",
			provoke: func(r *rig) {
				r.set("/user/group", "name", "doublenat", routerostest.Row{"policy": "read,write,api"})
			},
		},
		{
			name: "may do too much", probe: "rights", level: check.Warn, kind: remedy.KindTooMany, text: "its own user",
			provoke: func(r *rig) {
				r.remove("/user", "name", "doublenat")
				r.remove("/user/group", "name", "doublenat")
				r.cfg.API.User, r.cfg.API.Password = routerostest.AdminUser, routeros.NewSecret(routerostest.AdminPassword)
			},
			mend: func(r *rig) {
				r.obey(wrong(r.check())[0].Advice.Commands)
				r.cfg.API.User, r.cfg.API.Password = "doublenat", routeros.NewSecret("CHANGE-ME")
			},
		},
		{
			name: "clock", probe: "clock", level: check.Warn, kind: check.KindClock, text: "/system ntp client set enabled=yes",
			provoke: func(r *rig) {
				r.set("/system/clock", "gmt-offset", "+00:00", routerostest.Row{"gmt-offset": "+05:30"})
			},
			mend: func(r *rig) {
				r.set("/system/clock", "gmt-offset", "+05:30", routerostest.Row{"gmt-offset": "+00:00"})
			},
		},
		{
			name: "no route to the gateway", probe: "interface", level: check.Fail, kind: remedy.KindInterface, text: "/ip route add dst-address=10.2.0.1/32 gateway=wg1",
			provoke: func(r *rig) { r.remove("/ip/route", "dst-address", "10.2.0.1/32") },
		},
		{
			name: "interface misspelled", probe: "interface", level: check.Fail, kind: remedy.KindInterface, text: `no interface "wg0"`,
			provoke: func(r *rig) { r.cfg.InInterface = "wg0" },
			mend:    func(r *rig) { r.cfg.InInterface = "wg1" },
		},
		{
			name: "another tunnel named", probe: "interface", level: check.Warn, kind: remedy.KindInterface, text: "set it to wg1: that leads to the gateway, not wg2",
			provoke: func(r *rig) {
				r.add("/interface", "name=wg2 type=wg", "")
				r.add("/interface/wireguard", "name=wg2", "")
				r.cfg.InInterface = "wg2"
			},
			mend: func(r *rig) { r.cfg.InInterface = "" },
		},
		{
			name: "tunnel off", probe: "interface", level: check.Fail, kind: check.KindDown, text: "/interface enable wg1",
			provoke: func(r *rig) {
				r.cfg.InInterface = "wg1"
				r.set("/interface", "name", "wg1", routerostest.Row{"disabled": "true"})
			},
			mend: func(r *rig) {
				r.set("/interface", "name", "wg1", routerostest.Row{"disabled": "false"})
			},
		},
		{
			name: "tunnel down", probe: "interface", level: check.Fail, kind: check.KindDown, text: "last handshake",
			provoke: func(r *rig) {
				r.cfg.InInterface = "wg1"
				r.set("/interface", "name", "wg1", routerostest.Row{"running": "false"})
			},
			mend: func(r *rig) { r.set("/interface", "name", "wg1", routerostest.Row{"running": "true"}) },
		},
		{
			name: "the WAN as the tunnel", probe: "interface", level: check.Fail, kind: remedy.KindInterface, text: "MIKROTIK_IN_INTERFACE=ether1 carries the router's default route",
			provoke: func(r *rig) {
				r.remove("/routing/rule", "comment", "TV")
				r.cfg.InInterface = "ether1"
			},
			mend: func(r *rig) { r.cfg.InInterface = "" },
		},
	}
}

// withoutCertificate is a connection to an api-ssl service that has none: it ends
// the handshake with an alert (RFC 5246 §7.2.2: fatal, handshake_failure).
func withoutCertificate() net.Conn {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		if _, err := theirs.Read(make([]byte, 4096)); err == nil {
			_, _ = theirs.Write([]byte{21, 3, 3, 0, 2, 2, 40})
		}
	}()
	return ours
}

// requestTroubles are those on the way from the clients to doublenat.
func requestTroubles() []trouble {
	return []trouble{
		{
			name: "no redirect", probe: "redirect", level: check.Fail, kind: check.KindNoRedirect, text: "in-interface-list=LAN",
			provoke: func(r *rig) { r.remove(natPath, "dst-port", "5351") },
		},
		{
			name: "no redirect and no lists", probe: "redirect", level: check.Fail, kind: check.KindNoRedirect, text: "in-interface=bridge",
			provoke: func(r *rig) {
				r.remove(natPath, "dst-port", "5351")
				r.set(filterPath, "in-interface-list", "!LAN", routerostest.Row{"in-interface-list": "", "in-interface": "!bridge"})
				r.remove("/interface/list", "name", "LAN")
				if err := r.Router.Unset(natPath, r.id(natPath, "src-port", "5351"), "out-interface-list"); err != nil {
					r.t.Fatal(err)
				}
			},
		},
		{
			name: "redirect of some other port", probe: "redirect", level: check.Fail, kind: check.KindNoRedirect, text: "never reaches doublenat",
			provoke: func(r *rig) {
				r.set(natPath, "dst-port", "5351", routerostest.Row{"dst-port": "5350,5352-5353"})
			},
		},
		{
			name: "redirect disabled", probe: "redirect", level: check.Fail, kind: check.KindRedirectOff, text: "/ip firewall nat enable",
			provoke: func(r *rig) {
				r.set(natPath, "dst-port", "5351", routerostest.Row{"disabled": "true"})
			},
		},
		{
			name: "redirect from everywhere", probe: "redirect", level: check.Fail, kind: check.KindOpenRedirect, text: "requests from ether1 too",
			provoke: func(r *rig) {
				if err := r.Router.Unset(natPath, r.id(natPath, "dst-port", "5351"), "in-interface-list"); err != nil {
					r.t.Fatal(err)
				}
			},
		},
		{
			name: "redirect from the tunnel", probe: "redirect", level: check.Fail, kind: check.KindOpenRedirect, text: "requests from wg1 too",
			provoke: func(r *rig) {
				r.set(natPath, "dst-port", "5351", routerostest.Row{"in-interface-list": "", "in-interface": "!ether1"})
			},
		},
		{
			name: "redirect of all but the LAN", probe: "redirect", level: check.Fail, kind: check.KindOpenRedirect, text: "/ip firewall nat unset",
			provoke: func(r *rig) { r.limitRedirect("src-address", "!192.168.88.0/24") },
		},
		{
			name: "redirect of every source", probe: "redirect", level: check.Fail, kind: check.KindOpenRedirect, text: "requests from ether1 too",
			provoke: func(r *rig) { r.limitRedirect("src-address", "0.0.0.0/0") },
		},
		{
			name: "redirect of half the Internet", probe: "redirect", level: check.Fail, kind: check.KindOpenRedirect, text: "requests from ether1 too",
			provoke: func(r *rig) { r.limitRedirect("src-address", "172.0.0.0-192.168.88.255") },
		},
		{
			name: "redirect of all but a list", probe: "redirect", level: check.Fail, kind: check.KindOpenRedirect, text: "value-name=src-address-list",
			provoke: func(r *rig) { r.limitRedirect("src-address-list", "!enemies") },
		},
		{
			name: "redirect behind a catch-all", probe: "redirect", level: check.Fail, kind: check.KindShadowed, text: "/ip firewall nat move *3 destination=",
			provoke: func(r *rig) {
				r.add(natPath, "chain=dstnat action=dst-nat to-addresses=192.168.88.5 in-interface=!ether1", r.id(natPath, "dst-port", "5351"))
			},
		},
		{
			name: "redirect behind an exception", probe: "redirect", level: check.Fail, kind: check.KindShadowed, text: "takes what clients ask before",
			provoke: func(r *rig) {
				r.add(natPath, "chain=dstnat action=accept src-address=192.168.0.0/16 protocol=udp", r.id(natPath, "dst-port", "5351"))
			},
		},
		{
			name: "redirect behind a jump", probe: "redirect", level: check.Fail, kind: check.KindShadowed, text: "move",
			provoke: func(r *rig) {
				first := r.id(natPath, "dst-port", "5351")
				r.add(natPath, "chain=dstnat action=passthrough", first)
				r.add(natPath, "chain=dstnat action=dst-nat to-addresses=192.168.88.5 src-address=192.168.88.9", first)
				r.add(natPath, "chain=dstnat action=jump jump-target=lan dst-address=192.168.88.1", first)
				r.add(natPath, "chain=lan action=return protocol=tcp", "")
				r.add(natPath, "chain=lan action=redirect to-ports=53 protocol=udp dst-port=!123", "")
			},
		},
		{
			name: "redirect after the end", probe: "redirect", level: check.Fail, kind: check.KindShadowed, text: "move",
			provoke: func(r *rig) {
				r.add(natPath, "chain=dstnat action=return dst-address-type=local", r.id(natPath, "dst-port", "5351"))
			},
		},
		{
			name: "redirect behind a rule of the router's", probe: "redirect", level: check.Fail, kind: check.KindShadowed, text: "what makes that rule",
			provoke: func(r *rig) {
				r.set(natPath, "to-ports", "32400", routerostest.Row{"protocol": "udp", "in-interface": "bridge", "dst-port": ""})
			},
			mend: func(r *rig) { r.remove(natPath, "to-ports", "32400") },
		},
		{
			name: "redirect elsewhere", probe: "redirect", level: check.Warn, kind: check.KindElsewhere, text: "not this host",
			provoke: func(r *rig) {
				r.set(natPath, "dst-port", "5351", routerostest.Row{"to-addresses": "172.30.254.1"})
			},
		},
		{
			name: "masquerade everywhere", probe: "masquerade", level: check.Fail, kind: check.KindHidden, text: "out-interface-list=WAN",
			provoke: func(r *rig) {
				if err := r.Router.Unset(natPath, r.id(natPath, "action", "masquerade"), "out-interface-list"); err != nil {
					r.t.Fatal(err)
				}
			},
		},
		{
			name: "masquerade of the LAN", probe: "masquerade", level: check.Fail, kind: check.KindHidden, text: "look like the router",
			provoke: func(r *rig) {
				r.add(natPath, "chain=srcnat action=masquerade src-address=192.168.88.0/24", "")
			},
		},
		{
			name: "masquerade towards the container", beside: []string{"late"}, probe: "masquerade", level: check.Fail, kind: check.KindHidden, text: "out-interface=ether1",
			provoke: func(r *rig) {
				r.add("/interface/list/member", "list=WAN interface=veth1", "")
			},
		},
		{
			name: "built-in nat-pmp", probe: "nat-pmp", level: check.Warn, kind: check.KindBuiltin, text: "/ip nat-pmp set enabled=no",
			provoke: func(r *rig) {
				r.set("/ip/nat-pmp", "enabled", "false", routerostest.Row{"enabled": "true"})
			},
		},
	}
}

// TestFindings provokes each trouble. The doctor has to see it and nothing else,
// and to see nothing once its remedy was applied.
func TestFindings(t *testing.T) {
	t.Parallel()
	for _, group := range [][]trouble{routerTroubles(), requestTroubles(), packetTroubles(), lineTroubles(), rowTroubles(), gatewayTroubles()} {
		for _, tt := range group {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { find(t, tt) })
			})
		}
	}
}

func find(t *testing.T, tt trouble) {
	t.Helper()
	r := newRig(t, lab.BenchConfig{Router: routerostest.Config{Version: tt.version}})
	tt.provoke(r)
	found := wrong(r.check())
	all := found
	for _, probe := range tt.beside {
		i := slices.IndexFunc(found, func(f check.Finding) bool { return f.Probe == probe })
		if i < 0 {
			t.Fatalf("nothing of %s: %+v", probe, found)
		}
		found = slices.Delete(slices.Clone(found), i, i+1)
	}
	if len(found) != 1 {
		t.Fatalf("%d findings, want one: %+v", len(found), found)
	}
	type verdict struct {
		Probe string
		Level check.Level
		Kind  remedy.Kind
	}
	got := verdict{found[0].Probe, found[0].Level, found[0].Advice.Kind}
	if diff := cmp.Diff(verdict{tt.probe, tt.level, tt.kind}, got); diff != "" {
		t.Errorf("%s; verdict (-want +got):\n%s", found[0].Seen, diff)
	}
	if said := found[0].Seen + "; " + found[0].Advice.String(); !strings.Contains(said, tt.text) {
		t.Errorf("%q is not in %q", tt.text, said)
	}
	// Whoever hears nothing of a hop wants to know what of the ports that are open.
	meanwhile := map[string]string{"login": remedy.WhileLost(nat.HopRouter), "gateway": remedy.WhileLost(nat.HopGateway)}[tt.probe]
	if tt.kind == remedy.ForResult(natpmp.ResultNetworkFailure).Kind { // It answers.
		meanwhile = ""
		if tt.name == "result: network failure" {
			meanwhile = remedy.PortsUnsure.Meanwhile(nat.HopGateway)
		}
	}
	if found[0].Meanwhile != meanwhile {
		t.Errorf("meanwhile %q, want %q", found[0].Meanwhile, meanwhile)
	}
	if found[0].Advice.Text == "" {
		t.Error("there is no remedy")
	}
	if tt.mend != nil {
		tt.mend(r)
	} else {
		for _, f := range all {
			r.obey(f.Advice.Commands)
		}
	}
	for _, f := range wrong(r.check()) {
		t.Errorf("after the remedy: %s: %s (%s)", f.Probe, f.Seen, f.Advice)
	}
}
