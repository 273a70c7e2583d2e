package routerostest

import (
	"net/netip"
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
		ok := true
		switch a.name {
		case "dst-ip", "src-ip":
			addr, err := netip.ParseAddr(a.value)
			if ok = err == nil; a.name == "dst-ip" {
				dst = addr
			}
		case "once":
			once = true
		case "interval":
			interval, ok = parseDuration(a.value)
			ok = ok && interval > 0
		case "duration":
			limit, ok = parseDuration(a.value)
		}
		if !ok {
			return failed(refuseValue(a.name))
		}
	}
	if !dst.IsValid() {
		return failed(refuseMissing("dst-ip"))
	}
	row := routeros.Sentence{"!re", "=status=failed"}
	if h, ok := r.lookUpLocked(mainTableName, dst, -1); ok && h.refused == "" {
		row = routeros.Sentence{"!re", "=status=ok", "=interface=" + h.out, "=nexthop=" + h.via.String()}
	}
	o := outcome{rows: []routeros.Sentence{row}}
	if once {
		o.done = routeros.Sentence{"!done"}
	} else {
		o.repeat, o.limit = interval, limit
	}
	return o
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
	known := make(map[string]gatewayState)
	for _, it := range t.items {
		gateway := it.value("gateway")
		state, again := known[gateway]
		if !again {
			state = r.gatewayStateLocked(gateway)
			known[gateway] = state
		}
		if it.is("disabled") {
			state = gatewayState{v6: gateway + " unreachable"}
		}
		if state.reached || leadsNowhere(it) && !it.is("disabled") {
			it.set(t.menu.order, "active", "true")
			it.unset("inactive")
		} else {
			it.unset("active")
			if r.behavior.immediateGateway && !it.is("disabled") {
				it.set(t.menu.order, "inactive", "true")
			}
		}
		if r.behavior.immediateGateway {
			it.set(t.menu.order, "immediate-gw", state.v7)
		} else {
			it.set(t.menu.order, "gateway-status", state.v6)
		}
	}
}

// gatewayState is how a gateway is reached, in the words of RouterOS 6 and 7.
type gatewayState struct {
	reached bool
	v6, v7  string
}

// gatewayStateLocked says how the gateways of a route are reached.
func (r *Router) gatewayStateLocked(gateways string) gatewayState {
	var v6, v7 []string
	for gateway := range strings.SplitSeq(gateways, ",") {
		switch iface, via := r.reachLocked(gateway); {
		case iface == "":
		case via.IsValid():
			v7 = append(v7, via.String()+"%"+iface)
			v6 = append(v6, via.String()+" reachable via  "+iface)
		default:
			v7 = append(v7, iface)
			v6 = append(v6, iface+" reachable")
		}
	}
	if len(v7) == 0 {
		return gatewayState{v6: gateways + " unreachable"}
	}
	return gatewayState{true, strings.Join(v6, ","), strings.Join(v7, ",")}
}

// leadsNowhere reports whether a route is a blackhole or its like.
func leadsNowhere(it *item) bool {
	kind := it.value("type")
	return it.has("blackhole") && it.value("blackhole") != "false" || kind != "" && kind != "unicast"
}
