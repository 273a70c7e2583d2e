package routerostest

import (
	"strconv"
	"strings"
	"time"
)

// The parts of the default world. The addresses are those of the end to end
// tests, so that the same configuration fits both.
const (
	// LANAddress is the router in its LAN, on [LANInterface].
	LANAddress = "192.168.88.1"
	// LANInterface is the bridge of the LAN.
	LANInterface = "bridge"
	// WANAddress is the router's address at the provider, on [WANInterface].
	WANAddress = "198.51.100.2"
	// WANInterface is the port towards the provider.
	WANInterface = "ether1"
	// TunnelAddress is the router's address in the tunnel, on [TunnelInterface].
	TunnelAddress = "10.2.0.2"
	// TunnelInterface is the tunnel to the VPN gateway: WireGuard, or L2TP on RouterOS 6.
	TunnelInterface = "wg1"
	// GatewayAddress is the VPN gateway at the other end of the tunnel.
	GatewayAddress = "10.2.0.1"
	// ContainerAddress is where doublenat runs, on a routed veth.
	ContainerAddress = "172.30.254.2"

	// AdminUser has all policies.
	AdminUser = "admin"
	// AdminPassword is the password of AdminUser.
	AdminPassword = "correct horse"
	// LeastUser has read, write, api and test, and nothing else.
	LeastUser = "doublenat"
	// LeastPassword is the password of LeastUser.
	LeastPassword = "battery staple"
)

// furnish fills the tables with the default world.
func (r *Router) furnish() {
	r.furnishNetwork()
	r.furnishFirewall()
	r.furnishSystem()
	r.refreshRoutesLocked()
	for _, t := range r.tables {
		for _, it := range t.items {
			it.added = time.Time{} // older than any reboot can lose
		}
	}
	r.natChanges = 0
}

// put adds a row given as "name=value" words; an underscore stands for a blank.
// A table that the version has not is passed over.
func (r *Router) put(path, words string) {
	t := r.tables[path]
	if t == nil {
		return
	}
	row := make(Row)
	for word := range strings.FieldsSeq(words) {
		name, value, _ := strings.Cut(word, "=")
		row[name] = strings.ReplaceAll(value, "_", " ")
	}
	t.insert(t.newItem(time.Time{}, row), -1)
}

// furnishNetwork makes interfaces, addresses and routes.
func (r *Router) furnishNetwork() {
	tunnelType, tunnelMTU := "wg", " mtu=1420 actual-mtu=1420"
	if !r.behavior.wireGuard {
		tunnelType = "l2tp-out"
	}
	const traffic = " rx-byte=123456789 tx-byte=987654321"
	r.put("/interface", "name=ether1 default-name=ether1 type=ether l2mtu=1598 mac-address=48:A9:8A:00:00:01"+traffic)
	r.put("/interface", "name=ether2 default-name=ether2 type=ether l2mtu=1598 mac-address=48:A9:8A:00:00:02 slave=true"+traffic)
	r.put("/interface", "name=ether3 default-name=ether3 type=ether l2mtu=1598 mac-address=48:A9:8A:00:00:03 slave=true running=false")
	r.put("/interface", "name=bridge type=bridge l2mtu=1598 mac-address=48:A9:8A:00:00:02"+traffic)
	r.put("/interface", "name="+TunnelInterface+" type="+tunnelType+tunnelMTU+traffic)
	r.put("/interface/wireguard", "name="+TunnelInterface+" listen-port=13231 private-key=cHJpdmF0ZQ== public-key=cHVibGlj")
	r.put("/interface", "name=veth1 type=veth mac-address=48:A9:8A:00:00:10")
	r.put("/interface/veth", "name=veth1 address="+ContainerAddress+"/30 gateway=172.30.254.1")

	for _, name := range []string{"all", "none", "dynamic", "static"} {
		r.put("/interface/list", "builtin=true name="+name)
	}
	r.put("/interface/list", "name=WAN comment=defconf")
	r.put("/interface/list", "name=LAN comment=defconf")
	r.put("/interface/list/member", "list=LAN interface=bridge comment=defconf")
	r.put("/interface/list/member", "list=WAN interface=ether1 comment=defconf")
	r.put("/interface/list/member", "list=WAN interface="+TunnelInterface)

	address := func(prefix, network, name string) {
		r.put("/ip/address", "address="+prefix+" network="+network+" interface="+name+" actual-interface="+name)
	}
	address(LANAddress+"/24", "192.168.88.0", LANInterface)
	address(WANAddress+"/30", "198.51.100.0", WANInterface)
	address(TunnelAddress+"/32", TunnelAddress, TunnelInterface)
	address("172.30.254.1/30", "172.30.254.0", "veth1")

	main, vpn := " routing-table=main", " routing-table=vpn"
	if !r.behavior.immediateGateway {
		main, vpn = "", " routing-mark=vpn"
	}
	r.put("/routing/table", "name=main fib= dynamic=true")
	r.put("/routing/table", "name=vpn fib=")
	r.put("/ip/route", "dst-address=0.0.0.0/0 gateway=198.51.100.1 static=true dynamic=false"+main)
	r.put("/ip/route", "dst-address="+GatewayAddress+"/32 gateway="+TunnelInterface+" static=true dynamic=false"+main)
	r.put("/ip/route", "dst-address=0.0.0.0/0 gateway="+TunnelInterface+" static=true dynamic=false"+vpn)
	if !r.behavior.immediateGateway {
		r.tables["/ip/route"].lastID = 0x30000000
	}
	connected := [][2]string{
		{"192.168.88.0/24", LANInterface},
		{"198.51.100.0/30", WANInterface},
		{TunnelAddress + "/32", TunnelInterface},
		{"172.30.254.0/30", "veth1"},
	}
	for _, c := range connected {
		r.put("/ip/route", "dst-address="+c[0]+" gateway="+c[1]+" distance=0 scope=10 connect=true dynamic=true"+main)
	}
}

