package check

import (
	"context"
	"fmt"
	"slices"

	"doublenat/internal/remedy"
	"doublenat/natpmp"
	"doublenat/routeros"
)

// masquerade looks for rules that put the router's address in the place of the
// clients' on the way to doublenat, which knows clients by their addresses.
type masquerade struct{ onRouter }

// KindHidden is a router that hides the clients from doublenat.
const KindHidden remedy.Kind = "clients hidden"

// Name implements Probe.
func (masquerade) Name() string { return "masquerade" }

// Run implements Probe.
func (masquerade) Run(ctx context.Context, v *visit) ([]Finding, error) {
	if !v.target.IsValid() {
		return nil, nil // nothing gets there
	}
	rows, err := v.active(ctx, natPath)
	if err != nil {
		return nil, err
	}
	exit, err := v.network(ctx, v.target)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		f, err := v.rewrites(ctx, row, exit)
		if err != nil {
			return nil, err
		}
		switch {
		case f < partly:
		case row.Value("action") != "accept":
			limit, err := v.outside(ctx, exit)
			return []Finding{bad(Fail, KindHidden,
				fmt.Sprintf("the rule %s hides clients from doublenat: all of them look like the router", describe(row)),
				"limit it to what leaves for the Internet",
				remedy.NewCommand(natPath+"/set", append([]string{"numbers", row.Value(".id")}, limit...)...))}, err
		case f == always:
			return []Finding{good("clients keep their addresses, by %s", describe(row))}, nil
		}
	}
	return []Finding{good("clients keep their addresses on the way to doublenat")}, nil
}

// rewrites says whether a source NAT rule decides about requests of clients that
// leave for doublenat through the interface.
func (v *visit) rewrites(ctx context.Context, row routeros.Row, exit string) (fate, error) {
	action := row.Value("action")
	if row.Value("chain") != "srcnat" || !slices.Contains([]string{"accept", "masquerade", "src-nat", "same", "netmap"}, action) {
		return never, nil
	}
	f, err := v.meets(ctx, row, packet{out: exit, protocol: "udp", port: natpmp.Port, dst: span{v.target, v.target}, state: "new", natState: "dstnat"})
	if row.Value("src-address") != "" && f == perhaps {
		f = partly // of the hosts on the LAN, these
	}
	return f, err
}

// outside returns the matcher, as name and value, for what leaves for the
// Internet and not for the given interface.
func (v *visit) outside(ctx context.Context, exit string) ([]string, error) {
	has, err := v.hasList(ctx, "WAN")
	if err != nil {
		return nil, err
	}
	if in, err := v.matchList(ctx, "WAN", exit); has && in == never || err != nil {
		return []string{"out-interface-list", "WAN"}, err
	}
	exits, err := v.exits(ctx, mainTable)
	if len(exits) == 0 {
		exits = []string{v.survey.InInterface}
	}
	return []string{"out-interface", exits[0]}, err
}
