package router

import (
	"slices"

	"doublenat/routeros"
)

// interfaces is what the router has: names, and what they are.
type interfaces struct {
	names   []string // in the router's order
	tunnels []string // lead to somewhere over another line
	vpns    []string // those of the tunnels that no provider uses for a line
	dialed  []string // lines to a provider by their type
	idle    []string // not running or switched off
	dynamic []string // made by the router itself
	place   Place    // where the gateway may be
}

// isTunnelType reports whether an interface of this type is a tunnel to
// somewhere. PPPoE and LTE are not: they are how many a WAN looks.
func isTunnelType(kind string) bool {
	switch kind {
	case "l2tp-out", "l2tp-in", "pptp-out", "pptp-in", "sstp-out", "sstp-in",
		"gre", "gre-tunnel", "ipip", "ipip-tunnel", "eoip", "eoip-tunnel":
		return true
	default:
		return IsVPNType(kind)
	}
}

// IsVPNType reports whether an interface of this type (as /interface has it) is never the line
// to a provider.
func IsVPNType(kind string) bool {
	switch kind {
	case "wg", "wireguard", "zerotier", "ovpn-out", "ovpn-in":
		return true
	default:
		return false
	}
}

// isDialedType reports whether an interface of this type is a line to a provider.
func isDialedType(kind string) bool {
	switch kind {
	case "pppoe-out", "lte", "ppp-out":
		return true
	default:
		return false
	}
}

// parseInterfaces reads the rows of /interface and of /interface/wireguard.
func parseInterfaces(rows, wireGuard []routeros.Row) interfaces {
	var all interfaces
	note := func(list *[]string, name string, is bool) {
		if is {
			*list = append(*list, name)
		}
	}
	for _, row := range rows {
		name, kind := row.Value("name"), row.Value("type")
		if name == "" {
			continue
		}
		isWireGuard := slices.ContainsFunc(wireGuard, func(wg routeros.Row) bool { return wg.Value("name") == name })
		note(&all.names, name, true)
		note(&all.tunnels, name, isWireGuard || isTunnelType(kind))
		note(&all.vpns, name, isWireGuard || IsVPNType(kind))
		note(&all.dialed, name, isDialedType(kind))
		note(&all.idle, name, row.Bool("disabled") || row.Value("running") == "false")
		note(&all.dynamic, name, row.Bool("dynamic"))
	}
	return all
}

// kindOf returns what the interface of a name is.
func (all interfaces) kindOf(name string) kind {
	switch {
	case slices.Contains(all.vpns, name):
		return kindVPN
	case slices.Contains(all.tunnels, name):
		return kindTunnel
	default:
		return 0
	}
}

// candidates returns the tunnels, or all interfaces of a router without any.
func (all interfaces) candidates() []string {
	if len(all.tunnels) > 0 {
		return slices.Clone(all.tunnels)
	}
	return slices.Clone(all.names)
}
