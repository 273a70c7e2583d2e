package check_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/check"
	"doublenat/internal/lab"
	"doublenat/internal/remedy"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
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
			name: "silent router", probe: "login", level: check.Fail, kind: remedy.KindConnection, text: "no answer from the router in time",
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
			name: "may not test", probe: "rights", level: check.Warn, kind: remedy.KindPermission, text: "add the policy test",
			provoke: func(r *rig) {
				r.set("/user/group", "name", "doublenat", routerostest.Row{"policy": "read,write,api"})
			},
		},
		{
			name: "may do too much", probe: "rights", level: check.Warn, kind: remedy.KindTooMany, text: "user of its own",
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
			name: "clock", probe: "clock", level: check.Warn, kind: check.KindClock, text: "/system/ntp/client/set enabled=yes",
			provoke: func(r *rig) {
				r.set("/system/clock", "gmt-offset", "+00:00", routerostest.Row{"gmt-offset": "+05:30"})
			},
			mend: func(r *rig) {
				r.set("/system/clock", "gmt-offset", "+05:30", routerostest.Row{"gmt-offset": "+00:00"})
			},
		},
		{
			name: "no route to the gateway", probe: "tunnel", level: check.Fail, kind: remedy.KindInterface, text: "set MIKROTIK_IN_INTERFACE to one of: wg1",
			provoke: func(r *rig) { r.remove("/ip/route", "dst-address", "10.2.0.1/32") },
			mend:    func(r *rig) { r.cfg.InInterface = "wg1" },
		},
		{
			name: "interface misspelled", probe: "tunnel", level: check.Fail, kind: remedy.KindInterface, text: `no interface "wg0"`,
			provoke: func(r *rig) { r.cfg.InInterface = "wg0" },
			mend:    func(r *rig) { r.cfg.InInterface = "wg1" },
		},
		{
			name: "tunnel off", probe: "tunnel", level: check.Fail, kind: check.KindDown, text: "/interface/enable wg1",
			provoke: func(r *rig) {
				r.cfg.InInterface = "wg1"
				r.set("/interface", "name", "wg1", routerostest.Row{"disabled": "true"})
			},
			mend: func(r *rig) {
				r.set("/interface", "name", "wg1", routerostest.Row{"disabled": "false"})
			},
		},
		{
			name: "tunnel down", probe: "tunnel", level: check.Fail, kind: check.KindDown, text: "last handshake",
			provoke: func(r *rig) {
				r.cfg.InInterface = "wg1"
				r.set("/interface", "name", "wg1", routerostest.Row{"running": "false"})
			},
			mend: func(r *rig) { r.set("/interface", "name", "wg1", routerostest.Row{"running": "true"}) },
		},
		{
			name: "the WAN as the tunnel", probe: "tunnel", level: check.Warn, kind: check.KindWAN, text: "leave MIKROTIK_IN_INTERFACE empty",
			provoke: func(r *rig) { r.cfg.InInterface = "ether1" },
			mend:    func(r *rig) { r.cfg.InInterface = "" },
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
				r.remove("/interface/list", "name", "LAN")
			},
		},
		{
			name: "redirect of some other port", probe: "redirect", level: check.Fail, kind: check.KindNoRedirect, text: "never reaches doublenat",
			provoke: func(r *rig) {
				r.set(natPath, "dst-port", "5351", routerostest.Row{"dst-port": "5350,5352-5353"})
			},
		},
		{
			name: "redirect disabled", probe: "redirect", level: check.Fail, kind: check.KindRedirectOff, text: "/ip/firewall/nat/enable",
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
			name: "masquerade towards the container", probe: "masquerade", level: check.Fail, kind: check.KindHidden, text: "out-interface=ether1",
			provoke: func(r *rig) {
				r.add("/interface/list/member", "list=WAN interface=veth1", "")
			},
		},
		{
			name: "built-in nat-pmp", probe: "nat-pmp", level: check.Warn, kind: check.KindBuiltin, text: "/ip/nat-pmp/set enabled=no",
			provoke: func(r *rig) {
				r.set("/ip/nat-pmp", "enabled", "false", routerostest.Row{"enabled": "true"})
			},
		},
	}
}

