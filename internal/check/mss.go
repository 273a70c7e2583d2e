package check

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// mss looks whether TCP connections through the tunnel may send larger segments than
// fit where the way to the Internet is narrower than Ethernet. Where then nobody hears
// that a packet was too big, connections open and stall.
type mss struct{ onRouter }

// KindMSS is a tunnel over a narrow line without a clamp of the MSS.
const KindMSS remedy.Kind = "mss"

// fullMTU is what Ethernet carries.
const fullMTU = 1500

// Name implements Probe.
func (mss) Name() string { return "mss" }

// Run implements Probe. Tunnels of PPP have the clamp by their profile; WireGuard has none.
func (mss) Run(ctx context.Context, v *visit) ([]Finding, error) {
	iface := v.survey.InInterface
	if iface == "" {
		return nil, nil
	}
	interfaces, err := v.active(ctx, "/interface")
	if err != nil {
		return nil, err
	}
	row, _ := named(interfaces, iface)
	narrow, err := v.narrow(ctx, interfaces, iface)
	if err != nil || narrow == "" || row.Value("type") != "wg" {
		return nil, err
	}
	clamped, err := v.clamps(ctx, iface)
	if err != nil {
		return nil, err
	}
	if clamped {
		return []Finding{good("the MSS of connections through %s is clamped", iface)}, nil
	}
	clamp := func(way string) remedy.Command {
		return remedy.NewCommand(manglePath+"/add", "chain", "forward", "action", "change-mss", "new-mss", "clamp-to-pmtu", "passthrough", "yes",
			"protocol", "tcp", "tcp-flags", "syn", way, iface, "comment", "MSS of the tunnel").Before("chain=forward !dynamic")
	}
	return []Finding{bad(Warn, KindMSS,
		fmt.Sprintf("%s goes over %s, which carries less than %d bytes, and nothing clamps the MSS: connections may open and stall", iface, narrow, fullMTU),
		"clamp it to the path MTU, both ways", clamp("out-interface"), clamp("in-interface"))}, nil
}

// narrow returns the interface to the Internet that carries less than Ethernet, ""
// for none: of the default route, or any line of PPPoE or LTE where that is the tunnel.
func (v *visit) narrow(ctx context.Context, interfaces []routeros.Row, tunnel string) (string, error) {
	exits, err := v.exits(ctx, mainTable)
	if err != nil {
		return "", err
	}
	exits = slices.DeleteFunc(exits, func(name string) bool { return name == tunnel })
	for _, row := range interfaces {
		name := row.Value("name")
		if len(exits) > 0 && !slices.Contains(exits, name) {
			continue
		}
		mtu, errMTU := strconv.Atoi(row.Value("actual-mtu"))
		line := slices.Contains([]string{"pppoe-out", "lte"}, row.Value("type"))
		if line && row.Bool("running") || len(exits) > 0 && errMTU == nil && mtu < fullMTU {
			return name, nil
		}
	}
	return "", nil
}

// clamps reports whether a mangle rule changes the MSS of connections that are opened
// through the interface, in either direction.
func (v *visit) clamps(ctx context.Context, iface string) (bool, error) {
	rows, err := v.active(ctx, manglePath)
	if err != nil {
		return false, err
	}
	lan, err := v.bridge(ctx)
	if err != nil {
		return false, err
	}
	for _, row := range rows {
		if row.Value("action") != "change-mss" || !slices.Contains([]string{"forward", "postrouting"}, row.Value("chain")) {
			continue
		}
		for _, p := range []packet{{in: lan, out: iface, protocol: "tcp", state: "new"}, {in: iface, out: lan, protocol: "tcp", state: "new"}} {
			f, err := v.meets(ctx, ofSegments(row), p)
			if err != nil {
				return false, err
			}
			if f != never {
				return true, nil
			}
		}
	}
	return false, nil
}

// ofSegments returns the rule without matchers that every rule of this kind has.
func ofSegments(row routeros.Row) routeros.Row {
	return slices.DeleteFunc(slices.Clone(row), func(a routeros.Attr) bool {
		return a.Name == "tcp-flags" || a.Name == "tcp-mss"
	})
}
