package check

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"doublenat/internal/remedy"
	"doublenat/internal/walk"
	"doublenat/natpmp"
	"doublenat/routeros"
)

// requests follows what clients ask of the router to where doublenat is, and the
// replies back to them.
type requests struct{ onRouter }

// The kinds of trouble on the way of requests.
const (
	// KindRequests is a router that loses requests of clients, or the replies to them.
	KindRequests remedy.Kind = "requests lost"
	// KindSameNetwork is a doublenat in the network of its clients.
	KindSameNetwork remedy.Kind = "same network"
)

// Name implements Probe.
func (requests) Name() string { return "requests" }

// Run implements Probe.
func (requests) Run(ctx context.Context, v *visit) ([]Finding, error) {
	if _, err := v.router(ctx); err != nil {
		return nil, err
	}
	if v.target.IsValid() && !v.net.Owns(v.target) && len(v.net.Exits(mainTable, v.target)) != 1 {
		return []Finding{bad(Fail, KindRequests, fmt.Sprintf("the router has no single route to doublenat at %v", v.target),
			"give the router an address on its network, or a route to it")}, nil
	}
	l, known, err := v.requestsLeg(ctx)
	if err != nil || !known {
		return nil, err
	}
	found, err := v.apart(ctx, l)
	if err != nil {
		return nil, err
	}
	if len(found) > 0 {
		if l, known, err = v.requestsLeg(ctx); err != nil || !known || len(found[0].Advice.Commands) == 0 {
			return found, err
		}
	}
	found = append(found, v.solve(l, func(p problem) Finding { return v.mend(KindRequests, l, p) })...)
	for _, n := range v.clientNetworks() {
		if !n.whole {
			found = append(found, bad(Warn, KindUnsure, fmt.Sprintf("cannot check every host of %v: rules distinguish more than %d of them", n.Prefix.Masked(), maxHosts),
				"match networks instead of single hosts"))
		}
	}
	if len(found) == 0 {
		return []Finding{good("client requests reach doublenat, and its replies get back")}, nil
	}
	return found, nil
}

// requestsLeg is the way of requests. It is not known if there is no redirect to a
// host behind the router, or none for hosts in the router's networks.
func (v *visit) requestsLeg(ctx context.Context) (l leg, known bool, err error) {
	if _, err := v.router(ctx); err != nil || !v.target.IsValid() || v.net.Owns(v.target) {
		return leg{}, false, err
	}
	out, networks := v.net.Exits(mainTable, v.target), v.clientNetworks()
	if len(out) != 1 || len(networks) == 0 {
		return leg{}, false, nil
	}
	l = v.requestLeg(networks, out[0], offer{what: clientRequests, protocol: "udp", port: natpmp.Port})
	return l, len(l.flows) > 0, nil
}

// clientRequests are those of NAT-PMP and PCP, for people.
const clientRequests = "client requests"

// requestLeg is the way of what clients ask of a service to doublenat, which is behind the
// interface out.
func (v *visit) requestLeg(networks []clients, out string, s offer) leg {
	lan := v.lanOf(networks[0])
	request := append([]string{"protocol", s.protocol, "dst-port", port(s.port)}, lan...)
	reply := []string{"protocol", s.protocol, "src-port", port(s.port), "src-address", v.target.String()}
	replies := "doublenat's replies to clients"
	if s.what != clientRequests {
		replies = "doublenat's answers to " + s.what
	}
	l := leg{
		there: heading{
			what: s.what, some: strings.TrimPrefix(s.what, "client ") + " from some clients (%v)",
			kit: kit{
				raw: append(slices.Clone(request), "dst-address-type", "local"), rawChain: "prerouting",
				mangle: append(slices.Clone(request), "dst-address-type", "local"),
				filter: append(slices.Clone(request), "dst-address", v.target.String()), chain: "forward",
				network: netip.PrefixFrom(v.target, 32),
			},
		},
		back: heading{
			what: replies, some: strings.Replace(replies, " clients", " some clients", 1) + " (%v)",
			kit: kit{
				raw: v.fromTarget(out), rawChain: "prerouting", mangle: reply, filter: reply, chain: "forward",
			},
		},
	}
	for _, n := range networks {
		for _, host := range n.hosts {
			f := walk.Flow{
				In: n.Interface, Protocol: s.protocol, Src: netip.AddrPortFrom(host, clientPort), Dst: netip.AddrPortFrom(n.Prefix.Addr(), s.port),
			}
			if got := v.net.Redirect(f, true); got.How == walk.Arrives && got.Dst.Addr() != v.target {
				continue // not for these, it seems: the redirect is limited
			}
			if len(l.flows) == 0 {
				l.mains = 1
			}
			l.flows = append(l.flows, sample{f, out, n.Interface, n.Prefix.Masked()})
		}
	}
	return l
}

