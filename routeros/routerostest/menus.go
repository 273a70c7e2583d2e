package routerostest

import (
	"strconv"
	"strings"
	"time"
)

// networkMenus are interfaces, addresses and routes.
func networkMenus(b behavior) []*menu {
	iface := newMenu("/interface", "name default-name type mtu actual-mtu l2mtu mac-address rx-byte tx-byte", "running slave dynamic disabled comment").
		starting("mtu=1500 actual-mtu=1500 running=true disabled=false")
	iface.named = true
	list := newMenu("/interface/list", "name include exclude", "builtin dynamic comment").with("add set remove comment").
		starting("include= exclude= builtin=false dynamic=false").only("name", "already have such entry").
		taking(require(args(checkName, "name")), args(nil, "include exclude comment"))
	list.named = true
	member := newMenu("/interface/list/member", "list interface", "dynamic disabled comment").with(writeCommands).
		starting("dynamic=false disabled=false").only("list interface", "already have such entry").
		taking(require(args(checkInterfaceList, "list")), require(args(checkInterface, "interface")), args(checkBool, "disabled"), args(nil, "comment"))
	wireGuard := newMenu("/interface/wireguard", "name mtu listen-port private-key public-key", "running disabled comment").
		starting("mtu=1420 running=true disabled=false")
	wireGuard.named, wireGuard.span, wireGuard.sensitive = true, span{since: v701}, "private-key"
	address := newMenu("/ip/address", "address network interface actual-interface", "invalid dynamic disabled comment").with("add").
		starting("invalid=false dynamic=false disabled=false").
		taking(require(args(checkAddress, "address")), require(args(checkInterface, "interface")), args(checkAddress, "network"),
			args(checkBool, "disabled"), args(nil, "comment"))
	address.added = addConnected
	return append(routeMenus(b), iface, list, member, wireGuard, address)
}

// routeMenus are routes, their tables and the rules that choose one.
func routeMenus(b behavior) []*menu {
	fields, table := "dst-address routing-table pref-src gateway immediate-gw distance scope target-scope", "routing-table"
	if !b.immediateGateway {
		fields, table = "dst-address pref-src gateway gateway-status distance scope target-scope routing-mark", "routing-mark"
	}
	route := newMenu("/ip/route", fields, "active static connect dhcp vpn dynamic inactive disabled comment").with(writeCommands).
		starting("distance=1 scope=30 target-scope=10 disabled=false").marking("static=true dynamic=false").
		taking(require(args(checkAddress, "dst-address")), require(args(checkName, "gateway")), args(checkName, table),
			args(checkInteger, "distance scope target-scope"), args(checkAddress, "pref-src"), args(checkBool, "disabled"), args(nil, "check-gateway comment"))
	if b.immediateGateway {
		route.marking("routing-table=main")
	}
	if b.routeCheck {
		route.with("check")
	}
	rule := func(path string, in span) *menu {
		m := newMenu(path, "dst-address src-address interface routing-mark action table", "inactive disabled comment").with(writeCommands+" move").
			starting("action=lookup disabled=false").
			taking(args(checkAddress, "dst-address src-address"), args(checkInterface, "interface"), args(checkName, "routing-mark table"),
				args(checkChoice("lookup", "lookup-only-in-table", "drop", "unreachable"), "action"), args(checkBool, "disabled"), args(nil, "comment"))
		m.span = in
		return m
	}
	tables := newMenu("/routing/table", "name fib", "invalid dynamic disabled comment").with(writeCommands).
		starting("disabled=false invalid=false dynamic=false").only("name", "already have such entry").
		taking(require(args(checkName, "name")), args(nil, "fib comment"), args(checkBool, "disabled"))
	tables.named, tables.span = true, span{since: v701}
	return []*menu{route, rule("/routing/rule", span{since: v701}), rule("/ip/route/rule", span{before: v701}), tables}
}