// furnishFirewall makes the rules of other people. The third but last NAT rule
// was written by hand after the fashion of doublenat's own.
func (r *Router) furnishFirewall() {
	nat := func(words string) { r.put(natPath, words) }
	nat("chain=dstnat action=dst-nat to-addresses=192.168.88.77 to-ports=32400 protocol=tcp in-interface=ether1 dst-port=32400 " +
		"dynamic=true comment=upnp_192.168.88.77:_Plex_Media_Server")
	nat("chain=srcnat action=masquerade out-interface-list=WAN comment=defconf:_masquerade")
	nat("chain=dstnat action=dst-nat to-addresses=" + ContainerAddress + " protocol=udp dst-address-type=local in-interface-list=LAN " +
		"dst-port=5351 comment=NAT-PMP_for_the_LAN")
	nat("chain=dstnat action=dst-nat to-addresses=192.168.88.20 to-ports=22 protocol=tcp in-interface=wg1 dst-port=2222 comment=ssh_to_nas")
	nat("chain=dstnat action=dst-nat to-addresses=192.168.88.21 protocol=tcp in-interface=wg1 dst-port=80,443,8443 comment=web")
	nat("chain=dstnat action=dst-nat to-addresses=192.168.88.22 protocol=udp in-interface=wg1 dst-port=50000-50010,51000 comment=voice")
	nat("chain=dstnat action=dst-nat to-addresses=192.168.88.23 to-ports=8000 protocol=tcp in-interface=!ether1 dst-address=10.2.0.2 dst-port=8000")
	nat("chain=dstnat action=dst-nat to-addresses=192.168.88.24 to-ports=25565 protocol=tcp in-interface=wg1 dst-port=25565 disabled=true " +
		"comment=Minecraft_(off)")
	nat("chain=dstnat action=dst-nat to-addresses=192.168.88.25 to-ports=6881 protocol=tcp in-interface=wg1 dst-port=40999 " +
		"comment=doublenat:default_tcp_192.168.88.25:6881_inner=40999_ext=40999_life=3600_(mine)")
	nat("chain=dstnat action=redirect to-ports=53 protocol=udp in-interface=bridge dst-port=53 comment=dns")
	nat("chain=dstnat action=dst-nat to-addresses=192.168.88.26 to-ports=3389 protocol=tcp dst-address-list=WAN-IP dst-port=3389 " +
		"log=true log-prefix=rdp comment=INNER_RDP")

	nat("chain=srcnat action=masquerade protocol=udp src-port=5351 src-address=" + ContainerAddress + " out-interface-list=LAN " +
		"comment=NAT-PMP_from_doublenat")

	r.put("/ip/firewall/address-list", "list=WAN-IP address="+WANAddress+" creation-time=2026-01-01_00:00:00")

	filter := func(words string) { r.put("/ip/firewall/filter", words) }
	filter("chain=input action=accept connection-state=established,related,untracked comment=defconf")
	filter("chain=input action=drop connection-state=invalid comment=defconf")
	filter("chain=input action=accept in-interface=veth1 protocol=tcp dst-port=8728 comment=doublenat_to_the_API")
	filter("chain=input action=drop in-interface-list=!LAN comment=defconf:_drop_all_not_coming_from_LAN")
	filter("chain=forward action=accept connection-state=established,related,untracked comment=defconf")
	filter("chain=forward action=drop connection-state=invalid comment=defconf")
	filter("chain=forward action=drop connection-state=new connection-nat-state=!dstnat in-interface-list=WAN " +
		"comment=defconf:_drop_all_from_WAN_not_DSTNATed")

	mangle := func(words string) { r.put("/ip/firewall/mangle", words) }
	mangle("chain=prerouting action=mark-connection in-interface=wg1 connection-state=new new-connection-mark=vpn passthrough=true comment=from_the_tunnel")
	mangle("chain=prerouting action=mark-routing in-interface=!wg1 connection-mark=vpn new-routing-mark=vpn passthrough=false comment=back_into_the_tunnel")
	// Without the first rule the TV's requests, redirected to doublenat, would follow the second into the tunnel.
	for _, rule := range []string{
		"dst-address=" + ContainerAddress + "/32 action=lookup-only-in-table table=main comment=doublenat",
		"src-address=192.168.88.99/32 action=lookup table=vpn comment=TV",
	} {
		r.put("/routing/rule", rule)
		r.put("/ip/route/rule", rule)
	}

	r.put("/ip/firewall/connection", "protocol=tcp src-address=192.168.88.10:50123 dst-address=203.0.113.5:443 "+
		"reply-src-address=203.0.113.5:443 reply-dst-address=198.51.100.2:50123 tcp-state=established timeout=23h59m59s")
}

