package routerostest

import (
	"strconv"
	"strings"
	"time"
)

// networkMenus are interfaces, addresses and routes.
func networkMenus(v version, b behavior) []*menu {
	iface := newMenu("/interface", "name default-name type mtu actual-mtu l2mtu mac-address rx-byte tx-byte", "running slave dynamic disabled comment").
		starting("mtu=1500 actual-mtu=1500 running=true disabled=false")
	iface.named = true
	list := newMenu("/interface/list", "name include exclude", "builtin dynamic comment").starting("include= exclude= builtin=false dynamic=false")
	list.named = true
	member := newMenu("/interface/list/member", "list interface", "dynamic disabled comment").starting("dynamic=false disabled=false")
	wireGuard := newMenu("/interface/wireguard", "name mtu listen-port private-key public-key", "running disabled comment").
		starting("mtu=1420 running=true disabled=false")
	wireGuard.named, wireGuard.span, wireGuard.sensitive = true, span{since: v701}, "private-key"
	address := newMenu("/ip/address", "address network interface actual-interface", "invalid dynamic disabled comment").
		starting("invalid=false dynamic=false disabled=false")

	const routeFlags = "active static connect dhcp vpn dynamic inactive disabled comment"
	route := newMenu("/ip/route", "dst-address routing-table pref-src gateway immediate-gw distance scope target-scope", routeFlags).
		starting("distance=1 scope=30 target-scope=10 disabled=false")
	if !b.immediateGateway {
		route = newMenu("/ip/route", "dst-address pref-src gateway gateway-status distance scope target-scope routing-mark", routeFlags).
			starting("distance=1 scope=30 target-scope=10 disabled=false")
	}
	if b.routeCheck {
		route.with("check")
	}
	rule := newMenu("/routing/rule", "dst-address src-address interface routing-mark action table", "inactive disabled comment").
		starting("disabled=false")
	rule.span = span{since: v701}
	menus := []*menu{iface, list, member, wireGuard, address, route, rule}
	if v < v701 {
		old := newMenu("/ip/route/rule", "dst-address src-address interface routing-mark action table", "inactive disabled comment").
			starting("disabled=false")
		menus = append(menus, old)
	}
	return menus
}

// systemMenus are the router's own services, users and state.
func systemMenus(b behavior) []*menu {
	service := newMenu("/ip/service", "name port address certificate tls-version vrf max-sessions", "disabled invalid").
		with("set enable disable").starting("address= disabled=false invalid=false").
		taking(args(checkBool, "disabled"), args(checkInteger, "port"), args(nil, "address certificate tls-version vrf"))
	service.named = true
	if b.maxSessions {
		service.taking(args(checkInteger, "max-sessions")).starting("max-sessions=20")
	}

	user := newMenu("/user", "name group address inactivity-timeout inactivity-policy last-logged-in", "expired disabled comment").
		with(writeCommands).starting("address= disabled=false").
		taking(require(args(checkName, "name")), require(args(checkNamed("/user/group"), "group")),
			args(checkAddressOrNone, "address"), args(checkBool, "disabled"), args(nil, "password comment"))
	user.named, user.secret, user.policy = true, "password", "policy"
	user.unique, user.already = []string{"name"}, "user with the same name already exists"
	if b.maxSessions {
		user.taking(args(checkChoice("none", "lockscreen", "logout"), "inactivity-policy"), args(checkDuration, "inactivity-timeout")).
			starting("inactivity-timeout=10m inactivity-policy=none")
	}
	group := newMenu("/user/group", "name policy skin", "comment").with("add set remove comment").starting("skin=default").
		taking(require(args(checkName, "name")), args(nil, "policy skin comment"))
	group.named, group.policy = true, "policy"
	group.unique, group.already = []string{"name"}, "group with the same name already exists"

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
	natPMP := newMenu("/ip/nat-pmp", "enabled", "")
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
