package check_test

import (
	"net/netip"
	"time"

	"doublenat/internal/check"
	"doublenat/internal/remedy"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// packetTroubles are those on the way of mapped packets, and back.
func packetTroubles() []trouble {
	return []trouble{
		{
			name: "dropped", probe: "filter", level: check.Fail, kind: check.KindDropped, text: "place-before",
			provoke: func(r *rig) { r.add(filterPath, "chain=forward action=drop in-interface=wg1", "") },
		},
		{
			name: "everything else dropped", beside: []string{"late"}, probe: "filter", level: check.Fail, kind: check.KindDropped, text: "drops packets from wg1",
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
			name: "dropped in a chain", beside: []string{"late"}, probe: "filter", level: check.Fail, kind: check.KindDropped, text: "place-before",
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
			name: "ports taken", probe: "ports", level: check.Fail, kind: remedy.KindTaken, text: "the NAT rule *D (everything, dynamic) takes them for tcp",
			provoke: func(r *rig) {
				r.add(natPath, "chain=dstnat action=dst-nat to-addresses=192.168.88.7 protocol=tcp dst-port=!22 in-interface=wg1 comment=everything dynamic=true", "")
			},
			mend: func(r *rig) { r.remove(natPath, "comment", "everything") },
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
			name: "no route for the mark", probe: "replies", level: check.Fail, kind: check.KindAstray, text: "/ip route add dst-address=0.0.0.0/0 gateway=wg1 routing-table=vpn",
			provoke: func(r *rig) { r.remove("/ip/route", "routing-table", "vpn") },
		},
		{
			name: "no policy routing at all", probe: "replies", level: check.Fail, kind: check.KindAstray, text: "/routing table add name=doublenat fib",
			provoke: func(r *rig) { bare(r, "routing-table") },
		},
		{
			name: "no policy routing on RouterOS 6", version: "6.49", probe: "replies", level: check.Fail, kind: check.KindAstray, text: "routing-mark=doublenat",
			provoke: func(r *rig) { bare(r, "routing-mark") },
		},
		{
			name: "routing mark for some", probe: "replies", level: check.Fail, kind: check.KindAstray, text: "of some clients",
			provoke: func(r *rig) { r.markPlainly("src-address=192.168.88.10") },
		},
		{
			name: "routing mark for a list of names", probe: "replies", level: check.Warn, kind: check.KindUnsure, text: "mark what comes in by wg1",
			provoke: func(r *rig) {
				r.add("/ip/firewall/address-list", "list=vpn address=tv.home.arpa", "")
				r.markPlainly("src-address-list=vpn")
			},
		},
		{
			name: "routing mark for another network", probe: "replies", level: check.Fail, kind: check.KindAstray, text: "leave through ether1",
			provoke: func(r *rig) { r.markPlainly("src-address=192.168.89.0/24") },
		},
		{
			name: "routing mark to the wrong table", probe: "replies", level: check.Fail, kind: check.KindAstray, text: "leave through ether1",
			provoke: func(r *rig) {
				r.markPlainly("src-address=192.168.88.0/24")
				r.set(manglePath, "src-address", "192.168.88.0/24", routerostest.Row{"new-routing-mark": "main"})
			},
		},
		{
			name: "routing mark for new connections", probe: "replies", level: check.Fail, kind: check.KindAstray, text: "leave through ether1",
			provoke: func(r *rig) { r.markPlainly("connection-state=new") },
		},
		{
			name: "fasttrack past a routing mark", probe: "fasttrack", level: check.Fail, kind: check.KindFastTrack, text: "out-interface=!wg1",
			provoke: func(r *rig) {
				r.markPlainly("src-address=192.168.88.0/24")
				r.add(filterPath, "chain=forward action=fasttrack-connection connection-state=established,related", r.id(filterPath, "chain", "forward"))
			},
		},
		{
			name: "fasttrack of the tunnel", probe: "fasttrack", level: check.Fail, kind: check.KindFastTrack, text: "/ip firewall filter disable",
			provoke: func(r *rig) {
				r.markPlainly("src-address=192.168.88.0/24")
				r.add(filterPath, "chain=forward action=fasttrack-connection in-interface=wg1", r.id(filterPath, "chain", "forward"))
			},
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
				r.add("/ip/firewall/address-list", "list=fast address=fast.home.arpa", "")
				r.add(filterPath, "chain=forward action=fasttrack-connection src-address-list=fast",
					r.id(filterPath, "chain", "forward"))
			},
		},
		{
			name: "a rule without its interface", probe: "rules", level: check.Warn, kind: check.KindStrays, text: "/ip firewall nat remove",
			provoke: func(r *rig) {
				r.serve()
				for _, ours := range r.OurRules("default") {
					if err := r.Router.Set(natPath, ours[".id"], routerostest.Row{"in-interface": "*C", "invalid": "true"}); err != nil {
						r.t.Fatal(err)
					}
				}
				r.Kill() // A clean stop would remove it.
			},
		},
	}
}

// markPlainly has packets of the LAN marked one by one, in place of connections, but
// for requests of NAT-PMP. Limit is what the rule asks of them.
func (r *rig) markPlainly(limit string) {
	r.t.Helper()
	r.add(manglePath, "chain=prerouting action=accept protocol=udp dst-port=5351 dst-address-type=local in-interface-list=LAN", "")
	r.remove(manglePath, "action", "mark-connection")
	r.remove(manglePath, "action", "mark-routing")
	r.add(manglePath, "chain=prerouting action=mark-routing new-routing-mark=vpn passthrough=no in-interface=bridge "+limit, "")
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
			name: "silent", probe: "gateway", level: check.Fail, kind: remedy.KindSilent, text: "/ip firewall nat add chain=srcnat action=masquerade out-interface=wg1",
			provoke: func(r *rig) { r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = true }) },
			mend:    func(r *rig) { r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = false }) },
		},
		{
			name: "address of nowhere", probe: "gateway", level: check.Fail, kind: remedy.KindNoNetwork, text: "no public address",
			provoke: func(r *rig) { r.Gateway.SetAddress(netip.IPv4Unspecified()) },
			mend:    func(r *rig) { r.Gateway.SetAddress(netip.MustParseAddr("5.6.7.8")) },
		},
		{
			name: "address that cannot be", probe: "gateway", level: check.Fail, kind: remedy.KindNoNetwork, text: "255.255.255.255 cannot be a public one",
			provoke: func(r *rig) { r.Gateway.SetAddress(netip.MustParseAddr("255.255.255.255")) },
			mend:    func(r *rig) { r.Gateway.SetAddress(netip.MustParseAddr("5.6.7.8")) },
		},
		{
			name: "private address", probe: "address", level: check.Warn, kind: check.KindPrivate, text: "a third NAT",
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