// furnishSystem makes services, users and the router itself.
func (r *Router) furnishSystem() {
	vrf := ""
	if r.behavior.wireGuard {
		vrf = " vrf=main"
	}
	services := []struct {
		name string
		port int
		off  bool
	}{{"telnet", 23, true}, {"ftp", 21, true}, {"www", 80, false}, {"ssh", 22, false}, {"www-ssl", 443, true}, {"api", apiPort, false}, {"winbox", 8291, false}, {"api-ssl", 8729, false}}
	for _, s := range services {
		words := "name=" + s.name + " port=" + strconv.Itoa(s.port) + vrf + " disabled=" + strconv.FormatBool(s.off)
		if strings.HasSuffix(s.name, "-ssl") {
			words += " certificate=none tls-version=any"
		}
		r.put("/ip/service", words)
	}

	r.put("/ip/ipsec/policy", "src-address=::/0 dst-address=::/0 template=true default=true")
	r.put("/ip/settings", "ip-forward=true send-redirects=true accept-source-route=false accept-redirects=false secure-redirects=true rp-filter=no "+
		"tcp-syncookies=false max-neighbor-entries=8192 arp-timeout=30s allow-fast-path=true")
	r.put("/ip/cloud", "ddns-enabled=false update-time=true public-address="+WANAddress)
	r.put("/ip/dns", "servers=198.51.100.1 dynamic-servers= allow-remote-requests=true cache-size=2048KiB")
	r.put("/ip/upnp", "enabled=false allow-disable-external-interface=false show-dummy-rule=true")
	r.put("/system/ntp/client", "enabled=false")
	r.put("/container/config", "tmpdir= registry-url=")
	r.put("/system/device-mode", "mode=advanced container=true")
	r.put(packagePath, "name=routeros version="+r.release)
	r.put(packagePath, "name=container version="+r.release)
	r.put(vrfPath, "name=main interfaces=all builtin=true")
	for _, port := range []string{"ether2", "ether3"} {
		r.put("/interface/bridge/port", "bridge=bridge interface="+port)
	}

	const all = "local,telnet,ssh,ftp,reboot,read,write,policy,test,winbox,password,web,sniff,sensitive,api,romon,rest-api"
	r.put("/user/group", "name=read policy=local,telnet,ssh,reboot,read,test,winbox,password,web,sniff,sensitive,api,romon,rest-api,!ftp,!write,!policy")
	r.put("/user/group", "name=write policy=local,telnet,ssh,reboot,read,write,test,winbox,password,web,sniff,sensitive,api,romon,rest-api,!ftp,!policy")
	r.put("/user/group", "name=full policy="+all)
	r.put("/user/group", "name=doublenat policy=read,write,api,test,!local,!telnet,!ssh,!ftp,!reboot,!policy,!winbox,!password,!web,!sniff,!sensitive,!romon,!rest-api")
	password := func(s string) string { return " password=" + strings.ReplaceAll(s, " ", "_") }
	r.put("/user", "name="+AdminUser+" group=full comment=system_default_user"+password(AdminPassword))
	r.put("/user", "name="+LeastUser+" group=doublenat"+password(LeastPassword))

	release := r.release
	if strings.Count(release, ".") == 1 && r.version < v701 {
		release += ".18"
	}
	channel := "_(stable)"
	if r.version < v701 {
		channel = "_(long-term)"
	}
	r.put("/system/resource", "version="+release+channel+" build-time=2026-01-15_09:32:10 free-memory=812531712 total-memory=1073741824 "+
		"cpu=ARM64 cpu-count=4 cpu-load=3 free-hdd-space=94371840 total-hdd-space=134217728 write-sect-since-reboot=0 "+
		"write-sect-total=0 architecture-name=arm64 board-name=hAP_ax^3 platform=MikroTik uptime=0s")
	r.put("/system/identity", "name=MikroTik")
	r.put("/system/clock", "time=00:00:00 date=2026-01-01 time-zone-autodetect=true time-zone-name=Etc/UTC gmt-offset=+00:00 dst-active=false")
	r.put("/ip/nat-pmp", "enabled=false")
}
