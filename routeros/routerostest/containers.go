package routerostest

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// containerMenus are containers with what belongs to them, and certificates: what
// the set-up of doublenat writes besides rules. Nothing runs in these containers.
func containerMenus(behavior) []*menu {
	veth := newMenu("/interface/veth", "name address gateway", "running disabled comment").with("add set remove enable disable comment").
		starting("running=true disabled=false").only("name", "already have such entry").
		taking(require(args(checkName, "name")), args(checkAddress, "address gateway"), flags(span{}, "disabled"), args(nil, "comment"),
			argsIn(span{since: v711}, nil, "gateway6"), argsIn(span{since: v720}, checkName, "dhcp mac-address"),
			argsIn(span{since: v721}, checkName, "container-mac-address"))
	veth.printing("brief", argsIn(span{since: v721}, nil, "brief"))
	veth.named, veth.span = true, span{since: v704}
	veth.added, veth.dropped = addInterface("veth"), dropInterface
	envs := newMenu("/container/envs", "name list key value", "disabled comment").with("add set remove comment").
		taking(require(argsIn(span{before: v720}, checkName, "name")), require(argsIn(span{since: v720}, checkName, "list")),
			require(args(checkName, "key")), args(nil, "value comment"), flags(span{since: v721}, "disabled"))
	envs.span = span{since: v704}
	mounts := newMenu("/container/mounts", "name list src dst", "disabled comment").with("add set remove comment").
		taking(require(argsIn(span{before: v721}, checkName, "name")), require(argsIn(span{since: v721}, checkName, "list")),
			require(args(checkName, "src dst")), args(nil, "comment"), flags(span{since: v720, before: v723}, "read-only"),
			flags(span{since: v721}, "disabled"), argsIn(span{since: v723}, checkName, "mode"))
	mounts.span = span{since: v704}
	for _, m := range []*menu{envs, mounts} {
		m.spans = map[string]span{"enable": {since: v721}, "disable": {since: v721}}
		m.with("enable disable").printing("brief", argsIn(span{since: v720}, nil, "brief"))
	}
	settings := newMenu("/container/config", "registry-url tmpdir ram-high memory-high memory-max layer-dir username", "").single().with("set").
		printing("", argsIn(span{since: v721}, nil, "show-sensitive")).
		taking(args(nil, "password registry-url tmpdir username"), argsIn(span{since: v711}, nil, "layer-dir"),
			argsIn(span{before: v720}, checkSize, "ram-high"), argsIn(span{since: v720}, checkSize, "memory-high"),
			argsIn(span{since: v723}, checkSize, "memory-max"), argsIn(span{since: v724}, checkSize, "swap-max"))
	settings.span, settings.secret = span{since: v704}, "password"
	certificate := newMenu("/certificate", "name common-name subject-alt-name days-valid", "expired invalid").with("add set remove sign unset").
		starting("days-valid=365").only("name", "already have such entry").
		taking(require(args(checkName, "name")), args(checkName, "common-name"), args(checkAltNames, "subject-alt-name"), args(checkInteger, "days-valid"),
			args(nil, "country digest-algorithm key-size key-usage locality organization state trusted unit"),
			argsIn(span{since: v721}, nil, "trust-store"))
	certificate.named = true
	certificate.also("sign", loopArguments(), args(nil, "number ca ca-crl-host ca-on-smart-card name"))
	certificate.printing("", args(nil, "active inactive"), argsIn(span{since: v721}, nil, "show-sensitive"))
	return []*menu{containers(), veth, envs, mounts, settings, certificate}
}