// systemMenus are the router's own services, users and state.
func systemMenus(b behavior) []*menu {
	service := newMenu("/ip/service", "name port address certificate tls-version vrf max-sessions", "disabled invalid").
		with("set enable disable").starting("address= disabled=false invalid=false").
		taking(args(checkBool, "disabled"), args(checkInteger, "port"), args(nil, "address tls-version vrf"), args(checkCertificate, "certificate"))
	service.named = true
	if b.maxSessions {
		service.taking(args(checkInteger, "max-sessions")).starting("max-sessions=20")
	}

	user := newMenu("/user", "name group address inactivity-timeout inactivity-policy last-logged-in", "expired disabled comment").
		with(writeCommands).starting("address= disabled=false").
		taking(require(args(checkName, "name")), require(args(checkNamed("/user/group"), "group")),
			args(checkAddressOrNone, "address"), args(checkBool, "disabled"), args(nil, "password comment"))
	user.named, user.secret, user.policy = true, "password", "policy"
	user.only("name", "user with the same name already exists")
	if b.maxSessions {
		user.taking(args(checkChoice("none", "lockscreen", "logout"), "inactivity-policy"), args(checkDuration, "inactivity-timeout")).
			starting("inactivity-timeout=10m inactivity-policy=none")
	}
	group := newMenu("/user/group", "name policy skin", "comment").with("add set remove comment").starting("skin=default").
		taking(require(args(checkName, "name")), args(nil, "policy skin comment"))
	group.named, group.policy = true, "policy"
	group.only("name", "group with the same name already exists")

	menus := []*menu{service, user, group}
	for _, m := range []struct {
		path, fields string
		refresh      func(*Router, *item)
	}{
		{"/system/resource", "uptime version build-time free-memory total-memory cpu cpu-count cpu-load free-hdd-space total-hdd-space " +
			"write-sect-since-reboot write-sect-total architecture-name board-name platform", refreshResource},
		{"/system/identity", "name", nil},
		{"/system/clock", "time date time-zone-autodetect time-zone-name gmt-offset dst-active", refreshClock},
	} {
		single := newMenu(m.path, m.fields, "")
		single.singleton, single.refresh = true, m.refresh
		menus = append(menus, single)
	}
	natPMP := newMenu("/ip/nat-pmp", "enabled", "").with("set").taking(args(checkBool, "enabled"))
	natPMP.singleton, natPMP.span = true, span{since: v713}
	natPMPInterfaces := newMenu("/ip/nat-pmp/interfaces", "interface type forced-ip", "disabled")
	natPMPInterfaces.span = span{since: v713}
	return append(menus, natPMP, natPMPInterfaces)
}

// refreshResource brings uptime and flash wear up to date.
func refreshResource(r *Router, it *item) {
	order := r.tables["/system/resource"].menu.order
	it.set(order, "uptime", formatUptime(time.Since(r.booted)))
	it.set(order, "write-sect-since-reboot", strconv.FormatUint(r.writesSinceBoot, 10))
	it.set(order, "write-sect-total", strconv.FormatUint(r.stats.Writes, 10))
}

// refreshClock sets the clock to the time of the test.
func refreshClock(r *Router, it *item) {
	now := time.Now().UTC()
	order := r.tables["/system/clock"].menu.order
	it.set(order, "time", now.Format(time.TimeOnly))
	date := now.Format(time.DateOnly)
	if r.version < v710 {
		date = strings.ToLower(now.Format("Jan/02/2006"))
	}
	it.set(order, "date", date)
}

// formatUptime writes a duration as RouterOS 7 does: 1w2d3h4m5s.
func formatUptime(d time.Duration) string {
	if d < time.Second {
		return "0s"
	}
	var b strings.Builder
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{7 * 24 * time.Hour, "w"}, {24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d >= unit.size {
			b.WriteString(strconv.FormatInt(int64(d/unit.size), 10) + unit.name)
			d %= unit.size
		}
	}
	return b.String()
}

// parseDuration reads a duration as RouterOS writes it: 1w2d3h4m5s, or seconds alone.
func parseDuration(s string) (time.Duration, bool) {
	const limit = 1000 * 7 * 24 * time.Hour
	var total time.Duration
	digits := 0
	for i := 0; i < len(s); i++ {
		if s[i] >= '0' && s[i] <= '9' {
			continue
		}
		unit, known := map[byte]time.Duration{
			'w': 7 * 24 * time.Hour, 'd': 24 * time.Hour, 'h': time.Hour, 'm': time.Minute, 's': time.Second,
		}[s[i]]
		n, err := strconv.ParseUint(s[digits:i], 10, 20)
		if !known || err != nil || total > limit {
			return 0, false
		}
		total += time.Duration(n) * unit
		digits = i + 1
	}
	if digits == len(s) {
		return total, digits > 0 && total <= limit
	}
	n, err := strconv.ParseUint(s[digits:], 10, 20)
	if err != nil {
		return 0, false
	}
	total += time.Duration(n) * time.Second
	return total, total <= limit
}

func checkDuration(_ *Router, name, value string) traps {
	if _, ok := parseDuration(value); !ok {
		return refuseValue(name)
	}
	return nil
}
