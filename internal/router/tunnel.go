package router

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// settingName is the variable with which the operator names the tunnel interface.
const settingName = "MIKROTIK_IN_INTERFACE"

// maxNamed is how many interfaces an error message names.
const maxNamed = 8

// InterfaceError says that the tunnel interface is not known. Without it no rule
// can be made: one that takes packets from any interface opens the WAN.
type InterfaceError struct {
	// Reason says what is wrong.
	Reason string
	// Candidates are the interfaces that come into question, tunnels first; nil for none.
	Candidates []string
}

// Error returns the reason, the candidates, and the setting that helps.
func (e *InterfaceError) Error() string {
	s := "tunnel interface unknown: " + e.Reason + "; set " + settingName
	if len(e.Candidates) == 0 {
		return s
	}
	named := e.Candidates
	if len(named) > maxNamed {
		named = named[:maxNamed]
	}
	s += " to one of: " + strings.Join(named, ", ")
	if more := len(e.Candidates) - len(named); more > 0 {
		s += fmt.Sprintf(" (and %d more)", more)
	}
	return s
}

// Advice says which setting helps.
func (e *InterfaceError) Advice() remedy.Advice {
	return remedy.Interface(e.Candidates[:min(len(e.Candidates), maxNamed)])
}

// isTunnelType reports whether an interface of this type is a tunnel to
// somewhere. PPPoE and LTE are not: they are how many a WAN looks.
func isTunnelType(kind string) bool {
	switch kind {
	case "wg", "wireguard", "zerotier",
		"l2tp-out", "l2tp-in", "pptp-out", "pptp-in", "sstp-out", "sstp-in", "ovpn-out", "ovpn-in",
		"gre", "gre-tunnel", "ipip", "ipip-tunnel", "eoip", "eoip-tunnel":
		return true
	default:
		return false
	}
}

// interfaces is what the router has: names, and which of them are tunnels.
type interfaces struct {
	names   []string // in the router's order
	tunnels []string
}

// parseInterfaces reads the rows of /interface and of /interface/wireguard.
func parseInterfaces(rows, wireGuard []routeros.Row) interfaces {
	var all interfaces
	for _, row := range rows {
		name := row.Value("name")
		if name == "" {
			continue
		}
		all.names = append(all.names, name)
		isWireGuard := slices.ContainsFunc(wireGuard, func(wg routeros.Row) bool { return wg.Value("name") == name })
		if isWireGuard || isTunnelType(row.Value("type")) {
			all.tunnels = append(all.tunnels, name)
		}
	}
	return all
}

// candidates returns the tunnels, or all interfaces of a router without any.
func (all interfaces) candidates() []string {
	if len(all.tunnels) > 0 {
		return all.tunnels
	}
	return all.names
}

// configured checks an interface that the operator has named.
func (all interfaces) configured(name string) (string, error) {
	if slices.Contains(all.names, name) {
		return name, nil
	}
	return "", &InterfaceError{Reason: fmt.Sprintf("the router has no interface %q", name), Candidates: all.candidates()}
}

// choose returns the tunnel interface, given how the router reaches the gateway.
// It refuses whatever might be the WAN.
func (all interfaces) choose(w way, gateway netip.Addr) (string, error) {
	var known, tunnels []string
	for _, name := range w.interfaces {
		if slices.Contains(all.names, name) {
			known = append(known, name)
		}
		if slices.Contains(all.tunnels, name) {
			tunnels = append(tunnels, name)
		}
	}
	refuse := func(why string, candidates []string) (string, error) {
		return "", &InterfaceError{Reason: why, Candidates: candidates}
	}
	switch {
	case len(tunnels) == 1:
		return tunnels[0], nil
	case len(known) == 0:
		return refuse(fmt.Sprintf("the router has no route to the gateway %s", gateway), all.candidates())
	case len(known) > 1:
		return refuse(fmt.Sprintf("the router reaches the gateway %s in several ways", gateway), known)
	case w.bits == 0:
		const why = "the router reaches the gateway %s only by its default route through %s, which is no tunnel"
		return refuse(fmt.Sprintf(why, gateway, known[0]), all.candidates())
	default:
		return known[0], nil
	}
}

// findTunnel returns the interface through which packets from the gateway come
// in, and where that was found. /ip/route/check knows best, but is missing in
// RouterOS 7.1 to 7.17 and needs the policy test; the routing table does for the
// rest, and at last the router's own addresses.
func (r *Router) findTunnel(ctx context.Context, all interfaces) (name, found string, err error) {
	if r.cfg.InInterface != "" {
		name, err = all.configured(r.cfg.InInterface)
		return name, settingName, err
	}
	name, err = r.checkRoute(ctx)
	if err != nil {
		return "", "", err
	}
	if slices.Contains(all.tunnels, name) {
		return name, "/ip/route/check", nil
	}
	routes, err := r.print(ctx, "/ip/route", routeProperties()...)
	if err != nil {
		return "", "", err
	}
	to, found := findWay(routes, r.cfg.Gateway), "/ip/route"
	if name != "" && !slices.Contains(to.interfaces, name) {
		// The router decides by more than its main table. What the table says of the
		// prefix does not hold for this interface.
		to, found = way{interfaces: []string{name}}, "/ip/route/check"
	}
	if len(to.interfaces) == 0 {
		addresses, err := r.print(ctx, "/ip/address", "address", "interface", "actual-interface", "disabled", "invalid")
		if err != nil {
			return "", "", err
		}
		to, found = way{interfaces: findNetwork(addresses, r.cfg.Gateway), bits: 1}, "/ip/address"
	}
	name, err = all.choose(to, r.cfg.Gateway)
	return name, found, err
}

// checkRoute asks the router itself. It returns "" if the router cannot tell.
// What status it has for an address without a route is not documented: only an
// interface counts.
func (r *Router) checkRoute(ctx context.Context) (string, error) {
	reply, err := r.do(ctx, routeros.Command{
		Path: "/ip/route/check",
		Args: []routeros.Attr{{Name: "dst-ip", Value: r.cfg.Gateway.String()}, {Name: "once"}},
	})
	if refused(err) {
		r.log.DebugContext(ctx, "router cannot check routes", "error", err)
		return "", nil
	}
	if err != nil || len(reply.Rows) == 0 {
		return "", err
	}
	return reply.Rows[0].Value("interface"), nil
}
