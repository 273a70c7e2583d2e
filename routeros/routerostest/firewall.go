package routerostest

import (
	"slices"
	"strings"
)

// What the tables of rules have in common.
const (
	ruleMatchers = "src-address dst-address src-address-list dst-address-list src-address-type dst-address-type in-interface in-interface-list " +
		"out-interface out-interface-list src-port dst-port port connection-state connection-nat-state connection-mark routing-mark packet-mark " +
		"tcp-flags ipsec-policy jump-target address-list address-list-timeout"
	ruleFlags    = "bytes packets invalid dynamic disabled comment .about"
	ruleStart    = "bytes=0 packets=0 invalid=false dynamic=false disabled=false"
	ruleCommands = writeCommands + " move reset-counters reset-counters-all"

	manglePath = "/ip/firewall/mangle"
	rawPath    = "/ip/firewall/raw"
)

// firewallMenus are those below /ip/firewall.
func firewallMenus(b behavior) []*menu {
	nat := newMenu(natPath, "chain action to-addresses to-ports protocol "+ruleMatchers+" log log-prefix", ruleFlags).
		with(ruleCommands).taking(ruleArguments(), trackedArguments(), natArguments()).starting("action=accept " + ruleStart)
	if b.logFields {
		nat.starting("log=false log-prefix=")
	}
	if b.emptyMatchers {
		nat.starting("in-interface-list= dst-address-list=")
	}
	filter := newMenu(filterPath, "chain action protocol "+ruleMatchers+" reject-with hw-offload log log-prefix", ruleFlags).
		with(ruleCommands).starting("action=accept "+ruleStart).
		taking(ruleArguments(), trackedArguments(), flowArguments(), args(checkChoice(strings.Fields(filterActions)...), "action"),
			require(args(checkName, "chain")), args(checkName, "reject-with p2p"), flags(span{before: v721}, "hw-offload"))
	mangle := newMenu(manglePath, "chain action protocol "+ruleMatchers+
		" new-connection-mark new-routing-mark new-packet-mark new-mss passthrough log log-prefix", ruleFlags).
		with(ruleCommands).starting("action=accept "+ruleStart).
		taking(ruleArguments(), trackedArguments(), flowArguments(), args(checkChoice(strings.Fields(mangleActions)...), "action"),
			require(args(checkName, "chain")), flags(span{}, "passthrough"), args(checkTable, "new-routing-mark"),
			args(checkName, "new-connection-mark new-packet-mark new-mss new-dscp new-priority new-ttl p2p route-dst sniff-id sniff-target sniff-target-port"))
	raw := newMenu(rawPath, "chain action protocol "+ruleMatchers+" log log-prefix", ruleFlags).
		with(ruleCommands).starting("action=accept "+ruleStart).
		taking(ruleArguments(), args(checkName, "tcp-flags tls-host"), args(checkChoice(strings.Fields(rawActions)...), "action"),
			require(args(checkRawChain, "chain")))
	connection := newMenu(connectionPath, "protocol src-address src-port dst-address dst-port reply-src-address reply-src-port "+
		"reply-dst-address reply-dst-port tcp-state timeout", "seen-reply srcnat").with("remove")
	for _, m := range []*menu{nat, filter, mangle, raw} {
		m.printing("brief", args(nil, "all chain dynamic static stats"))
	}
	connection.printing("follow follow-only", argsIn(span{before: v722}, nil, "follow follow-only"))
	return []*menu{nat, filter, mangle, raw, addressLists(), connection}
}

// The actions of filter, mangle and raw rules.
const (
	filterActions = "accept drop reject tarpit fasttrack-connection jump return log passthrough add-src-to-address-list add-dst-to-address-list"
	mangleActions = "accept mark-connection mark-routing mark-packet change-mss change-ttl change-dscp clear-df fasttrack-connection jump " +
		"return log passthrough route set-priority strip-ipv4-options sniff-tzsp sniff-pc add-src-to-address-list add-dst-to-address-list"
	rawActions = "accept drop notrack jump return log passthrough add-src-to-address-list add-dst-to-address-list"
)

// checkRawChain takes the chains that there are before connection tracking, and those
// of the user.
func checkRawChain(_ *Router, name, value string) traps {
	if slices.Contains([]string{"", "input", "forward", "postrouting", "srcnat", "dstnat"}, value) {
		return refuseChoice(name)
	}
	return nil
}

// ruleArguments are those that all tables of rules have, RouterOS 6.49 to 7.24.
func ruleArguments() []argument {
	return slices.Concat(
		args(checkProtocol, "protocol"),
		args(checkPorts, "dst-port src-port port"),
		args(checkAddress, "dst-address src-address"),
		args(checkInterface, "in-interface out-interface"),
		args(checkInterfaceList, "in-interface-list out-interface-list"),
		flags(span{}, "disabled log"),
		args(checkName, "dst-address-list src-address-list packet-mark jump-target limit time dst-address-type src-address-type address-list "+
			"address-list-timeout content dscp dst-limit fragment hotspot icmp-options in-bridge-port in-bridge-port-list out-bridge-port "+
			"out-bridge-port-list ingress-priority ipsec-policy ipv4-options nth packet-size per-connection-classifier priority psd random "+
			"src-mac-address tcp-mss ttl"),
		argsIn(span{since: v721}, checkName, "tos"),
		args(nil, "comment"),
		args(checkLogPrefix, "log-prefix"),
	)
}

// trackedArguments are those of the tables behind connection tracking.
func trackedArguments() []argument {
	return args(checkName, "connection-mark routing-mark connection-type connection-bytes connection-limit connection-rate layer7-protocol realm")
}

// flowArguments are those of the tables that see every packet and not only the first.
func flowArguments() []argument {
	return args(checkName, "connection-state connection-nat-state tcp-flags tls-host")
}

// natArguments are those that only NAT rules have.
func natArguments() []argument {
	return slices.Concat(
		require(args(checkChain, "chain")),
		args(checkAction, "action"),
		args(checkAddress, "to-addresses"),
		args(checkPortRange, "to-ports"),
		args(checkName, "same-not-by-dst"),
		argsIn(span{before: v716}, checkName, "tls-host"),
		flags(span{since: v710}, "randomise-ports"), //nolint:misspell // RouterOS spells it so
		argsIn(span{since: v720}, checkName, "socks5-server socks5-port socksify-service"),
	)
}

// checkTable takes a routing table that there is. RouterOS 6 makes tables by naming them.
func checkTable(r *Router, name, value string) traps {
	if !r.behavior.immediateGateway || value == "main" {
		return checkName(r, name, value)
	}
	return checkNamed("/routing/table")(r, name, value)
}

// checkPortsNeedProtocol refuses ports in a rule whose protocol has none.
func (r *Router) checkPortsNeedProtocol(get func(string) string) traps {
	ported := slices.ContainsFunc([]string{"dst-port", "src-port", "port", "to-ports"}, func(name string) bool { return get(name) != "" })
	if ported && !slices.Contains([]string{"tcp", "udp", "udp-lite", "dccp", "sctp"}, protocolName(get("protocol"))) {
		return r.behavior.refusePorts()
	}
	return nil
}
