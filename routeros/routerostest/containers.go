package routerostest

import (
	"net/netip"
	"strings"
	"time"
)

// containerMenus are containers with what belongs to them, and certificates: what
// the set-up of doublenat writes besides rules. Nothing runs in these containers.
func containerMenus(behavior) []*menu {
	veth := newMenu("/interface/veth", "name address gateway", "running disabled comment").with(writeCommands).
		starting("running=true disabled=false").only("name", "already have such entry").
		taking(require(args(checkName, "name")), args(checkAddress, "address gateway"), args(checkBool, "disabled"), args(nil, "comment gateway6"))
	veth.named, veth.span, veth.added = true, span{since: v704}, addInterface
	envs := newMenu("/container/envs", "name list key value", "comment").with("add set remove comment").
		taking(require(argsIn(span{before: v720}, checkName, "name")), require(argsIn(span{since: v720}, checkName, "list")),
			require(args(checkName, "key")), args(nil, "value comment"))
	envs.span = span{since: v704}
	mounts := newMenu("/container/mounts", "name list src dst", "comment").with("add set remove comment").
		taking(require(argsIn(span{before: v721}, checkName, "name")), require(argsIn(span{since: v721}, checkName, "list")),
			require(args(checkName, "src dst")), args(nil, "comment"))
	mounts.span = span{since: v704}
	certificate := newMenu("/certificate", "name common-name subject-alt-name days-valid", "expired invalid").with("add set remove sign").
		starting("days-valid=365").only("name", "already have such entry").
		taking(require(args(checkName, "name")), args(checkName, "common-name"), args(checkAltNames, "subject-alt-name"), args(checkInteger, "days-valid"))
	certificate.named = true
	return []*menu{containers(), veth, envs, mounts, certificate}
}

// containers are those of /container. Its arguments are where the versions differ most.
func containers() *menu {
	m := newMenu("/container", "name file interface envlist envlists root-dir mounts mountlists logging start-on-boot status", "comment").
		with("add set remove start stop").starting("status=stopped").
		taking(
			args(checkName, "file remote-image root-dir cmd entrypoint hostname domain-name workdir user stop-signal"),
			require(args(checkNamed("/interface/veth"), "interface")),
			args(checkBool, "logging start-on-boot"), args(nil, "comment dns"),
			argsIn(span{since: v719}, checkName, "name"),
			argsIn(span{before: v720}, checkList("/container/envs", "name"), "envlist"),
			argsIn(span{since: v720}, checkList("/container/envs", "list"), "envlists"),
			argsIn(span{since: v721}, checkName, "env mount"),
			argsIn(span{before: v721}, checkList("/container/mounts", "name"), "mounts"),
			argsIn(span{since: v721}, checkList("/container/mounts", "list"), "mountlists"),
			argsIn(span{since: v720, before: v723}, checkDuration, "auto-restart-interval"),
			argsIn(span{since: v723}, checkDuration, "restart-interval"), argsIn(span{since: v723}, checkInteger, "restart-max-count"),
			argsIn(span{since: v723}, checkName, "restart-policy"),
			argsIn(span{since: v720}, checkSize, "memory-high"), argsIn(span{since: v723}, checkSize, "memory-max"),
			argsIn(span{since: v722}, checkName, "healthcheck-*"),
		)
	m.span = span{since: v704}
	return m
}

// addInterface makes the interface that a veth is.
func addInterface(r *Router, it *item) {
	r.put("/interface", "name="+strings.ReplaceAll(it.value("name"), " ", "_")+" type=veth")
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
