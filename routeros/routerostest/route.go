package routerostest

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"doublenat/routeros"
)

// routeCheckLocked carries out /ip/route/check: once, or again and again.
func (r *Router) routeCheckLocked(c *command) outcome {
	var dst netip.Addr
	interval, limit := time.Second, time.Duration(0)
	once := false
	for _, a := range c.args {
		var ok bool
		switch a.name {
		case "dst-ip", "src-ip":
			addr, err := netip.ParseAddr(a.value)
			if ok = err == nil; a.name == "dst-ip" {
				dst = addr
			}
		case "once":
			once, ok = true, true
		case "interval":
			interval, ok = parseDuration(a.value)
			ok = ok && interval > 0
		case "duration":
			limit, ok = parseDuration(a.value)
		default:
			return failed(r.behavior.refuseParameter(a.name))
		}
		if !ok {
			return failed(refuseValue(a.name))
		}
	}
	if !dst.IsValid() {
		return failed(refuseMissing("dst-ip"))
	}
	row := routeros.Sentence{"!re", "=status=failed"}
	if iface, nexthop := r.routeLocked(dst); iface != "" {
		row = routeros.Sentence{"!re", "=status=ok", "=interface=" + iface, "=nexthop=" + nexthop.String()}
	}
	o := outcome{rows: []routeros.Sentence{row}}
	if once {
		o.done = routeros.Sentence{"!done"}
	} else {
		o.repeat, o.limit = interval, limit
	}
	return o
}

// routeLocked finds the way to an address in the main table: the longest prefix
// over active routes, then the lowest distance.
func (r *Router) routeLocked(dst netip.Addr) (iface string, nexthop netip.Addr) {
	bestBits, bestDistance := -1, 0
	for _, it := range r.tables["/ip/route"].items {
		prefix, err := netip.ParsePrefix(it.value("dst-address"))
		if err != nil || !prefix.Contains(dst) || !it.is("active") || !mainTable(it) {
			continue
		}
		distance, err := strconv.Atoi(it.value("distance"))
		if err != nil || prefix.Bits() < bestBits || prefix.Bits() == bestBits && distance >= bestDistance {
			continue
		}
		gateway, _, _ := strings.Cut(it.value("gateway"), ",")
		name, via := r.reachLocked(gateway)
		if name == "" {
			continue
		}
		bestBits, bestDistance, iface, nexthop = prefix.Bits(), distance, name, via
		if !nexthop.IsValid() {
			nexthop = dst
		}
	}
	return iface, nexthop
}

// mainTable reports whether a route is in the table that all packets use.
func mainTable(it *item) bool {
	name := it.value("routing-table")
	return it.value("routing-mark") == "" && (name == "" || name == "main")
}

// reachLocked finds the interface over which a gateway is reached: the gateway
// is an interface, an address, or "address%interface". Via is the address, if it is one.
func (r *Router) reachLocked(gateway string) (iface string, via netip.Addr) {
	address, name, scoped := strings.Cut(gateway, "%")
	via, err := netip.ParseAddr(address)
	if err != nil {
		name, scoped = gateway, true
	}
	if scoped {
		if !r.runningLocked(name) {
			return "", netip.Addr{}
		}
		return name, via
	}
	for _, it := range r.tables["/ip/address"].items {
		prefix, err := netip.ParsePrefix(it.value("address"))
		name := it.value("interface")
		if err == nil && prefix.Contains(via) && prefix.Addr() != via && !it.is("disabled") && r.runningLocked(name) {
			return name, via
		}
	}
	for _, it := range r.tables["/ip/route"].items {
		// A gateway that is behind a more specific route to an interface.
		if it.value("dst-address") == netip.PrefixFrom(via, 32).String() && r.runningLocked(it.value("gateway")) {
			return it.value("gateway"), via
		}
	}
	return "", netip.Addr{}
}

// runningLocked reports whether an interface is there and up.
func (r *Router) runningLocked(name string) bool {
	for _, it := range r.tables["/interface"].items {
		if it.value("name") == name {
			return it.is("running") && !it.is("disabled")
		}
	}
	return false
}

// refreshRoutesLocked brings the state of all routes up to date with interfaces
// and addresses: active, and how the gateway is reached in the words of the version.
func (r *Router) refreshRoutesLocked() {
	t := r.tables["/ip/route"]
	for _, it := range t.items {
		var v6, v7 []string
		for gateway := range strings.SplitSeq(it.value("gateway"), ",") {
			switch iface, via := r.reachLocked(gateway); {
			case iface == "" || it.is("disabled"):
			case via.IsValid():
				v7 = append(v7, via.String()+"%"+iface)
				v6 = append(v6, via.String()+" reachable via  "+iface)
			default:
				v7 = append(v7, iface)
				v6 = append(v6, iface+" reachable")
			}
		}
		if len(v7) > 0 {
			it.set(t.menu.order, "active", "true")
			it.unset("inactive")
		} else {
			it.unset("active")
			if r.behavior.immediateGateway && !it.is("disabled") {
				it.set(t.menu.order, "inactive", "true")
			}
		}
		if r.behavior.immediateGateway {
			it.set(t.menu.order, "immediate-gw", strings.Join(v7, ","))
			continue
		}
		if len(v6) == 0 {
			v6 = []string{it.value("gateway") + " unreachable"}
		}
		it.set(t.menu.order, "gateway-status", strings.Join(v6, ","))
	}
}
