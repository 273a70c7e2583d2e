package check

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"doublenat/internal/remedy"
	"doublenat/internal/walk"
)

// service follows doublenat's connection to the router's API.
type service struct{ onRouter }

// upstream follows doublenat's requests to the VPN gateway, and the replies back.
type upstream struct{ onRouter }

// The kinds of trouble on doublenat's own ways.
const (
	// KindAPI is a router that loses doublenat's connection to its API.
	KindAPI remedy.Kind = "api lost"
	// KindUpstream is a router that loses what doublenat asks of the gateway, or the replies.
	KindUpstream remedy.Kind = "gateway lost"
	// KindUnmasked is a router that sends doublenat's own address to the gateway.
	KindUnmasked remedy.Kind = "not masqueraded"
)

// Name implements Probe.
func (service) Name() string { return "api" }

// Run implements Probe. From doublenat's own host the login has shown the way.
func (service) Run(ctx context.Context, v *visit) ([]Finding, error) {
	to := v.cfg.Service
	if _, err := v.router(ctx); err != nil || !v.behind() || !to.IsValid() || !v.net.Owns(to.Addr()) {
		return nil, err
	}
	if slices.Contains(v.cfg.Self, v.target) {
		return []Finding{good("doublenat reaches the API")}, nil
	}
	in := v.net.Exits(mainTable, v.target)[0]
	out := []string{"src-address", v.target.String(), "protocol", "tcp", "dst-port", port(to.Port())}
	back := []string{"dst-address", v.target.String(), "protocol", "tcp", "src-port", port(to.Port())}
	l := leg{
		flows: []sample{{Flow: walk.Flow{In: in, Protocol: "tcp", Src: netip.AddrPortFrom(v.target, clientPort), Dst: to}, home: in}}, mains: 1,
		there: heading{
			what: "doublenat's connection to the API",
			kit:  kit{raw: v.fromTarget(in), rawChain: "prerouting", mangle: out, filter: out, chain: "input", network: netip.PrefixFrom(to.Addr(), 32)},
		},
		back: heading{
			what: "the API's replies to doublenat",
			kit:  kit{raw: back, rawChain: "output", mangle: back, filter: back, chain: "output", network: netip.PrefixFrom(v.target, 32)},
		},
	}
	found := v.solve(l, func(p problem) Finding { return v.mend(KindAPI, l, p) })
	if len(found) == 0 {
		return []Finding{good("doublenat reaches the API")}, nil
	}
	return found, nil
}

// behind reports whether doublenat is known, and is a host behind the router.
func (v *visit) behind() bool {
	return v.target.IsValid() && !v.net.Owns(v.target) && len(v.net.Exits(mainTable, v.target)) == 1
}

// Name implements Probe.
func (upstream) Name() string { return "upstream" }

// Run implements Probe. From doublenat's own host a gateway that answers has shown
// the way.
func (upstream) Run(ctx context.Context, v *visit) ([]Finding, error) {
	iface := v.survey.InInterface
	if _, err := v.router(ctx); err != nil || !v.behind() || iface == "" {
		return nil, err
	}
	in := v.net.Exits(mainTable, v.target)[0]
	if in == iface {
		return nil, nil // it is at the far end of the tunnel
	}
	gateway := v.cfg.Gateway
	l := v.upstreamLeg(in, iface)
	found := v.solve(l, func(p problem) Finding { return v.mendUpstream(l, p, iface) })
	if len(found) > 0 && slices.Contains(v.cfg.Self, v.target) {
		if _, err := v.ask(ctx); err == nil {
			return []Finding{good("doublenat reaches the gateway %v", gateway.Addr())}, nil
		}
	}
	if len(found) == 0 {
		return []Finding{good("doublenat reaches the gateway %v through %s, and its replies reach doublenat", gateway.Addr(), iface)}, nil
	}
	return found, nil
}

// upstreamLeg is the way from doublenat, behind the interface in, to the gateway.
func (v *visit) upstreamLeg(in, iface string) leg {
	to := v.cfg.Gateway
	at := port(to.Port())
	out := []string{"protocol", "udp", "dst-port", at, "src-address", v.target.String(), "dst-address", to.Addr().String()}
	back := []string{"protocol", "udp", "src-port", at, "src-address", to.Addr().String(), "in-interface", iface}
	return leg{
		flows: []sample{{Flow: walk.Flow{In: in, Protocol: "udp", Src: netip.AddrPortFrom(v.target, clientPort), Dst: to}, out: iface, home: in}}, mains: 1,
		there: heading{
			what: "doublenat's requests to the gateway", unmasked: v.target,
			kit: kit{raw: v.fromTarget(in), rawChain: "prerouting", mangle: out, filter: out, chain: "forward", network: netip.PrefixFrom(to.Addr(), 32)},
		},
		back: heading{
			what: "the gateway's replies to doublenat",
			kit:  kit{raw: back, rawChain: "prerouting", mangle: back, filter: back, chain: "forward", network: netip.PrefixFrom(v.target, 32)},
		},
	}
}

// mendUpstream is the finding for a problem on the way to the gateway. Where the
// table main does not lead into the tunnel, no rule helps without a route.
func (v *visit) mendUpstream(l leg, p problem, iface string) Finding {
	if p.stage == walk.StageSrcNAT && p.how == walk.Lost {
		return v.unmasked(p, iface)
	}
	f := v.mend(KindUpstream, l, p)
	if p.back || p.how == walk.Unsure || p.stage != walk.StageRoute && p.stage != walk.StageMangle {
		return f
	}
	if slices.Equal(v.net.Exits(mainTable, v.cfg.Gateway.Addr()), []string{iface}) {
		return f
	}
	route := remedy.NewCommand(walk.PathRoute+"/add", "dst-address", netip.PrefixFrom(v.cfg.Gateway.Addr(), 32).String(), "gateway", iface, "comment", mendComment)
	f.Advice.Text = "give the gateway a route through " + iface
	if len(f.Advice.Commands) > 0 {
		f.Advice.Text += ", and have it used before that rule"
	}
	f.Advice.Commands = append([]remedy.Command{route}, f.Advice.Commands...)
	return f
}

// unmasked is the finding for requests that leave with doublenat's own address.
func (v *visit) unmasked(p problem, iface string) Finding {
	seen := fmt.Sprintf("doublenat's requests enter %s with its own address %v, so no reply can come back", iface, v.target)
	words := []string{"chain", "srcnat", "action", "masquerade", "out-interface", iface}
	if spot := p.spot; spot.Path == natPath {
		seen += ", by the " + rowName(spot)
		if spot.Before.Bool("dynamic") {
			return bad(Fail, KindUnmasked, seen, "switch off what makes that rule: nothing can be placed before it")
		}
		return bad(Fail, KindUnmasked, seen, "masquerade what leaves through "+iface+", before that rule", add(natPath, spot.Before.Value(".id"), words))
	}
	return bad(Fail, KindUnmasked, seen, "masquerade what leaves through "+iface, remedy.NewCommand(natPath+"/add", append(words, "comment", mendComment)...))
}
