package router

import (
	"context"
	"errors"
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

// InterfaceError says that the interface to the gateway is not known. Without it no rule
// can be made: one that takes packets from any interface opens the WAN.
type InterfaceError struct {
	// Reason says what is wrong.
	Reason string
	// Candidates are the interfaces that come into question, tunnels first; nil for none.
	Candidates []string
	// Unrouted is the gateway where the router has no route to it, or only one to the
	// Internet: without one, the setting alone would leave requests without a way. The
	// zero Addr is for another trouble.
	Unrouted netip.Addr
	// through are the interfaces through which the gateway is reached, nil for none. certain
	// says that the router told all that it takes to know.
	through []string
	certain bool
	// nameless is set if it is the gateway of the default route that is not known: that
	// has no address.
	nameless bool
	// exposed is the one that was refused because it may be a line to the Internet; "" for none.
	exposed string
}

// Error returns the reason, the candidates, and the setting that helps.
func (e *InterfaceError) Error() string {
	if e.nameless {
		return "gateway unknown: " + e.Reason + "; set VPN_GATEWAY=auto:// and the address of the box"
	}
	s := "in-interface unknown: " + e.Reason
	if e.Unrouted.IsValid() {
		return s
	}
	s += "; set " + settingName
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

// Advice says which setting or which route helps.
func (e *InterfaceError) Advice() remedy.Advice {
	if e.nameless {
		return remedy.NoDefaultGateway()
	}
	candidates := e.Candidates[:min(len(e.Candidates), maxNamed)]
	if e.Unrouted.IsValid() {
		return remedy.NoRoute(e.Unrouted, candidates)
	}
	return remedy.Interface(candidates)
}

// noGateway is the error for a default route that has no address as its gateway. Through
// are the interfaces by which it leads; nil for a router without one.
func noGateway(through []string) *InterfaceError {
	if len(through) == 0 {
		return &InterfaceError{Reason: "the router has no default route in use (dst-address 0.0.0.0/0, table main)", nameless: true}
	}
	const why = "the router's default route leads through %s, and has no address as its gateway"
	return &InterfaceError{Reason: fmt.Sprintf(why, strings.Join(through, ", ")), nameless: true}
}

// choose returns the tunnel interface, given how the router reaches the gateway and
// which interfaces are lines to the Internet. It refuses whatever might be the WAN.
func (all interfaces) choose(w way, l lines, gateway netip.Addr) (string, error) {
	known, tunnels := all.among(w.interfaces)
	var name string
	switch {
	case len(known) == 0:
		return "", &InterfaceError{Reason: fmt.Sprintf("the router has no route to the gateway %s", gateway), Candidates: all.tunnels, Unrouted: gateway}
	case len(known) == 1:
		name = known[0]
	case len(tunnels) == 1 && w.bits != wholeInternet:
		name = tunnels[0]
	default:
		return "", &InterfaceError{Reason: fmt.Sprintf("the router reaches the gateway %s in several ways", gateway), Candidates: known}
	}
	why, either := all.suspicion(name, w, l, gateway)
	if why == "" || all.place != PlaceTunnel {
		return name, nil
	}
	refusal := &InterfaceError{Reason: why, Candidates: all.candidates()}
	if !either {
		refusal.Candidates, refusal.Unrouted = all.tunnels, gateway
	}
	if !slices.Contains(all.vpns, name) {
		refusal.exposed = name
	}
	return "", refusal
}

// among returns which of the names are interfaces, and which of those are tunnels.
func (all interfaces) among(names []string) (known, tunnels []string) {
	for _, name := range names {
		if slices.Contains(all.names, name) {
			known = append(known, name)
		}
		if slices.Contains(all.tunnels, name) {
			tunnels = append(tunnels, name)
		}
	}
	return known, tunnels
}

// suspicion returns why the interface may be a line to the Internet, "" if it is none.
// WireGuard never is one. L2TP, PPTP and SSTP are with some providers, and so is
// whatever else has a default route. Either is set for one that may just as well be
// the tunnel, which only the operator knows.
func (all interfaces) suspicion(name string, w way, l lines, gateway netip.Addr) (why string, either bool) {
	switch {
	case slices.Contains(all.vpns, name):
		if w.bits == wholeInternet && len(all.vpns) > 1 {
			const why = "the router reaches the gateway %s only by its default route through %s, and has other tunnels"
			return fmt.Sprintf(why, gateway, name), false
		}
		return "", false
	case slices.Contains(all.tunnels, name):
		if slices.Contains(l.main, name) {
			const why = "the router reaches the gateway %s through %s, which carries its default route: that may be the line to the Internet"
			return fmt.Sprintf(why, gateway, name), true
		}
		return "", false
	case w.bits == wholeInternet:
		const why = "the router reaches the gateway %s only by its default route through %s, which is no tunnel"
		return fmt.Sprintf(why, gateway, name), false
	case w.bits < 0 || slices.Contains(l.main, name) || slices.Contains(l.other, name) || slices.Contains(all.dialed, name):
		const why = "the router reaches the gateway %s through %s, which is no tunnel but a line to the Internet"
		return fmt.Sprintf(why, gateway, name), false
	default:
		return "", false
	}
}

// configured checks an interface that the operator has named. One that carries the
// main default route is taken only if nothing else leads to the gateway: ports that
// open there are open to the whole Internet.
func (all interfaces) configured(name string, w way, l lines, gateway netip.Addr) error {
	if !slices.Contains(all.names, name) {
		return &InterfaceError{Reason: fmt.Sprintf("the router has no interface %q", name), Candidates: all.candidates()}
	}
	known, _ := all.among(w.interfaces)
	if !slices.Contains(l.main, name) || len(known) == 1 && known[0] == name {
		return nil
	}
	why := fmt.Sprintf("%s=%s carries the router's default route, and the gateway %s is not reached through it", settingName, name, gateway)
	if len(known) == 0 {
		known = slices.DeleteFunc(all.candidates(), func(n string) bool { return n == name })
	}
	return &InterfaceError{Reason: why, Candidates: known, exposed: name}
}

// discovery is what was found out about the tunnel interface.
type discovery struct {
	name, found string
	// elsewhere is the interface through which the gateway is reached although the
	// operator named another one; "" for none.
	elsewhere string
}

// findTunnel returns the interface through which packets from the gateway come
// in, and where that was found. /ip/route/check knows best, but is missing in
// RouterOS 7.1 to 7.17 and needs the policy test; the routing table does for the
// rest, and at last the router's own addresses. The error is an [*InterfaceError].
func (r *Router) findTunnel(all interfaces, t *tables, gateway netip.Addr) (discovery, error) {
	l := findLines(t.routes, t.addresses)
	checked := t.exit
	to, found := findWay(t.routes, gateway), "/ip/route"
	switch {
	case checked == "":
	case slices.Contains(to.interfaces, checked):
		to.interfaces, found = []string{checked}, "/ip/route/check"
	default:
		// The router decides by more than its main table. What the table says of the
		// prefix does not hold for this interface.
		to, found = way{interfaces: []string{checked}, bits: -1}, "/ip/route/check"
	}
	if len(to.interfaces) == 0 {
		to, found = way{interfaces: findNetwork(t.addresses, gateway), bits: 1}, "/ip/address"
	}
	known, _ := all.among(to.interfaces)
	if name := r.cfg.InInterface; name != "" {
		d := discovery{name: name, found: settingName}
		if len(known) > 0 && !slices.Contains(known, name) && to.bits != wholeInternet {
			// Nobody is told to open ports on a line to the Internet.
			if why, _ := all.suspicion(known[0], to, l, gateway); why == "" {
				d.elsewhere = known[0]
			}
		}
		return d, explain(all.configured(name, to, l, gateway), t.told, known)
	}
	name, err := all.choose(to, l, gateway)
	return discovery{name: name, found: found}, explain(err, t.told, known)
}

// explain adds to an [*InterfaceError] through which interfaces the gateway is reached,
// and whether the router told all that it takes to know.
func explain(err error, told bool, known []string) error {
	if missing, ok := errors.AsType[*InterfaceError](err); ok {
		missing.through, missing.certain = known, told
	}
	return err
}

// routesToGateway reads the routes whose prefix contains the gateway, the default
// routes among them. The router does the searching: it may have the whole Internet's.
// Told is false if the router keeps something back, so that there may be more.
func (r *Router) routesToGateway(ctx context.Context, gateway netip.Addr) (rows []routeros.Row, told bool, err error) {
	if !gateway.IsValid() {
		return nil, true, nil
	}
	return r.routesTo(ctx, gateway, gateway.BitLen())
}

// routesTo reads the routes to an address by prefixes of a length, and by shorter ones.
func (r *Router) routesTo(ctx context.Context, to netip.Addr, longest int) (rows []routeros.Row, told bool, err error) {
	var queries []string
	for bits := longest; bits >= 0; bits-- {
		prefix := netip.PrefixFrom(to, bits).Masked()
		queries = append(queries, routeros.Equal("dst-address", prefix.String()))
		if len(queries) > 1 {
			queries = append(queries, "?#|")
		}
	}
	rows, told, err = r.routes(ctx, to, queries)
	switch {
	case refused(err):
		r.log.DebugContext(ctx, "router cannot print a table", "table", "/ip/route", "error", err)
		return nil, false, nil
	case err != nil:
		return nil, false, err
	case len(rows) == 0: // a router without any such route, or one that cannot search for prefixes
		return r.routes(ctx, to, nil)
	}
	return rows, told, nil
}

// routes reads the routes that pass the queries, and keeps those to the address: a
// router that does not understand a query sends all that it has. Told is false if it
// sent none, or some of which it does not say where they lead.
func (r *Router) routes(ctx context.Context, to netip.Addr, queries []string) (rows []routeros.Row, told bool, err error) {
	cmd := routeros.Command{Path: "/ip/route/print", Properties: routeProperties(), Queries: queries}
	sent, unclear := 0, 0
	_, err = r.each(ctx, cmd, func(row routeros.Row) error {
		sent++
		prefix, err := netip.ParsePrefix(row.Value("dst-address"))
		ours := err == nil && prefix.Contains(to)
		if row.Value("dst-address") == "" || ours && !leads(row) {
			unclear++
		}
		if ours && len(rows) < maxWays {
			rows = append(rows, row.Clone())
		}
		return nil
	})
	return rows, sent > 0 && unclear == 0, err
}

// leads reports whether a row of /ip/route says where it leads.
func leads(row routeros.Row) bool {
	return row.Value("gateway") != "" || row.Value("immediate-gw") != "" || row.Value("gateway-status") != ""
}

// maxWays is how many routes to one address are looked at. There are 33 prefixes that
// contain it, in each routing table.
const maxWays = 4096

// checkRoute asks the router itself. It returns "" if the router cannot tell.
// What status it has for an address without a route is not documented: only an
// interface counts.
func (r *Router) checkRoute(ctx context.Context, gateway netip.Addr) (string, error) {
	if !gateway.IsValid() {
		return "", nil
	}
	reply, err := r.do(ctx, routeros.Command{
		Path: "/ip/route/check",
		Args: []routeros.Attr{{Name: "dst-ip", Value: gateway.String()}, {Name: "once"}},
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
