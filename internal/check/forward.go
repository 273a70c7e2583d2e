package check

import (
	"context"
	"fmt"
	"slices"

	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// forward looks whether the filter lets mapped packets through to the clients.
type forward struct{ onRouter }

// KindDropped is a filter that drops what the rules of doublenat let in.
const KindDropped remedy.Kind = "mapped packets dropped"

const filterPath = "/ip/firewall/filter"

// maxJumps bounds how deep chains are followed: they may lead in a circle.
const maxJumps = 8

// Name implements Probe.
func (forward) Name() string { return "filter" }

// Run implements Probe.
func (forward) Run(ctx context.Context, v *visit) ([]Finding, error) {
	iface := v.survey.InInterface
	if iface == "" {
		return nil, nil
	}
	rows, err := v.active(ctx, filterPath)
	if err != nil {
		return nil, err
	}
	w := walk{visit: v, rows: rows, packet: packet{in: iface, state: "new", natState: "dstnat"}}
	row, err := w.chain(ctx, "forward", 0)
	if err != nil {
		return nil, err
	}
	if !drops(row) {
		return []Finding{good("the forward chain lets mapped packets from %s through", iface)}, nil
	}
	return []Finding{bad(Fail, KindDropped,
		fmt.Sprintf("the filter rule %s drops packets from %s that were mapped", describe(row), iface),
		"accept what is dst-natted, before that rule",
		remedy.NewCommand(filterPath+"/add", "chain", "forward", "action", "accept", "connection-state", "new", "connection-nat-state", "dstnat",
			"in-interface", iface, "place-before", w.before.Value(".id"), "comment", "mapped by doublenat"))}, nil
}

// walk follows a packet through the filter, or through NAT.
type walk struct {
	visit  *visit
	rows   []routeros.Row
	packet packet
	until  string       // the id of a rule that is taken to decide; "" for none
	before routeros.Row // the rule of the first chain on the way to the verdict
}

// drops reports whether a verdict of the filter is that packets are dropped.
func drops(row routeros.Row) bool {
	return slices.Contains([]string{"drop", "reject", "tarpit"}, row.Value("action"))
}

// chain returns the rule that decides about the packet, nil if none of the chain
// does. A rule that only takes some of the packets decides if it drops them.
func (w *walk) chain(ctx context.Context, name string, depth int) (routeros.Row, error) {
	if depth > maxJumps {
		return nil, nil
	}
	for _, row := range w.rows {
		if row.Value("chain") != name {
			continue
		}
		f, err := w.visit.meets(ctx, row, w.packet)
		if err != nil {
			return nil, err
		}
		if w.wants(row) {
			f = always
		}
		if f < partly {
			continue
		}
		if depth == 0 {
			w.before = row
		}
		if row.Value("action") == "jump" {
			if found, err := w.chain(ctx, row.Value("jump-target"), depth+1); found != nil || err != nil {
				return found, err
			}
			continue
		}
		if decides(row, f == always) {
			return verdict(row, depth), nil
		}
	}
	return nil, nil
}

// wants reports whether the walk ends at the rule.
func (w *walk) wants(row routeros.Row) bool { return w.until != "" && row.Value(".id") == w.until }

// verdict returns the rule that has decided, nil for the end of a chain that was
// jumped to.
func verdict(row routeros.Row, depth int) routeros.Row {
	if row.Value("action") == "return" && depth > 0 {
		return nil
	}
	return row
}

// decides reports whether a rule decides about packets, given whether it takes all
// of them: one that drops some decides as well. At the end of a chain of the
// router's own, which return is too, packets are accepted.
func decides(row routeros.Row, all bool) bool {
	switch row.Value("action") {
	case "accept", "return", "dst-nat", "redirect", "netmap":
		return all
	default:
		return drops(row)
	}
}