// packetTroubles are those on the way of mapped packets, and back.
func packetTroubles() []trouble {
	return []trouble{
		{
			name: "dropped", probe: "filter", level: check.Fail, kind: check.KindDropped, text: "place-before",
			provoke: func(r *rig) { r.add(filterPath, "chain=forward action=drop in-interface=wg1", "") },
		},
		{
			name: "everything else dropped", probe: "filter", level: check.Fail, kind: check.KindDropped, text: "drops packets from wg1",
			provoke: func(r *rig) {
				r.add(filterPath, "chain=forward action=accept in-interface=bridge", "")
				r.add(filterPath, "chain=forward action=accept in-interface=wg1 dst-address=192.168.88.9 protocol=tcp dst-port=22", "")
				r.add(filterPath, "chain=forward action=reject", "")
			},
		},
		{
			name: "dropped for one protocol", probe: "filter", level: check.Fail, kind: check.KindDropped, text: "in-interface=wg1",
			provoke: func(r *rig) {
				r.add(filterPath, "chain=forward action=accept in-interface=wg1 protocol=tcp", "")
				r.add(filterPath, "chain=forward action=drop in-interface-list=WAN protocol=udp", "")
			},
		},
		{
			name: "dropped in a chain", probe: "filter", level: check.Fail, kind: check.KindDropped, text: "place-before",
			provoke: func(r *rig) {
				r.add(filterPath, "chain=forward action=jump jump-target=circle in-interface=wg1", "")
				r.add(filterPath, "chain=forward action=jump jump-target=vpn in-interface=!bridge", "")
				r.add(filterPath, "chain=circle action=jump jump-target=circle", "")
				r.add(filterPath, "chain=vpn action=return connection-state=established", "")
				r.add(filterPath, "chain=vpn action=log", "")
				r.add(filterPath, "chain=vpn action=drop connection-nat-state=!srcnat", "")
				r.add(filterPath, "chain=vpn action=accept", "")
			},
		},
		{
			name: "no mark for connections", probe: "replies", level: check.Fail, kind: check.KindAstray, text: "leave through ether1",
			provoke: func(r *rig) { r.remove(manglePath, "action", "mark-connection") },
		},
		{
			name: "nothing done with the mark", probe: "replies", level: check.Fail, kind: check.KindAstray, text: "new-routing-mark=vpn",
			provoke: func(r *rig) { r.remove(manglePath, "action", "mark-routing") },
		},
		{
			name: "no route for the mark", probe: "replies", level: check.Fail, kind: check.KindAstray, text: "/ip/route/add dst-address=0.0.0.0/0 gateway=wg1 routing-table=vpn",
			provoke: func(r *rig) { r.remove("/ip/route", "routing-table", "vpn") },
		},
		{
			name: "no policy routing at all", probe: "replies", level: check.Fail, kind: check.KindAstray, text: "/routing/table/add name=doublenat fib",
			provoke: func(r *rig) { bare(r, "routing-table") },
		},
		{
			name: "no policy routing on RouterOS 6", version: "6.49", probe: "replies", level: check.Fail, kind: check.KindAstray, text: "routing-mark=doublenat",
			provoke: func(r *rig) { bare(r, "routing-mark") },
		},
		{
			name: "fasttrack", probe: "fasttrack", level: check.Fail, kind: check.KindFastTrack, text: "connection-mark=no-mark",
			provoke: func(r *rig) {
				r.add(filterPath, "chain=forward action=fasttrack-connection connection-state=established,related hw-offload=true",
					r.id(filterPath, "chain", "forward"))
			},
		},
		{
			name: "fasttrack of some", probe: "fasttrack", level: check.Warn, kind: check.KindFastTrack, text: "past mangle",
			provoke: func(r *rig) {
				r.add(filterPath, "chain=forward action=fasttrack-connection src-address-list=fast",
					r.id(filterPath, "chain", "forward"))
			},
		},
		{
			name: "a rule without its interface", probe: "rules", level: check.Warn, kind: check.KindStrays, text: "/ip/firewall/nat/remove",
			provoke: func(r *rig) {
				r.serve()
				for _, ours := range r.OurRules("default") {
					if err := r.Router.Set(natPath, ours[".id"], routerostest.Row{"in-interface": "*C", "invalid": "true"}); err != nil {
						r.t.Fatal(err)
					}
				}
				if err := r.Stop(); err != nil {
					r.t.Fatal(err)
				}
			},
		},
	}
}

