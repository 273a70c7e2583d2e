package check_test

import (
	"net/netip"
	"strings"

	"doublenat/internal/check"
	"doublenat/internal/remedy"
	"doublenat/routeros/routerostest"
)

const (
	rulePath  = "/routing/rule"
	routePath = "/ip/route"
	rawPath   = "/ip/firewall/raw"
	listPath  = "/ip/firewall/address-list"
)

// style is a way to set a router up that people publish, and what the doctor has to
// say of it.
type style struct {
	name    string
	version string
	// build makes it from a router that has a LAN, a provider, a tunnel with a table of
	// its own, and a redirect to doublenat on a veth, but no policy routing.
	build func(r *rig)
	// kinds are what is wrong with it, in the order in which it is told; nil if it works.
	kinds []remedy.Kind
	// mend does what no command can. Nil is nothing.
	mend func(r *rig)
	// clients are the hosts whose ports have to be reachable in the end; nil is 192.168.88.10.
	clients []string
}

// plain takes the policy routing of the test router away.
func (r *rig) plain() {
	r.t.Helper()
	path := rulePath
	if len(r.Router.Rows(path)) == 0 {
		path = "/ip/route/rule"
	}
	for _, row := range r.Router.Rows(path) {
		if err := r.Router.Remove(path, row[".id"]); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, row := range r.Router.Rows(manglePath) {
		if err := r.Router.Remove(manglePath, row[".id"]); err != nil {
			r.t.Fatal(err)
		}
	}
}

// rows adds rows, a line of a path and "name=value" words each, in which _ is a blank.
func (r *rig) rows(text string) {
	r.t.Helper()
	for line := range strings.Lines(text) {
		path, words, _ := strings.Cut(strings.TrimSpace(line), " ")
		if path != "" {
			r.add(path, words, "")
		}
	}
}

// fresh removes the filter of the default world.
func (r *rig) fresh() {
	r.t.Helper()
	for _, row := range r.Router.Rows(filterPath) {
		if err := r.Router.Remove(filterPath, row[".id"]); err != nil {
			r.t.Fatal(err)
		}
	}
}

// marked leads replies back into the tunnel by a mark on their connection.
func (r *rig) marked() {
	r.rows(`
		/ip/firewall/mangle chain=prerouting action=mark-connection in-interface=wg1 connection-state=new new-connection-mark=vpn passthrough=true
		/ip/firewall/mangle chain=prerouting action=mark-routing in-interface=!wg1 connection-mark=vpn new-routing-mark=vpn passthrough=false`)
}

// advanced is MikroTik's "Building Advanced Firewall", as far as it is about IPv4
// without ICMP, with the tunnel in the list WAN.
const advanced = `
	/ip/firewall/address-list list=bad_ipv4 address=0.0.0.0/8
	/ip/firewall/address-list list=bad_ipv4 address=127.0.0.0/8
	/ip/firewall/address-list list=bad_ipv4 address=240.0.0.0/4
	/ip/firewall/address-list list=not_global_ipv4 address=0.0.0.0/8
	/ip/firewall/address-list list=not_global_ipv4 address=10.0.0.0/8
	/ip/firewall/address-list list=not_global_ipv4 address=172.16.0.0/12
	/ip/firewall/address-list list=not_global_ipv4 address=192.168.0.0/16
	/ip/firewall/address-list list=bad_src_ipv4 address=224.0.0.0/4
	/ip/firewall/address-list list=bad_dst_ipv4 address=0.0.0.0/8
	/ip/firewall/address-list list=no_forward_ipv4 address=169.254.0.0/16
	/ip/firewall/address-list list=no_forward_ipv4 address=224.0.0.0/4
	/ip/firewall/raw chain=prerouting action=drop src-address-list=bad_ipv4
	/ip/firewall/raw chain=prerouting action=drop dst-address-list=bad_ipv4
	/ip/firewall/raw chain=prerouting action=drop src-address-list=bad_src_ipv4
	/ip/firewall/raw chain=prerouting action=drop dst-address-list=bad_dst_ipv4
	/ip/firewall/raw chain=prerouting action=drop src-address-list=not_global_ipv4 in-interface-list=WAN
	/ip/firewall/raw chain=prerouting action=drop dst-address=192.168.88.0/24 in-interface-list=WAN
	/ip/firewall/raw chain=prerouting action=drop in-interface-list=LAN src-address=!192.168.88.0/24
	/ip/firewall/raw chain=prerouting action=drop port=0 protocol=udp
	/ip/firewall/raw chain=prerouting action=jump jump-target=icmp4 protocol=icmp
	/ip/firewall/raw chain=prerouting action=jump jump-target=bad_tcp protocol=tcp
	/ip/firewall/raw chain=prerouting action=accept in-interface-list=LAN
	/ip/firewall/raw chain=prerouting action=accept in-interface-list=WAN
	/ip/firewall/raw chain=prerouting action=drop comment=drop_the_rest
	/ip/firewall/raw chain=bad_tcp action=drop protocol=tcp tcp-flags=!fin,!syn,!rst,!ack
	/ip/firewall/raw chain=bad_tcp action=drop protocol=tcp tcp-flags=fin,syn
	/ip/firewall/raw chain=bad_tcp action=drop protocol=tcp tcp-flags=fin,rst
	/ip/firewall/raw chain=bad_tcp action=drop protocol=tcp tcp-flags=fin,!ack
	/ip/firewall/raw chain=bad_tcp action=drop protocol=tcp tcp-flags=fin,urg
	/ip/firewall/raw chain=bad_tcp action=drop protocol=tcp tcp-flags=syn,rst
	/ip/firewall/raw chain=bad_tcp action=drop protocol=tcp tcp-flags=rst,urg
	/ip/firewall/raw chain=bad_tcp action=drop protocol=tcp port=0
	/ip/firewall/filter chain=input action=accept protocol=icmp
	/ip/firewall/filter chain=input action=accept connection-state=established,related,untracked
	/ip/firewall/filter chain=input action=drop in-interface-list=!LAN
	/ip/firewall/filter chain=forward action=accept connection-state=established,related,untracked
	/ip/firewall/filter chain=forward action=drop connection-state=invalid
	/ip/firewall/filter chain=forward action=drop connection-nat-state=!dstnat connection-state=new in-interface-list=WAN
	/ip/firewall/filter chain=forward action=drop src-address-list=no_forward_ipv4
	/ip/firewall/filter chain=forward action=drop dst-address-list=no_forward_ipv4`

// dropAll is a forward chain that ends in "drop everything else".
const dropAll = `
	/ip/firewall/filter chain=input action=accept connection-state=established,related,untracked
	/ip/firewall/filter chain=input action=drop connection-state=invalid
	/ip/firewall/filter chain=input action=accept in-interface-list=LAN
	/ip/firewall/filter chain=input action=drop
	/ip/firewall/filter chain=forward action=accept connection-state=established,related,untracked
	/ip/firewall/filter chain=forward action=drop connection-state=invalid
	/ip/firewall/filter chain=forward action=accept in-interface-list=LAN out-interface-list=WAN
	/ip/firewall/filter chain=forward action=accept connection-nat-state=dstnat in-interface-list=WAN
	/ip/firewall/filter chain=forward action=drop`

// notInternet is MikroTik's "Building Your First Firewall".
const notInternet = `
	/ip/firewall/address-list list=not_in_internet address=10.0.0.0/8
	/ip/firewall/address-list list=not_in_internet address=172.16.0.0/12
	/ip/firewall/address-list list=not_in_internet address=192.168.0.0/16
	/ip/firewall/address-list list=not_in_internet address=100.64.0.0/10
	/ip/firewall/filter chain=forward action=accept connection-state=established,related
	/ip/firewall/filter chain=forward action=drop connection-state=invalid
	/ip/firewall/filter chain=forward action=drop dst-address-list=not_in_internet in-interface=bridge out-interface=!bridge log=true
	/ip/firewall/filter chain=forward action=drop connection-nat-state=!dstnat in-interface=ether1 log=true
	/ip/firewall/filter chain=forward action=drop src-address-list=not_in_internet in-interface=ether1 log=true
	/ip/firewall/filter chain=forward action=drop in-interface=bridge src-address=!192.168.88.0/24 log=true`

// styles are those of which facts and published configurations tell.
func styles() []style {
	return []style{
		{name: "main route", build: func(r *rig) {
			r.set(routePath, "gateway", "198.51.100.1", routerostest.Row{"dst-address": "5.6.7.0/24"})
			r.add(routePath, "dst-address=0.0.0.0/0 gateway=wg1 static=true distance=1 routing-table=main", "")
		}},
		{name: "rule by source", kinds: []remedy.Kind{check.KindRequests}, build: func(r *rig) {
			r.add(rulePath, "src-address=192.168.88.0/24 action=lookup table=vpn comment=LAN", "")
		}},
		{name: "rule by source on RouterOS 6", version: "6.49", kinds: []remedy.Kind{check.KindRequests}, build: func(r *rig) {
			r.add("/ip/route/rule", "src-address=192.168.88.0/24 action=lookup table=vpn", "")
		}},
		{name: "rule by interface", kinds: []remedy.Kind{check.KindRequests}, build: func(r *rig) {
			r.add(rulePath, "interface=bridge action=lookup-only-in-table table=vpn", "")
		}},
		{name: "rule for everything but local networks", build: func(r *rig) {
			r.add(rulePath, "min-prefix=0 action=lookup table=main", "")
			r.add(rulePath, "src-address=192.168.88.0/24 action=lookup-only-in-table table=vpn", "")
		}},
		{name: "rule for the doublenat host too", kinds: []remedy.Kind{check.KindRequests, check.KindRequests}, build: func(r *rig) {
			r.add(rulePath, "dst-address=192.168.88.0/24 action=lookup table=vpn", "")
			r.add(rulePath, "src-address=192.168.88.0/24 action=lookup table=vpn", "")
			r.add(rulePath, "src-address=172.16.0.0/12 action=lookup table=vpn", "")
		}},
		{name: "by mark", kinds: []remedy.Kind{check.KindRequests}, build: func(r *rig) {
			r.add(manglePath, "chain=prerouting action=mark-routing in-interface=bridge new-routing-mark=vpn passthrough=true", "")
		}},
		{name: "by mark on RouterOS 6", version: "6.49", kinds: []remedy.Kind{check.KindRequests}, build: func(r *rig) {
			r.add(manglePath, "chain=prerouting action=mark-routing src-address=192.168.88.0/24 new-routing-mark=vpn passthrough=false", "")
		}},
		{name: "some hosts by mark", kinds: []remedy.Kind{check.KindRequests, check.KindAstray}, clients: []string{"192.168.88.10", "192.168.88.50"}, build: func(r *rig) {
			r.add(listPath, "list=vpn address=192.168.88.10", "")
			r.add(manglePath, "chain=prerouting action=mark-routing src-address-list=vpn new-routing-mark=vpn passthrough=true", "")
		}},
		{name: "mangle that accepts first", kinds: []remedy.Kind{check.KindAstray}, build: func(r *rig) {
			r.add(manglePath, "chain=prerouting action=accept connection-state=established,related", "")
			r.marked()
		}},
		{
			name: "advanced firewall with raw", kinds: []remedy.Kind{check.KindRequests, check.KindAPI, check.KindUpstream},
			build: func(r *rig) {
				r.marked()
				r.fresh()
				r.rows(advanced)
			},
		},
		{
			name: "drop-all forward", kinds: []remedy.Kind{check.KindRequests, check.KindLate, check.KindAPI, check.KindUpstream},
			build: func(r *rig) {
				r.marked()
				r.fresh()
				r.rows(dropAll)
			},
		},
		{name: "drop what is not public", kinds: []remedy.Kind{check.KindRequests}, build: func(r *rig) {
			r.marked()
			r.fresh()
			r.rows(notInternet)
		}},
		{name: "lists of 100,000 rows", build: func(r *rig) {
			r.marked()
			r.blocklist()
		}},
		{name: "lists of 100,000 rows with private networks", kinds: []remedy.Kind{check.KindUpstream}, build: func(r *rig) {
			r.marked()
			r.blocklist()
			r.add(listPath, "list=blocked address=10.0.0.0/8", "")
		}},
		{name: "FastTrack", kinds: []remedy.Kind{check.KindFastTrack}, build: func(r *rig) {
			r.marked()
			r.add(filterPath, "chain=forward action=fasttrack-connection connection-state=established,related hw-offload=true",
				r.id(filterPath, "chain", "forward"))
		}},
		{name: "no list LAN", build: func(r *rig) {
			r.marked()
			r.noLists()
			r.set(natPath, "dst-port", "5351", routerostest.Row{"in-interface-list": "", "in-interface": "bridge"})
		}},
		{name: "no list LAN, nothing redirected", kinds: []remedy.Kind{check.KindNoRedirect}, build: func(r *rig) {
			r.marked()
			r.noLists()
			r.remove(natPath, "dst-port", "5351")
		}},
		{
			name: "docker host", kinds: []remedy.Kind{check.KindRequests, check.KindLate, check.KindAPI, check.KindUpstream},
			build: func(r *rig) {
				r.marked()
				r.dockerHost("192.168.50.1/24", "192.168.50.2")
				r.rows(`
					/ip/firewall/filter chain=forward action=drop in-interface=ether3 out-interface=!ether1
					/ip/firewall/filter chain=forward action=drop in-interface=bridge out-interface=ether3`)
			},
		},
		{
			name: "docker host in the LAN", kinds: []remedy.Kind{check.KindSameNetwork, check.KindLate},
			build: func(r *rig) {
				r.marked()
				r.set(natPath, "dst-port", "5351", routerostest.Row{"to-addresses": "192.168.88.5"})
			},
			mend: func(r *rig) { r.dockerHost("192.168.50.1/24", "192.168.50.2") },
		},
		{name: "container on veth", build: func(r *rig) { r.marked() }},
		{
			name: "container as bridge port", kinds: []remedy.Kind{check.KindSameNetwork},
			build: func(r *rig) {
				r.marked()
				r.remove("/ip/address", "interface", "veth1")
				r.set("/interface/veth", "name", "veth1", routerostest.Row{"address": "192.168.88.5/24", "gateway": "192.168.88.1"})
				r.add("/interface/bridge/port", "bridge=bridge interface=veth1", "")
				r.set(natPath, "dst-port", "5351", routerostest.Row{"to-addresses": "192.168.88.5"})
				r.remove(natPath, "src-port", "5351")
				r.add(natPath, "chain=srcnat action=masquerade protocol=udp src-port=5351 src-address=192.168.88.5", "")
			},
		},
	}
}

// blocklist drops what comes from or goes to a hundred thousand hosts.
func (r *rig) blocklist() {
	r.t.Helper()
	r.fill(listPath, many(100_000), func(i int) routerostest.Row {
		return routerostest.Row{"list": "blocked", "address": public(i).String()}
	})
	r.rows(`
		/ip/firewall/raw chain=prerouting action=drop src-address-list=blocked in-interface-list=WAN
		/ip/firewall/raw chain=prerouting action=drop dst-address-list=blocked in-interface-list=LAN`)
}

// noLists takes the interface lists away, and the rules that ask for them.
func (r *rig) noLists() {
	r.t.Helper()
	r.fresh()
	r.set(natPath, "action", "masquerade", routerostest.Row{"out-interface-list": "", "out-interface": "wg1"})
	for _, path := range []string{natPath} {
		for _, row := range r.Router.Rows(path) {
			if row["out-interface-list"] == "LAN" {
				r.set(path, ".id", row[".id"], routerostest.Row{"out-interface-list": "", "out-interface": "bridge"})
			}
			if row["in-interface-list"] == "LAN" {
				r.set(path, ".id", row[".id"], routerostest.Row{"in-interface-list": "", "in-interface": "bridge"})
			}
		}
	}
	for _, list := range []string{"LAN", "WAN"} {
		r.remove("/interface/list", "name", list)
	}
}

// dockerHost moves doublenat to a host on ether3.
func (r *rig) dockerHost(router, host string) {
	r.t.Helper()
	prefix := netip.MustParsePrefix(router)
	r.set("/interface", "name", "ether3", routerostest.Row{"running": "true", "slave": "false"})
	r.add("/ip/address", "address="+router+" network="+prefix.Masked().Addr().String()+" interface=ether3 actual-interface=ether3", "")
	r.add(routePath, "dst-address="+prefix.Masked().String()+" gateway=ether3 distance=0 scope=10 connect=true dynamic=true routing-table=main", "")
	r.set(natPath, "dst-port", "5351", routerostest.Row{"to-addresses": host})
	r.set(natPath, "src-port", "5351", routerostest.Row{"src-address": host})
}