// containers are those of /container. Its arguments are where the versions differ most.
func containers() *menu {
	m := newMenu("/container", "name file interface envlist envlists root-dir mounts mountlists logging start-on-boot status", "comment").
		with("add set remove start stop comment").starting("status=stopped").
		taking(
			args(checkName, "file remote-image root-dir cmd entrypoint hostname domain-name workdir user stop-signal"),
			require(args(checkNamed("/interface/veth"), "interface")),
			flags(span{}, "logging start-on-boot"), args(nil, "comment dns"),
			argsIn(span{since: v719}, checkName, "name"),
			argsIn(span{before: v720}, checkList("/container/envs", "name"), "envlist"),
			argsIn(span{since: v720}, checkList("/container/envs", "list"), "envlists"),
			argsIn(span{since: v720}, checkName, "check-certificate devices"),
			argsIn(span{since: v721}, checkName, "env mount cpu-list hosts layer-dir stop-time"),
			argsIn(span{before: v721}, checkList("/container/mounts", "name"), "mounts"),
			argsIn(span{since: v721}, checkList("/container/mounts", "list"), "mountlists"),
			argsIn(span{since: v7212}, checkName, "shm-size tmpfs"),
			argsIn(span{since: v722}, checkName, "healthcheck-cmd healthcheck-interval healthcheck-retries healthcheck-start-interval "+
				"healthcheck-start-period healthcheck-status healthcheck-timeout"),
			argsIn(span{since: v720, before: v723}, checkDuration, "auto-restart-interval"),
			argsIn(span{since: v723}, checkDuration, "restart-interval"), argsIn(span{since: v723}, checkInteger, "restart-max-count"),
			argsIn(span{since: v723}, checkChoice("no", "on-failure", "always"), "restart-policy"),
			argsIn(span{since: v723}, checkName, "default-dns shell"), flags(span{since: v723}, "stop-on-unhealthy"),
			argsIn(span{since: v720}, checkSize, "memory-high"), argsIn(span{since: v723}, checkSize, "memory-max"),
			flags(span{since: v7232}, "ignore-remote-image-change"),
			flags(span{since: v724}, "privileged"), argsIn(span{since: v724}, checkSize, "swap-max"),
		)
	m.span, m.spans = span{since: v704}, map[string]span{"unset": {since: v721}, "restart": {since: v723}, "repull": {since: v720}}
	for _, action := range []string{"start", "stop"} {
		m.also(action, argsIn(span{before: v720}, nil, "as-value number"), argsIn(span{since: v720}, nil, "numbers"))
	}
	m.also("restart", args(nil, "as-value number")).also("repull", args(nil, "as-value file number remote-image"))
	return m.with("unset restart repull").printing("brief", argsIn(span{since: v720}, nil, "brief"), argsIn(span{since: v721}, nil, "json"))
}

// addInterface makes the interface of the given type that an item of another menu is.
func addInterface(kind string) func(*Router, *item) {
	return func(r *Router, it *item) {
		r.put("/interface", "name="+strings.ReplaceAll(it.value("name"), " ", "_")+" type="+kind)
		r.refreshRoutesLocked()
	}
}

// dropInterface takes the interface away that an item of another menu was.
func dropInterface(r *Router, it *item) {
	t := r.tables["/interface"]
	if at := t.find(it.value("name")); at >= 0 {
		r.droppedLocked(t, t.items[at])
	}
}

// dropConnected takes away the route to the network of an address.
func dropConnected(r *Router, it *item) {
	prefix, err := netip.ParsePrefix(it.value("address"))
	if err != nil {
		return
	}
	routes := r.tables["/ip/route"]
	routes.items = slices.DeleteFunc(routes.items, func(route *item) bool {
		return route.is("connect") && route.value("gateway") == it.value("interface") && route.value("dst-address") == prefix.Masked().String()
	})
}

// addConnected completes an address, and makes the route to its network.
func addConnected(r *Router, it *item) {
	prefix, err := netip.ParsePrefix(it.value("address"))
	if err != nil {
		return // a range is no address
	}
	t := r.tables["/ip/address"]
	it.set(t.menu.order, "network", prefix.Masked().Addr().String())
	it.set(t.menu.order, "actual-interface", it.value("interface"))
	route := Row{
		"dst-address": prefix.Masked().String(), "gateway": it.value("interface"), "distance": "0", "scope": "10", "connect": "true", "dynamic": "true",
	}
	if r.behavior.immediateGateway {
		route["routing-table"] = "main"
	}
	routes := r.tables["/ip/route"]
	routes.insert(routes.newItem(time.Now(), route), -1)
}

// checkList takes the name of a list that items of another menu make up by a
// property of theirs.
func checkList(path, property string) checkFunc {
	return func(r *Router, name, value string) traps {
		if r.stateless() {
			return nil
		}
		if t := r.tables[path]; t != nil {
			for _, it := range t.items {
				if it.value(property) == value {
					return nil
				}
			}
		}
		return refuseChoice(name)
	}
}

// checkSize takes a number of bytes, with a unit or not.
func checkSize(r *Router, name, value string) traps {
	return checkInteger(r, name, strings.TrimRight(value, "kKMG"))
}

// checkCertificate takes a certificate that there is, or none.
func checkCertificate(r *Router, name, value string) traps {
	if value == "none" {
		return nil
	}
	return checkNamed("/certificate")(r, name, value)
}

// checkAltNames takes names with their kinds: IP:192.0.2.1,DNS:router.example.com.
func checkAltNames(_ *Router, name, value string) traps {
	for part := range strings.SplitSeq(value, ",") {
		kind, text, _ := strings.Cut(part, ":")
		_, err := netip.ParseAddr(text)
		switch {
		case kind == "IP" && err == nil, kind == "DNS" && err != nil && text != "" && !strings.ContainsRune(text, ':'), kind == "email":
		default:
			return refuseValue(name)
		}
	}
	return nil
}
