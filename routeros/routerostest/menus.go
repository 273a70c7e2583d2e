package routerostest

// networkMenus are interfaces and addresses.
func networkMenus(behavior) []*menu {
	iface := newMenu("/interface", "name default-name type mtu actual-mtu l2mtu mac-address rx-byte tx-byte", "running slave dynamic disabled comment").
		with("set enable disable comment").starting("mtu=1500 actual-mtu=1500 running=true disabled=false").
		taking(args(checkName, "name"), args(checkInteger, "mtu l2mtu"), flags(span{}, "disabled"), args(nil, "comment"))
	iface.named, iface.dropped = true, orphanInterface
	iface.printing("", args(nil, "oid stats stats-detail"))
	list := newMenu("/interface/list", "name include exclude", "builtin dynamic comment").with("add set remove comment").
		starting("include= exclude= builtin=false dynamic=false").only("name", "already have such entry").
		taking(require(args(checkName, "name")), args(nil, "include exclude comment"))
	list.named, list.dropped = true, orphanList
	member := newMenu("/interface/list/member", "list interface", "dynamic disabled comment").with("add set remove enable disable comment").
		starting("dynamic=false disabled=false").only("list interface", "already have such entry").
		taking(require(args(checkInterfaceList, "list")), require(args(checkInterface, "interface")), flags(span{}, "disabled"), args(nil, "comment"))
	wireGuard := newMenu("/interface/wireguard", "name mtu listen-port private-key public-key", "running disabled comment").
		with("add set remove enable disable comment").starting("mtu=1420 running=true disabled=false").
		only("name", "already have such entry").
		taking(require(args(checkName, "name")), args(checkInteger, "mtu listen-port"), flags(span{}, "disabled"), args(nil, "private-key comment"),
			argsIn(span{since: v721}, checkName, "vrf"))
	wireGuard.named, wireGuard.span, wireGuard.sensitive = true, span{since: v701}, "private-key"
	wireGuard.printing("brief", argsIn(span{since: v721}, nil, "show-sensitive"))
	wireGuard.added, wireGuard.dropped = addInterface("wg"), dropInterface
	address := newMenu("/ip/address", "address network interface actual-interface", "invalid dynamic disabled comment").
		with("add set remove enable disable comment").starting("invalid=false dynamic=false disabled=false").
		taking(require(args(checkAddress, "address")), require(args(checkInterface, "interface")), args(checkAddress, "network broadcast netmask"),
			flags(span{}, "disabled"), args(nil, "comment"))
	address.added, address.dropped = addConnected, dropConnected
	address.changed = func(r *Router, it *item) { dropConnected(r, it); addConnected(r, it) }
	arp := newMenu("/ip/arp", "address mac-address interface status", "complete published invalid dynamic disabled comment").
		with("add set remove enable disable comment").starting("complete=true dynamic=false published=false invalid=false disabled=false").
		taking(require(args(checkAddress, "address")), require(args(checkInterface, "interface")), args(checkName, "mac-address"),
			flags(span{}, "disabled published"), args(nil, "comment"))
	policy := newMenu("/ip/ipsec/policy", "peer tunnel src-address dst-address protocol action level template", "active dynamic default disabled comment").
		with("add set remove enable disable comment move").starting("protocol=all action=encrypt level=require disabled=false").
		taking(args(checkAddress, "src-address dst-address"), args(checkName, "protocol level peer group"), flags(span{}, "tunnel template disabled"),
			args(checkChoice("discard", "encrypt", "none"), "action"), args(nil, "comment"))
	return []*menu{iface, list, member, wireGuard, peers(), address, bridgePorts(), policy, arp}
}

// peers are those of WireGuard.
func peers() *menu {
	m := newMenu("/interface/wireguard/peers", "name interface public-key endpoint-address endpoint-port allowed-address preshared-key "+
		"persistent-keepalive rx tx last-handshake", "dynamic disabled comment").
		with("add set remove enable disable comment move").starting("dynamic=false disabled=false").
		taking(require(args(checkNamed("/interface/wireguard"), "interface")), require(args(checkName, "public-key")),
			args(nil, "endpoint-address comment preshared-key"), args(checkInteger, "endpoint-port"), args(checkName, "allowed-address"),
			args(checkDuration, "persistent-keepalive"), flags(span{}, "disabled"),
			argsIn(span{since: v712}, nil, "client-address client-dns client-endpoint client-keepalive client-listen-port private-key"),
			flags(span{since: v715, before: v717}, "is-responder"), argsIn(span{since: v715}, checkName, "name"),
			flags(span{since: v717}, "responder"), argsIn(span{since: v721}, nil, "client-allowed-address"))
	m.span, m.sensitive = span{since: v701}, "preshared-key"
	return m.printing("", argsIn(span{since: v721}, nil, "show-sensitive"))
}

