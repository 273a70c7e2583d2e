package routerostest

// routeMenus are routes, their tables, the rules that choose one, and VRFs.
func routeMenus(b behavior) []*menu {
	menus := []*menu{routes(b), vrfs(b)}
	if !b.immediateGateway {
		rule := rules("/ip/route/rule", "dst-address src-address interface routing-mark action table")
		return append(menus, rule.taking(args(checkName, "table")))
	}
	rule := rules(rulePath, "chain dst-address src-address interface routing-mark min-prefix vrf realm action table").
		taking(args(checkTable, "table"), args(checkInteger, "min-prefix"), argsIn(span{since: v722}, checkName, "chain realm vrf"))
	tables := newMenu("/routing/table", "name fib", "invalid dynamic disabled comment").with(writeCommands).
		starting("disabled=false invalid=false dynamic=false").only("name", "already have such entry").
		taking(require(args(checkName, "name")), args(nil, "fib comment"), flags(span{}, "disabled"))
	tables.named = true
	tables.printing("brief")
	return append(menus, rule, tables)
}

// rulePath are the rules of RouterOS 7 that choose a routing table.
const rulePath = "/routing/rule"

// rules are those that choose a routing table. The first that matches decides.
func rules(path, fields string) *menu {
	return newMenu(path, fields, "inactive invalid dynamic disabled comment").with(writeCommands+" move").
		starting("action=lookup disabled=false").
		taking(args(checkAddress, "dst-address src-address"), args(checkInterface, "interface"), args(checkName, "routing-mark"),
			args(checkChoice("lookup", "lookup-only-in-table", "drop", "unreachable"), "action"), flags(span{}, "disabled"), args(nil, "comment"))
}

// routes are those of all tables.
func routes(b behavior) *menu {
	fields := "dst-address routing-table pref-src gateway immediate-gw distance scope target-scope vrf-interface blackhole check-gateway"
	if !b.immediateGateway {
		fields = "dst-address pref-src gateway gateway-status distance scope target-scope routing-mark check-gateway type"
	}
	m := newMenu("/ip/route", fields, "active static connect dhcp vpn dynamic inactive disabled comment").with(writeCommands).
		starting("distance=1 scope=30 target-scope=10 disabled=false").marking("static=true dynamic=false").
		taking(require(args(checkAddress, "dst-address")), args(checkName, "gateway"), args(checkInteger, "distance scope target-scope"),
			args(checkAddress, "pref-src"), flags(span{}, "disabled"), args(nil, "check-gateway comment"))
	if b.immediateGateway {
		m.marking("routing-table=main").
			taking(args(checkTable, "routing-table"), args(checkInterface, "vrf-interface"), args(nil, "blackhole"),
				flags(span{before: v721}, "suppress-hw-offload"))
	} else {
		m.taking(args(checkName, "routing-mark"), args(checkChoice("unicast", "blackhole", "prohibit", "unreachable"), "type"),
			args(checkInteger, "route-tag bgp-local-pref"))
	}
	if b.routeCheck {
		m.with("check").also("check", loopArguments(), args(nil, "dst-ip src-ip"), argsIn(span{since: v719}, nil, "proplist"))
	}
	return m.printing("", args(nil, "stats"))
}

// vrfs are routing tables that interfaces belong to. /ip/vrf of RouterOS 7 and
// /ip/route/vrf of RouterOS 6, from the vendor's manual: the schemas have neither.
func vrfs(b behavior) *menu {
	if !b.immediateGateway {
		return newMenu("/ip/route/vrf", "routing-mark interfaces", "disabled comment").with(writeCommands).starting("disabled=false").
			taking(require(args(checkName, "routing-mark")), args(checkName, "interfaces"), flags(span{}, "disabled"), args(nil, "comment"))
	}
	m := newMenu(vrfPath, "name interfaces", "builtin invalid inactive disabled comment").with(writeCommands+" move").
		starting("builtin=false disabled=false").only("name", "already have such entry").
		taking(require(args(checkName, "name")), args(checkName, "interfaces"), flags(span{}, "disabled"), args(nil, "comment"))
	m.named = true
	return m
}

// vrfPath are the VRFs of RouterOS 7.
const vrfPath = "/ip/vrf"
