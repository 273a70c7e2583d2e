package check

import (
	"context"
	"errors"
	"fmt"

	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
)

// ports looks whether a port is left at which mapped packets can arrive.
type ports struct{ onRouter }

// Name implements Probe.
func (ports) Name() string { return "ports" }

// Run implements Probe. It is the daemon's own look at the table.
func (ports) Run(ctx context.Context, v *visit) ([]Finding, error) {
	if v.survey.InInterface == "" {
		return nil, nil
	}
	seen, err := router.LookAtRules(ctx, v.commander(), router.Config{InInterface: v.cfg.InInterface, Gateway: v.cfg.Gateway.Addr(), Place: v.cfg.Place, Instance: v.cfg.Instance})
	if err != nil {
		return nil, err
	}
	taken, ok := errors.AsType[*nat.TakenError](seen.InnerPortFree())
	if !ok {
		return nil, nil
	}
	return []Finding{{
		Level:  Fail,
		Seen:   fmt.Sprintf("no port of %s is free: the NAT rule %s takes them for %v", v.survey.InInterface, taken.Rule, taken.Protocol),
		Advice: remedy.Taken(taken.Rule),
	}}, nil
}
