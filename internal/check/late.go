package check

import (
	"context"
	"net/netip"
	"slices"

	"doublenat/internal/remedy"
	"doublenat/internal/walk"
	"doublenat/natpmp"
)

// late looks whether what doublenat sends to clients of its own accord, or long after
// they asked, comes from the address that they know. The router translates replies as
// long as it remembers the request, which is half a minute to three; packets after that
// have doublenat's own address, and clients drop them.
type late struct{ onRouter }

// KindLate is a router that lets late packets out with doublenat's own address.
const KindLate remedy.Kind = "late packets"

// Name implements Probe.
func (late) Name() string { return "late" }

// Run implements Probe.
func (late) Run(ctx context.Context, v *visit) ([]Finding, error) {
	if len(v.cfg.Self) > 0 && !slices.Contains(v.cfg.Self, v.target) {
		return nil, nil // there is no doublenat to send anything
	}
	asking, known, err := v.requestsLeg(ctx)
	if err != nil || !known {
		return nil, err
	}
	lan, err := v.lan(ctx)
	if err != nil {
		return nil, err
	}
	f := asking.flows[0]
	matchers := []string{"protocol", "udp", "src-port", port(natpmp.Port), "src-address", v.target.String()}
	l := leg{
		flows: []sample{{Flow: walk.Flow{
			In: f.out, Protocol: "udp", Src: netip.AddrPortFrom(v.target, natpmp.Port), Dst: f.Src,
		}, out: f.home, home: f.out, network: f.network}},
		there: heading{
			what: "what doublenat sends to clients later than their request", unmasked: v.target,
			kit: kit{raw: v.fromTarget(f.out), rawChain: "prerouting", mangle: matchers, filter: matchers, chain: "forward"},
		},
		onlyThere: true,
	}
	found := v.solve(l, func(p problem) Finding {
		if p.stage == walk.StageSrcNAT && p.how == walk.Lost {
			return lateAs(p, lan, matchers)
		}
		return v.mend(KindLate, l, p)
	})
	if len(found) > 0 {
		return found, nil
	}
	return []Finding{good("what doublenat sends later comes from the router, by %s", describe(v.net.Walk(l.flows[0].Flow).There.Trail.SrcNAT.Row))}, nil
}

// lateAs is the finding for late packets with doublenat's own address.
func lateAs(p problem, lan, matchers []string) Finding {
	words := append([]string{"chain", "srcnat", "action", "masquerade"}, matchers...)
	out := map[string]string{"in-interface-list": "out-interface-list", "in-interface": "out-interface"}[lan[0]]
	c := remedy.NewCommand(natPath+"/add", append(words, out, lan[1], "comment", "NAT-PMP from doublenat")...).Before("chain=srcnat !dynamic")
	if id := p.spot.ID(); id != "" && !p.spot.Before.Bool("dynamic") {
		c.Place = remedy.Place{}
		c = c.With("place-before", p.spot.Before.Value(".id"))
	}
	return bad(Warn, KindLate, "what doublenat sends to clients later than their request has its own address, and they drop it",
		"let it come from the router, as replies do", c)
}