// bare takes all policy routing away. Column is what a version calls the table of a route.
func bare(r *rig, column string) {
	r.t.Helper()
	r.remove("/ip/route", column, "vpn")
	r.remove(manglePath, "action", "mark-connection")
	r.remove(manglePath, "action", "mark-routing")
	if len(r.Router.Rows("/routing/table")) > 0 {
		r.remove("/routing/table", "name", "vpn")
	}
}

// gatewayTroubles are those of the VPN gateway.
func gatewayTroubles() []trouble {
	answering := func(code natpmp.ResultCode) (provoke, mend func(*rig)) {
		set := func(code natpmp.ResultCode) func(*rig) {
			return func(r *rig) {
				r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Result = code })
			}
		}
		return set(code), set(natpmp.ResultSuccess)
	}
	list := []trouble{
		{
			name: "refused", probe: "gateway", level: check.Fail, kind: remedy.KindRefused, text: "make a key with NAT-PMP",
			provoke: func(r *rig) { r.Gateway.Refuse(true); time.Sleep(time.Second) },
			mend:    func(r *rig) { r.Gateway.Refuse(false); time.Sleep(time.Second) },
		},
		{
			name: "silent", probe: "gateway", level: check.Fail, kind: remedy.KindSilent, text: "tunnel's address",
			provoke: func(r *rig) { r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = true }) },
			mend:    func(r *rig) { r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = false }) },
		},
		{
			name: "address of nowhere", probe: "gateway", level: check.Fail, kind: remedy.KindNoNetwork, text: "no public address",
			provoke: func(r *rig) { r.Gateway.SetAddress(netip.IPv4Unspecified()) },
			mend:    func(r *rig) { r.Gateway.SetAddress(netip.MustParseAddr("5.6.7.8")) },
		},
		{
			name: "private address", probe: "address", level: check.Warn, kind: check.KindPrivate, text: "behind another NAT",
			provoke: func(r *rig) { r.Gateway.SetAddress(netip.MustParseAddr("100.64.3.4")) },
			mend:    func(r *rig) { r.Gateway.SetAddress(netip.MustParseAddr("5.6.7.8")) },
		},
		{
			name: "the router's own address", probe: "address", level: check.Fail, kind: check.KindOwnAddress, text: "the route to it",
			provoke: func(r *rig) { r.Gateway.SetAddress(netip.MustParseAddr(routerostest.WANAddress)) },
			mend:    func(r *rig) { r.Gateway.SetAddress(netip.MustParseAddr("5.6.7.8")) },
		},
	}
	for code, kind := range map[natpmp.ResultCode]remedy.Kind{
		natpmp.ResultUnsupportedVersion: remedy.KindNotNATPMP, natpmp.ResultNotAuthorized: remedy.KindNotAuthorized,
		natpmp.ResultNetworkFailure: remedy.KindNoNetwork, natpmp.ResultOutOfResources: remedy.KindNoPorts,
		natpmp.ResultUnsupportedOpcode: remedy.KindNotNATPMP,
	} {
		provoke, mend := answering(code)
		list = append(list, trouble{
			name: "result: " + code.String(), probe: "gateway", level: check.Fail, kind: kind, text: code.String(),
			provoke: provoke, mend: mend,
		})
	}
	return list
}

// TestFindings provokes each trouble. The doctor has to see it and nothing else,
// and to see nothing once its remedy was applied.
func TestFindings(t *testing.T) {
	t.Parallel()
	for _, group := range [][]trouble{routerTroubles(), requestTroubles(), packetTroubles(), gatewayTroubles()} {
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
	if found[0].Advice.Text == "" {
		t.Error("there is no remedy")
	}
	if tt.mend != nil {
		tt.mend(r)
	} else {
		r.obey(found[0].Advice.Commands)
	}
	for _, f := range wrong(r.check()) {
		t.Errorf("after the remedy: %s: %s (%s)", f.Probe, f.Seen, f.Advice)
	}
}