// bridgePorts are the ports of bridges.
func bridgePorts() *menu {
	m := newMenu("/interface/bridge/port", "interface bridge pvid", "inactive dynamic disabled comment").printing("", args(nil, "debug stats")).
		with("add set remove enable disable comment move unset").starting("pvid=1 inactive=false dynamic=false disabled=false").
		taking(require(args(checkInterface, "bridge")), args(checkInterface, "interface"), flags(span{}, "disabled"), args(nil, "comment"),
			args(checkName, "auto-isolate bpdu-guard broadcast-flood edge fast-leave frame-types horizon hw ingress-filtering internal-path-cost learn "+
				"multicast-router path-cost point-to-point priority pvid restricted-role restricted-tcn tag-stacking trusted unknown-multicast-flood "+
				"unknown-unicast-flood"),
			argsIn(span{since: v715}, checkName, "mvrp-applicant-state mvrp-registrar-state"), argsIn(span{since: v722}, checkName, "trusted-ra"),
			argsIn(span{since: v723}, checkName, "trusted-dhcpv6"))
	m.spans = map[string]span{"unset": {since: v713}}
	return m
}

// systemMenus are the router's own services, settings and state.
func systemMenus(b behavior) []*menu {
	service := newMenu(servicePath, "name port proto address available-from certificate tls-version vrf max-sessions local remote",
		"dynamic connection disabled invalid").
		with("set enable disable").starting("address= disabled=false invalid=false").
		taking(flags(span{}, "disabled"), args(checkInteger, "port"), args(nil, "address tls-version"), args(checkCertificate, "certificate"),
			argsIn(span{since: v701}, checkName, "vrf"), argsIn(span{since: v716}, checkInteger, "max-sessions"),
			argsIn(span{since: v724}, nil, "available-from"))
	service.named = true
	if b.maxSessions {
		service.starting("max-sessions=20")
	}
	if b.connectionRows {
		service.starting("proto=tcp dynamic=false").sync = showConnections
	}
	menus := []*menu{service}
	for _, m := range []struct {
		path, fields string
		refresh      func(*Router, *item)
	}{
		{"/system/resource", "uptime version build-time free-memory total-memory cpu cpu-count cpu-load free-hdd-space total-hdd-space " +
			"write-sect-since-reboot write-sect-total architecture-name board-name platform", refreshResource},
		{"/system/identity", "name", nil},
		{"/system/clock", "time date time-zone-autodetect time-zone-name gmt-offset dst-active", refreshClock},
	} {
		single := newMenu(m.path, m.fields, "").single()
		single.refresh = m.refresh
		menus = append(menus, single)
	}
	menus = append(menus, chores()...)
	menus[1].printing("", args(nil, "oid"))
	menus[2].printing("", args(nil, "oid")).with("set").taking(args(checkName, "name"))
	menus[3].with("set").taking(args(checkName, "date time time-zone-name"), flags(span{}, "time-zone-autodetect"))
	return append(menus, settingMenus(b)...)
}

// chores are what the router does by itself, and what it wrote down. None of it runs here.
func chores() []*menu {
	scheduler := newMenu("/system/scheduler", "name start-date start-time interval on-event owner policy run-count", "disabled comment").
		with("add set remove enable disable comment unset").starting("interval=0s disabled=false").
		taking(require(args(checkName, "name")), args(checkDuration, "interval"), args(nil, "on-event comment policy"),
			args(checkName, "start-date start-time"), argsIn(span{since: v724}, checkName, "days"), flags(span{}, "disabled"))
	script := newMenu("/system/script", "name owner policy source run-count", "invalid comment").with("add set remove comment unset run").
		taking(require(args(checkName, "name")), args(nil, "source comment policy owner"), flags(span{}, "dont-require-permissions"))
	script.also("run", args(nil, "number"), argsIn(span{since: v715}, nil, "use-script-permissions"))
	for _, m := range []*menu{scheduler, script} {
		m.named, m.spans = true, map[string]span{"unset": {since: v724}}
	}
	log := newMenu("/log", "time topics message", "").printing("from", argsIn(span{since: v719}, nil, "with-extra-info"))
	return []*menu{scheduler, script, log}
}

