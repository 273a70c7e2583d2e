package check

import (
	"context"
	"fmt"

	"doublenat/internal/remedy"
	"doublenat/internal/walk"
)

// masquerade looks for rules that put the router's address in the place of the
// clients' on the way to doublenat, which knows clients by their addresses.
type masquerade struct{ onRouter }

// KindHidden is a router that hides the clients from doublenat.
const KindHidden remedy.Kind = "clients hidden"

// Name implements Probe.
func (masquerade) Name() string { return "masquerade" }

// Run implements Probe. Requests that do not reach doublenat at all are not judged here.
func (masquerade) Run(ctx context.Context, v *visit) ([]Finding, error) {
	l, known, err := v.requestsLeg(ctx)
	if err != nil || !known {
		return nil, err
	}
	l.onlySource = true
	exit := l.flows[0].out
	limit, err := v.outside(ctx, exit)
	if err != nil {
		return nil, err
	}
	found := v.solve(l, func(p problem) Finding { return v.hidden(p, limit) })
	if len(found) > 0 {
		return found, nil
	}
	if spot := v.net.Walk(l.flows[0].Flow).There.Trail.SrcNAT; !spot.IsZero() {
		return []Finding{good("clients keep their addresses, by %s", describe(spot.Row))}, nil
	}
	return []Finding{good("clients keep their addresses on the way to doublenat")}, nil
}

// hidden is the finding for a rule that replaces the clients' addresses.
func (v *visit) hidden(p problem, limit []string) Finding {
	row := p.spot.Row
	if p.how == walk.Unsure {
		return bad(Warn, KindUnsure, "cannot tell whether clients keep their addresses on the way to doublenat: "+v.puzzle(p.spot),
			"check whether that rule matches them")
	}
	return bad(Fail, KindHidden,
		fmt.Sprintf("the rule %s hides clients from doublenat: all of them look like the router", describe(row)),
		"limit it to what leaves for the Internet",
		remedy.NewCommand(natPath+"/set", append([]string{"numbers", row.Value(".id")}, limit...)...))
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
