package routerostest

import (
	"slices"
	"strings"
)

// What the tables of rules have in common.
const (
	ruleMatchers = "src-address dst-address src-address-list dst-address-list dst-address-type in-interface in-interface-list " +
		"out-interface out-interface-list src-port dst-port connection-state connection-nat-state connection-mark routing-mark packet-mark"
	ruleFlags    = "bytes packets invalid dynamic disabled comment about"
	ruleStart    = "bytes=0 packets=0 invalid=false dynamic=false disabled=false"
	ruleCommands = writeCommands + " move reset-counters reset-counters-all"
)

// firewallMenus are those below /ip/firewall.
func firewallMenus(b behavior) []*menu {
	nat := newMenu(natPath, "chain action to-addresses to-ports protocol "+ruleMatchers+" log log-prefix", ruleFlags).
		with(ruleCommands).taking(ruleArguments()...).taking(natArguments()...).starting("action=accept " + ruleStart)
	if b.logFields {
		nat.starting("log=false log-prefix=")
	}
	if b.emptyMatchers {
		nat.starting("in-interface-list= dst-address-list=")
	}
	filter := newMenu("/ip/firewall/filter", "chain action protocol "+ruleMatchers+" reject-with hw-offload log log-prefix", ruleFlags).
		with(ruleCommands).starting("action=accept "+ruleStart).
		taking(require(args(checkName, "chain"))).taking(ruleArguments()...).
		taking(args(checkChoice(strings.Fields(filterActions)...), "action"),
			args(checkName, "connection-state connection-nat-state reject-with tcp-flags"), args(checkBool, "hw-offload"))
	mangle := newMenu("/ip/firewall/mangle", "chain action protocol "+ruleMatchers+
		" new-connection-mark new-routing-mark new-packet-mark new-mss passthrough log log-prefix", ruleFlags).
		with(ruleCommands).starting("action=accept "+ruleStart).
		taking(require(args(checkName, "chain"))).taking(ruleArguments()...).
		taking(args(checkChoice(strings.Fields(mangleActions)...), "action"), args(checkBool, "passthrough"),
			args(checkName, "connection-state connection-nat-state tcp-flags new-connection-mark new-routing-mark new-packet-mark new-mss"))
	addressList := newMenu("/ip/firewall/address-list", "list address creation-time timeout", "dynamic disabled comment").
		with(writeCommands).starting("dynamic=false disabled=false").only("list address", "already have such entry").
		taking(require(args(checkName, "list address")), args(checkBool, "disabled"), args(nil, "comment timeout"))
	connection := newMenu("/ip/firewall/connection",
		"protocol src-address dst-address reply-src-address reply-dst-address tcp-state timeout", "").with("remove")
	return []*menu{nat, filter, mangle, addressList, connection}
}

// The actions of filter and mangle rules.
const (
	filterActions = "accept drop reject tarpit fasttrack-connection jump return log passthrough add-src-to-address-list add-dst-to-address-list"
	mangleActions = "accept mark-connection mark-routing mark-packet change-mss change-ttl change-dscp clear-df fasttrack-connection jump " +
		"return log passthrough route set-priority add-src-to-address-list add-dst-to-address-list"
)

// ruleArguments are those that filter, mangle and NAT rules have in common,
// RouterOS 6.49 to 7.24.
func ruleArguments() [][]argument {
	return [][]argument{
		args(checkProtocol, "protocol"),
		args(checkPorts, "dst-port src-port port"),
		args(checkAddress, "dst-address src-address"),
		args(checkInterface, "in-interface out-interface"),
		args(checkInterfaceList, "in-interface-list out-interface-list"),
		args(checkBool, "disabled log"),
		args(checkName, "dst-address-list src-address-list connection-mark routing-mark packet-mark jump-target limit time "+
			"dst-address-type src-address-type address-list address-list-timeout connection-type connection-bytes connection-limit "+
			"connection-rate content dscp dst-limit fragment hotspot icmp-options in-bridge-port in-bridge-port-list out-bridge-port "+
			"out-bridge-port-list ingress-priority ipsec-policy ipv4-options layer7-protocol nth packet-size per-connection-classifier "+
			"priority psd random realm routing-table src-mac-address tcp-mss ttl"),
		args(nil, "comment"),
		args(checkLogPrefix, "log-prefix"),
		argsIn(span{before: v716}, checkName, "tls-host"),
	}
}

// natArguments are those that only NAT rules have.
func natArguments() [][]argument {
	return [][]argument{
		require(args(checkChain, "chain")),
		args(checkAction, "action"),
		args(checkAddress, "to-addresses"),
		args(checkPortRange, "to-ports"),
		args(checkName, "same-not-by-dst"),
		argsIn(span{since: v710}, checkBool, "randomise-ports"), //nolint:misspell // RouterOS spells it so
		argsIn(span{since: v720}, checkName, "socks5-server socks5-port socks5-user socks5-password socksify-service"),
		argsIn(span{since: v721}, checkName, "tos"),
	}
}

// checkPortsNeedProtocol refuses ports in a rule whose protocol has none.
func (r *Router) checkPortsNeedProtocol(get func(string) string) traps {
	ported := slices.ContainsFunc([]string{"dst-port", "src-port", "port", "to-ports"}, func(name string) bool { return get(name) != "" })
	if ported && !slices.Contains([]string{"tcp", "udp", "udp-lite", "dccp", "sctp"}, protocolName(get("protocol"))) {
		return r.behavior.refusePorts()
	}
	return nil
}
