package check

import (
	"context"
	"fmt"

	"doublenat/internal/remedy"
	"doublenat/internal/router"
)

// strays looks for rules of ours that are not on the tunnel any more. The daemon
// leaves them alone, because it cannot know who changed them, and why.
type strays struct{ onRouter }

// KindStrays is rules of ours that lost their interface.
const KindStrays remedy.Kind = "stray rules"

// Name implements Probe.
func (strays) Name() string { return "rules" }

// Run implements Probe.
func (strays) Run(ctx context.Context, v *visit) ([]Finding, error) {
	if v.survey.InInterface == "" {
		return nil, nil
	}
	rows, err := v.rows(ctx, natPath)
	if err != nil {
		return nil, err
	}
	var commands []remedy.Command
	ours := 0
	for _, row := range rows {
		switch {
		case row.Bool("dynamic") || !router.Made(v.cfg.Instance, row.Value("comment")):
		case row.Value("in-interface") != v.survey.InInterface || row.Bool("invalid"):
			commands = append(commands, remedy.NewCommand(natPath+"/remove", "numbers", row.Value(".id")))
		default:
			ours++
		}
	}
	if len(commands) > 0 {
		return []Finding{bad(Warn, KindStrays,
			fmt.Sprintf("%d rules of ours are not on %s: the interface was removed, or somebody changed them", len(commands), v.survey.InInterface),
			"remove them", commands...)}, nil
	}
	return []Finding{good("%d rules of the instance %s, all on %s", ours, v.cfg.Instance, v.survey.InInterface)}, nil
}
