package check

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/natpmp"
)

// inInterface looks for the interface on which packets from the gateway come in.
type inInterface struct{ onRouter }

// The kinds of trouble with an interface that is known.
const (
	// KindDown is an interface that is not up.
	KindDown remedy.Kind = "interface down"
	// KindWAN is a setting that names the way to the Internet instead of the tunnel.
	KindWAN remedy.Kind = "interface is the wan"
)

// Name implements Probe.
func (inInterface) Name() string { return "interface" }

// Run implements Probe. It is the daemon's own search.
func (inInterface) Run(ctx context.Context, v *visit) ([]Finding, error) {
	survey, err := router.Look(ctx, v.commander(), router.Config{InInterface: v.cfg.InInterface, Gateway: v.cfg.Gateway.Addr(), Place: v.cfg.Place})
	if err != nil {
		return nil, err
	}
	found := v.findGateway(survey.Gateway)
	judged, err := v.judgeTunnel(ctx, survey)
	return append(found, judged...), err
}

// findGateway takes the gateway of the default route for the one, where that is wanted.
func (v *visit) findGateway(at netip.Addr) []Finding {
	if v.cfg.Place != router.PlaceDefaultRoute {
		return nil
	}
	v.cfg.Gateway = netip.AddrPortFrom(at, natpmp.Port)
	v.cfg.Others = v.cfg.Find(v.cfg.Gateway)
	return []Finding{good("the gateway is %v, that of the router's default route", at)}
}

// judgeTunnel judges the interface that was found.
func (v *visit) judgeTunnel(ctx context.Context, survey router.Survey) ([]Finding, error) {
	name := survey.InInterface
	rows, err := v.rows(ctx, "/interface")
	if err != nil {
		return nil, err
	}
	row, _ := named(rows, name)
	switch {
	case row.Bool("disabled"):
		return []Finding{bad(Fail, KindDown, fmt.Sprintf("the interface %s is disabled", name), "enable it",
			remedy.NewCommand("/interface/enable", "numbers", name))}, nil
	case !row.Bool("running"):
		return []Finding{bad(Fail, KindDown, fmt.Sprintf("the interface %s is not running", name),
			survey.Link().Down())}, nil
	}
	if survey.Elsewhere != "" { // What else there is may be right for that one.
		return []Finding{{
			Level: Warn, Seen: fmt.Sprintf("MIKROTIK_IN_INTERFACE names %s, and the router reaches the gateway through %s", name, survey.Elsewhere),
			Advice: remedy.NoTunnel(name, survey.Elsewhere),
		}}, nil
	}
	v.survey = survey // An interface that is down says nothing about the way back.
	exits, err := v.exits(ctx, mainTable)
	if err != nil {
		return nil, err
	}
	if v.cfg.Pool != nil {
		return []Finding{good("the ports of the pool arrive at %s", name)}, nil
	}
	if v.cfg.Place != router.PlaceTunnel {
		return []Finding{good("%s leads to the gateway, by %s", name, survey.Found)}, nil
	}
	if v.cfg.InInterface != "" && slices.Contains(exits, name) && row.Value("type") == "ether" {
		return v.namedLine(ctx, name)
	}
	return []Finding{good("%s is the tunnel, by %s", name, survey.Found)}, nil
}

// namedLine judges a line to the Internet that is named as the interface to the gateway: one
// in its network is the box of a provider, and no VPN's.
func (v *visit) namedLine(ctx context.Context, name string) ([]Finding, error) {
	near, err := v.near(ctx, name, v.cfg.Gateway.Addr())
	switch {
	case err != nil:
		return nil, err
	case near:
		return []Finding{good("%s leads to the gateway, which is in its network", name)}, nil
	default:
		return []Finding{bad(Warn, KindWAN, fmt.Sprintf("%s, the way to the Internet, is set as the interface to the gateway", name),
			"if the gateway is not at that line, leave MIKROTIK_IN_INTERFACE empty: the interface is then found by the route to VPN_GATEWAY")}, nil
	}
}
