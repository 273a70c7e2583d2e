package check

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"doublenat/internal/remedy"
	"doublenat/natpmp"
	"doublenat/routeros"
)

// shadowed looks for a rule before a redirect that takes what clients ask first.
func (v *visit) shadowed(ctx context.Context, rules []routeros.Row, _ []string) ([]Finding, error) {
	rows, err := v.active(ctx, natPath)
	if err != nil {
		return nil, err
	}
	for _, row := range rules {
		p, err := v.request(ctx, row)
		if err != nil {
			return nil, err
		}
		w := walk{visit: v, rows: rows, packet: p, until: row.Value(".id")}
		first, err := w.chain(ctx, "dstnat", 0)
		if err != nil {
			return nil, err
		}
		if first == nil || redirects(first) {
			continue // another redirect is looked at in its turn
		}
		seen := fmt.Sprintf("the rule %s takes what clients ask before the redirect %s", describe(first), describe(row))
		if w.before.Bool("dynamic") {
			return []Finding{bad(Fail, KindShadowed, seen, "switch off what makes that rule: nothing can be moved before it")}, nil
		}
		return []Finding{bad(Fail, KindShadowed, seen, "move it before that rule",
			remedy.NewCommand(natPath+"/move", "numbers", row.Value(".id"), "destination", w.before.Value(".id")))}, nil
	}
	return nil, nil
}

// request is what a client on the LAN asks of the router, as the rule would take
// it: what is not known of the LAN stays empty.
func (v *visit) request(ctx context.Context, row routeros.Row) (packet, error) {
	p := packet{protocol: "udp", port: natpmp.Port, state: "new", local: true}
	var err error
	if p.in, err = v.entry(ctx, row); err != nil {
		return p, err
	}
	network, err := v.networkOf(ctx, p.in)
	if network.IsValid() {
		p.dst, p.src = spanOf(netip.PrefixFrom(network.Addr(), 32)), spanOf(network)
	}
	return p, err
}

// entry returns an interface of clients from which the rule takes packets: the one
// that it names, or the first of its list, or else the first bridge.
func (v *visit) entry(ctx context.Context, row routeros.Row) (string, error) {
	name := row.Value("in-interface")
	if name != "" && !strings.HasPrefix(name, "!") && !strings.HasPrefix(name, "all-") {
		return name, nil
	}
	members, err := v.active(ctx, "/interface/list/member")
	if err != nil {
		return "", err
	}
	for _, m := range members {
		if m.Value("list") == row.Value("in-interface-list") {
			return m.Value("interface"), nil
		}
	}
	return v.bridge(ctx)
}

// networkOf returns the first network of an interface, with the router's address
// in it; the zero Prefix if it has none.
func (v *visit) networkOf(ctx context.Context, iface string) (netip.Prefix, error) {
	rows, err := v.active(ctx, "/ip/address")
	for _, row := range rows {
		if prefix, errPrefix := netip.ParsePrefix(row.Value("address")); errPrefix == nil && prefix.Addr().Is4() && interfaceOf(row) == iface {
			return prefix, err
		}
	}
	return netip.Prefix{}, err
}
