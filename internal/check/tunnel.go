package check

import (
	"context"
	"fmt"
	"slices"

	"doublenat/internal/remedy"
	"doublenat/internal/router"
)

// tunnel looks for the interface on which packets from the gateway come in.
type tunnel struct{ onRouter }

// The kinds of trouble with a tunnel that is known.
const (
	// KindDown is a tunnel that is not up.
	KindDown remedy.Kind = "tunnel down"
	// KindWAN is a setting that names the way to the Internet instead of the tunnel.
	KindWAN remedy.Kind = "tunnel is the wan"
)

// Name implements Probe.
func (tunnel) Name() string { return "tunnel" }

// Run implements Probe. It is the daemon's own search.
func (tunnel) Run(ctx context.Context, v *visit) ([]Finding, error) {
	survey, err := router.Look(ctx, v.api, router.Config{InInterface: v.cfg.InInterface, Gateway: v.cfg.Gateway.Addr()})
	if err != nil {
		return nil, err
	}
	name := survey.InInterface
	rows, err := v.rows(ctx, "/interface")
	if err != nil {
		return nil, err
	}
	row, _ := named(rows, name)
	switch {
	case row.Bool("disabled"):
		return []Finding{bad(Fail, KindDown, fmt.Sprintf("the tunnel interface %s is disabled", name), "enable it",
			remedy.NewCommand("/interface/enable", "numbers", name))}, nil
	case !row.Bool("running"):
		return []Finding{bad(Fail, KindDown, fmt.Sprintf("the tunnel interface %s is not running", name),
			"look at the tunnel's peer: endpoint, keys, last handshake")}, nil
	}
	v.survey = survey // A tunnel that is down says nothing about the way back.
	exits, err := v.exits(ctx, mainTable)
	if err != nil {
		return nil, err
	}
	if v.cfg.InInterface != "" && slices.Contains(exits, name) && row.Value("type") == "ether" {
		return []Finding{bad(Warn, KindWAN, fmt.Sprintf("%s, the way to the Internet, is set as the tunnel", name),
			"if the VPN does not end at that interface, leave MIKROTIK_IN_INTERFACE empty: the tunnel is then found by the route to VPN_GATEWAY")}, nil
	}
	return []Finding{good("%s is the tunnel, by %s", name, survey.Found)}, nil
}
