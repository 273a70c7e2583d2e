package routerostest

import (
	"slices"
	"strings"
)

// menu is the schema of one path: its commands, arguments and the order in which
// it prints.
type menu struct {
	path string
	// span has the versions that have the menu.
	span span
	// commands are what can be done besides reading.
	commands []string
	args     []argument
	// order ranks the properties of a row.
	order map[string]int
	// defaults are the properties that every new item has.
	defaults []property
	// named lets items be addressed by name.
	named bool
	// unique are the properties that no two items may have in common, all of them
	// together, and already what is said then.
	unique  []string
	already string
	// singleton has one item, which has no id.
	singleton bool
	// secret is the argument that is stored and never printed.
	secret string
	// sensitive is the property that only users with that policy see.
	sensitive string
	// policy is what a change takes, "write" if empty.
	policy string
	// refresh brings an item up to date before it is read.
	refresh func(r *Router, it *item)
}

// writeCommands are what can be done with the items of most menus.
const writeCommands = "add set remove enable disable unset comment"

// newMenu makes a menu that can be read. Fields is the order of its properties,
// flags of those that end every row.
func newMenu(path, fields, flags string) *menu {
	m := &menu{path: path, order: make(map[string]int), commands: []string{"print", "getall", "listen", "find", "get"}}
	for i, name := range strings.Fields(fields) {
		m.order[name] = i
	}
	for i, name := range strings.Fields(flags) {
		m.order[name] = rankFlags + i
	}
	return m
}

// with adds commands, given as words divided by blanks.
func (m *menu) with(commands string) *menu {
	m.commands = append(m.commands, strings.Fields(commands)...)
	return m
}

// taking sets the arguments.
func (m *menu) taking(lists ...[]argument) *menu {
	m.args = append(m.args, slices.Concat(lists...)...)
	return m
}

// starting sets the properties of a new item, given as "name=value" words.
func (m *menu) starting(words string) *menu {
	for word := range strings.FieldsSeq(words) {
		name, value, _ := strings.Cut(word, "=")
		m.defaults = append(m.defaults, property{name: name, value: value})
	}
	return m
}

// argument finds an argument that version v knows, nil if there is none.
func (m *menu) argument(v version, name string) *argument {
	for i := range m.args {
		if m.args[i].name == name && m.args[i].span.has(v) {
			return &m.args[i]
		}
	}
	return nil
}

// normalize writes a value as a print shows it: booleans are true or false.
func (m *menu) normalize(name, value string) string {
	if name == "comment" || name == "name" || name == "group" {
		return value
	}
	if name == "protocol" {
		return value[:len(value)-len(positive(value))] + protocolName(positive(value))
	}
	switch value {
	case "yes":
		return "true"
	case "no":
		return "false"
	default:
		return value
	}
}

// require marks arguments that add cannot do without.
func require(list []argument) []argument {
	for i := range list {
		list[i].required = true
	}
	return list
}

// menus lists what version v has.
func menus(v version, b behavior) map[string]*menu {
	found := make(map[string]*menu)
	for _, m := range slices.Concat(firewallMenus(b), networkMenus(v, b), systemMenus(b)) {
		if m.span.has(v) {
			found[m.path] = m
		}
	}
	return found
}

// firewallMenus are those below /ip/firewall.
func firewallMenus(b behavior) []*menu {
	const matchers = "src-address dst-address src-address-list dst-address-list dst-address-type in-interface in-interface-list " +
		"out-interface out-interface-list src-port dst-port connection-state connection-nat-state connection-mark routing-mark packet-mark"
	const flags = "bytes packets invalid dynamic disabled comment about"
	counters := "bytes=0 packets=0 invalid=false dynamic=false disabled=false"
	rules := func(path string) *menu {
		return newMenu(path, "chain action protocol "+matchers+" new-connection-mark new-routing-mark passthrough log log-prefix", flags).starting(counters)
	}
	nat := newMenu("/ip/firewall/nat", "chain action to-addresses to-ports protocol "+matchers+" log log-prefix", flags).
		with(writeCommands + " move reset-counters reset-counters-all").
		taking(natArguments()...).starting("action=accept " + counters)
	if b.logFields {
		nat.starting("log=false log-prefix=")
	}
	if b.emptyMatchers {
		nat.starting("in-interface-list= dst-address-list=")
	}
	addressList := newMenu("/ip/firewall/address-list", "list address creation-time timeout", "dynamic disabled comment").
		with(writeCommands).starting("dynamic=false disabled=false").
		taking(require(args(checkName, "list address")), args(checkBool, "disabled"), args(nil, "comment timeout"))
	addressList.unique, addressList.already = []string{"list", "address"}, "already have such entry"
	connection := newMenu("/ip/firewall/connection",
		"protocol src-address dst-address reply-src-address reply-dst-address tcp-state timeout", "").with("remove")
	return []*menu{nat, rules("/ip/firewall/filter"), rules("/ip/firewall/mangle"), addressList, connection}
}

// natArguments are the arguments of /ip/firewall/nat, RouterOS 6.49 to 7.24.
func natArguments() [][]argument {
	return [][]argument{
		require(args(checkChain, "chain")),
		args(checkAction, "action"),
		args(checkProtocol, "protocol"),
		args(checkPorts, "dst-port src-port port"),
		args(checkAddress, "to-addresses dst-address src-address"),
		args(checkPortRange, "to-ports"),
		args(checkInterface, "in-interface out-interface"),
		args(checkInterfaceList, "in-interface-list out-interface-list"),
		args(checkBool, "disabled log"),
		args(checkName, "dst-address-list src-address-list connection-mark routing-mark packet-mark jump-target limit time"),
		args(checkName, "dst-address-type src-address-type address-list address-list-timeout same-not-by-dst connection-type "+
			"connection-bytes connection-limit connection-rate content dscp dst-limit fragment hotspot icmp-options "+
			"in-bridge-port in-bridge-port-list out-bridge-port out-bridge-port-list ingress-priority ipsec-policy ipv4-options "+
			"layer7-protocol nth packet-size per-connection-classifier priority psd random realm routing-table "+
			"src-mac-address tcp-mss ttl"),
		args(nil, "comment"),
		args(checkLogPrefix, "log-prefix"),
		argsIn(span{since: v710}, checkBool, "randomise-ports"), //nolint:misspell // RouterOS spells it so
		argsIn(span{before: v716}, checkName, "tls-host"),
		argsIn(span{since: v720}, checkName, "socks5-server socks5-port socks5-user socks5-password socksify-service"),
		argsIn(span{since: v721}, checkName, "tos"),
	}
}