// fromTarget matches what comes from doublenat in raw: the interface that it has for
// itself, or its address.
func (v *visit) fromTarget(iface string) []string {
	own, shared := false, false
	for _, n := range v.net.Networks() {
		if n.Interface == iface {
			apart := n.Prefix.Bits() >= 29 && n.Prefix.Contains(v.target)
			own, shared = own || apart, shared || !apart
		}
	}
	if own && !shared { // a container on the clients' bridge is not alone there
		return []string{"in-interface", iface}
	}
	return []string{"src-address", v.target.String()}
}

// lanOf returns the matcher, as name and value, with which the redirect knows
// the clients; if it has none, their interface.
func (v *visit) lanOf(n clients) []string {
	for _, row := range v.redirects {
		for _, name := range []string{"in-interface-list", "in-interface", "src-address-list", "src-address"} {
			if value := row.Value(name); value != "" && value[0] != '!' {
				return []string{name, value}
			}
		}
	}
	return []string{"in-interface", n.Interface}
}

// apart looks whether doublenat's replies pass the router at all. They do not if it
// is in the network of its clients. A container that is a port of their bridge is
// moved to a network of its own.
func (v *visit) apart(ctx context.Context, l leg) ([]Finding, error) {
	p, lost := l.examine(v.net)
	if !lost || p.stage != walk.StageLink {
		return nil, nil
	}
	seen := v.loss(p, l.back.what)
	ports, err := v.rows(ctx, "/interface/bridge/port")
	if err != nil {
		return nil, err
	}
	veths, err := v.rows(ctx, "/interface/veth")
	if err != nil {
		return nil, err
	}
	for _, veth := range veths {
		i := slices.IndexFunc(ports, func(r routeros.Row) bool { return r.Value("interface") == veth.Value("name") })
		if i >= 0 && hasAddress(veth, v.target) {
			return []Finding{v.moveOut(seen, ports[i], veth)}, nil
		}
	}
	return []Finding{bad(Fail, KindSameNetwork, seen, "give doublenat a network of its own behind the router: a routed veth, or another VLAN")}, nil
}

// hasAddress reports whether a veth has the address.
func hasAddress(veth routeros.Row, a netip.Addr) bool {
	return slices.ContainsFunc(fields(veth.Value("address")), func(s string) bool {
		prefix, err := netip.ParsePrefix(s)
		return err == nil && prefix.Addr() == a
	})
}

// moveOut is the finding for a veth that is a port of the clients' bridge. Its commands
// give it a network of its own, and send the redirect there; from here on it has that.
func (v *visit) moveOut(seen string, bridgePort, veth routeros.Row) Finding {
	router, host := v.freeNetwork()
	name := veth.Value("name")
	commands := []remedy.Command{
		remedy.NewCommand("/interface/bridge/port/remove", "numbers", bridgePort.Value(".id")),
		remedy.NewCommand("/interface/veth/set", "numbers", name, "address", netip.PrefixFrom(host, 30).String(), "gateway", router.String()),
		remedy.NewCommand("/ip/address/add", "address", netip.PrefixFrom(router, 30).String(), "interface", name),
	}
	for _, row := range v.net.Rows[natPath] { // the redirect, and what late packets need
		for _, attribute := range []string{"to-addresses", "src-address"} {
			if s, ok := walk.ParseSpan(row.Value(attribute)); ok && s == walk.One(v.target) {
				commands = append(commands, remedy.NewCommand(natPath+"/set", "numbers", row.Value(".id"), attribute, host.String()))
			}
		}
	}
	if after, ok := v.apply(commands); ok {
		v.net, v.target = after, host
		v.net.Partial = append(slices.Clone(v.net.Partial), walk.SpanOf(netip.PrefixFrom(host, 30)))
	}
	return bad(Fail, KindSameNetwork, seen, "move the container from the bridge to a network of its own, and restart it", commands...)
}

// freeNetwork returns the two hosts of a network that the router has not yet.
func (v *visit) freeNetwork() (router, host netip.Addr) {
	network := netip.MustParsePrefix("172.30.254.0/30")
	for slices.ContainsFunc(v.net.Networks(), func(n walk.Network) bool { return n.Prefix.Overlaps(network) }) {
		network = netip.PrefixFrom(walk.SpanOf(network).Last.Next(), 30)
	}
	router = network.Addr().Next()
	return router, router.Next()
}