// settingMenus have one row each.
func settingMenus(b behavior) []*menu {
	single := func(path, fields string, lists ...[]argument) *menu {
		return newMenu(path, fields, "").single().with("set").taking(lists...)
	}
	settings := single("/ip/settings", "ip-forward send-redirects accept-source-route accept-redirects secure-redirects rp-filter tcp-syncookies "+
		"max-neighbor-entries arp-timeout icmp-rate-limit icmp-rate-mask route-cache allow-fast-path ipv4-fast-path-active ipv4-fasttrack-active",
		flags(span{}, "accept-redirects accept-source-route allow-fast-path ip-forward secure-redirects send-redirects tcp-syncookies"),
		args(checkName, "arp-timeout icmp-rate-mask"), args(checkInteger, "icmp-rate-limit max-neighbor-entries"),
		args(checkChoice("no", "loose", "strict"), "rp-filter"), argsIn(span{since: v716}, checkName, "ipv4-multipath-hash-policy"),
		argsIn(span{since: v717}, checkName, "icmp-errors-use-inbound-interface-address tcp-timestamps"),
		argsIn(span{since: v723}, checkName, "ipv4-fragment-time ipv4-high-fragment-thresh"), flags(span{before: v713}, "route-cache"))
	cloud := single("/ip/cloud", "ddns-enabled ddns-update-interval update-time public-address dns-name status",
		args(checkChoice("yes", "no", "auto"), "ddns-enabled"), args(checkName, "ddns-update-interval"), flags(span{}, "update-time")).
		printing("", argsIn(span{since: v721}, nil, "show-sensitive")).
		doing("force-update", func(*Router, *table, *command) outcome { return done() })
	dns := single("/ip/dns", "servers dynamic-servers allow-remote-requests cache-size",
		args(nil, "servers use-doh-server"), flags(span{}, "allow-remote-requests verify-doh-cert"), args(checkName, "cache-max-ttl cache-size "+
			"doh-max-concurrent-queries doh-max-server-connections doh-timeout max-concurrent-queries max-concurrent-tcp-sessions "+
			"max-udp-packet-size query-server-timeout query-total-timeout"),
		argsIn(span{since: v710}, checkName, "address-list-extra-time"), argsIn(span{since: v715}, checkName, "vrf"),
		argsIn(span{since: v716}, nil, "mdns-repeat-ifaces"))
	ntp := single("/system/ntp/client", "enabled mode servers vrf primary-ntp secondary-ntp server-dns-names status", flags(span{}, "enabled"))
	if b.wireGuard {
		ntp.taking(args(checkName, "mode servers vrf"))
	} else {
		ntp.taking(args(checkAddress, "primary-ntp secondary-ntp"), args(checkName, "server-dns-names"))
	}
	natPMP := single("/ip/nat-pmp", "enabled", flags(span{}, "enabled"))
	natPMP.span = span{since: v713}
	upnp := single("/ip/upnp", "enabled allow-disable-external-interface show-dummy-rule",
		flags(span{}, "enabled allow-disable-external-interface show-dummy-rule"))
	names := newMenu("/ip/dns/static", "name address type ttl", "dynamic disabled comment").with("add set remove enable disable comment").
		starting("ttl=1d dynamic=false disabled=false").
		taking(args(checkName, "name regexp type cname forward-to text match-subdomain ttl"), args(checkAddress, "address"),
			flags(span{}, "disabled"), args(nil, "comment"))
	menus := []*menu{settings, cloud, dns, names, ntp, natPMP, upnp}
	for _, parent := range []*menu{natPMP, upnp} {
		m := newMenu(parent.path+"/interfaces", "interface type forced-ip", "disabled").with("add set remove enable disable unset").
			starting("disabled=false").taking(require(args(checkInterface, "interface")), require(args(checkChoice("internal", "external"), "type")),
			args(checkAddress, "forced-ip"), flags(span{}, "disabled"))
		m.span = parent.span
		menus = append(menus, m)
	}
	return menus
}

// userMenus are users and their rights.
func userMenus(b behavior) []*menu {
	user := newMenu("/user", "name group address inactivity-timeout inactivity-policy last-logged-in", "expired disabled comment").
		with("add set remove enable disable comment").starting("address= disabled=false").
		taking(require(args(checkName, "name")), require(args(checkNamed(groupPath), "group")),
			args(checkAddressOrNone, "address"), flags(span{}, "disabled"), args(nil, "password comment"),
			argsIn(span{since: v716}, checkChoice("none", "lockscreen", "logout"), "inactivity-policy"),
			argsIn(span{since: v716}, checkDuration, "inactivity-timeout"))
	user.printing("", argsIn(span{since: v721}, nil, "show-sensitive"))
	user.named, user.secret, user.policy = true, "password", "policy"
	user.only("name", "user with the same name already exists")
	if b.maxSessions {
		user.starting("inactivity-timeout=10m inactivity-policy=none")
	}
	group := newMenu(groupPath, "name policy skin", "comment").with("add set remove comment").starting("skin=default").
		taking(require(args(checkName, "name")), args(checkPolicies, "policy"), args(nil, "skin comment"))
	group.named, group.policy, group.added = true, "policy", addGroup
	group.only("name", "group with the same name already exists")
	return []*menu{user, group}
}
