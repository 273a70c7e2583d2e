package check

import (
	"context"
	"net/netip"

	"doublenat/internal/remedy"
	"doublenat/internal/walk"
)

// forward looks whether the router lets mapped packets through to the clients.
type forward struct{ onRouter }

// KindDropped is a filter that drops what the rules of doublenat let in.
const KindDropped remedy.Kind = "mapped packets dropped"

const filterPath = walk.PathFilter

// Name implements Probe.
func (forward) Name() string { return "filter" }

// Run implements Probe.
func (forward) Run(ctx context.Context, v *visit) ([]Finding, error) {
	iface := v.survey.InInterface
	if _, err := v.router(ctx); err != nil || iface == "" {
		return nil, err
	}
	l := v.mappedLeg(iface)
	l.onlyThere = true
	if len(l.flows) == 0 {
		return []Finding{bad(Warn, KindUnsure, "cannot tell where mapped packets go: no client network is known", "redirect UDP 5351 first")}, nil
	}
	found := v.solve(l, func(p problem) Finding { return v.mend(KindDropped, l, p) })
	if len(found) == 0 {
		return []Finding{good("the forward chain lets mapped packets from %s through", iface)}, nil
	}
	return found, nil
}

// mappedLeg is the way of packets from the Internet through the tunnel to a client,
// for both protocols. Dst-nat does what a rule of doublenat will do.
func (v *visit) mappedLeg(iface string) leg {
	in := []string{"in-interface", iface, "connection-state", "new"}
	l := leg{
		there: heading{
			what: "packets from " + iface + " that were mapped", some: "packets from " + iface + " that were mapped to some clients (%v)",
			kit: kit{
				raw: []string{"in-interface", iface}, rawChain: "prerouting", mangle: in,
				filter: append([]string{"connection-nat-state", "dstnat"}, in...), chain: "forward",
			},
		},
		back: heading{
			what: "replies to connections from " + iface, some: "replies of some clients (%v) to connections from " + iface,
			kit: kit{
				rawChain: "prerouting", filter: []string{"connection-state", "established", "connection-nat-state", "dstnat", "out-interface", iface}, chain: "forward",
			},
		},
	}
	own := v.net.AddressOn(iface)
	if !own.IsValid() {
		own = v.beyond().Next() // the tunnel may have none; it is changed before it is routed
	}
	for _, n := range v.clientNetworks() {
		for _, host := range n.hosts {
			for _, protocol := range []string{"tcp", "udp"} {
				l.flows = append(l.flows, sample{walk.Flow{
					In: iface, Protocol: protocol, Src: netip.AddrPortFrom(somewhere(), clientPort), Dst: netip.AddrPortFrom(own, openPort),
					To: netip.AddrPortFrom(host, openPort),
				}, n.Interface, iface, n.Prefix.Masked()})
			}
		}
	}
	l.mains = min(2, len(l.flows))
	if len(l.flows) > 0 {
		first := l.flows[0]
		l.back.kit.raw = []string{"in-interface", first.out, "src-address", first.network.String()}
	}
	return l
}
