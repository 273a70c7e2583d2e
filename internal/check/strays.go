package check

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/routeros"
)

// strays looks for rules of ours that are not on the tunnel any more. The daemon
// leaves them alone, because it cannot know who changed them, and why.
type strays struct{ onRouter }

// The kinds of trouble with rules.
const (
	// KindStrays is rules of ours that lost their interface.
	KindStrays remedy.Kind = "stray rules"
	// KindInvalid is a rule that is switched on and does not work.
	KindInvalid remedy.Kind = "invalid rule"
)

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
	var invalid []routeros.Row
	ours := 0
	for _, row := range rows {
		switch {
		case row.Bool("dynamic") || !router.Made(v.cfg.Instance, row.Value("comment")):
		case row.Value("in-interface") != v.survey.InInterface:
			commands = append(commands, remedy.NewCommand(natPath+"/remove", "numbers", row.Value(".id")))
		case broken(row):
			invalid = append(invalid, row)
		default:
			ours++
		}
	}
	var found []Finding
	if len(invalid) > 0 {
		found = append(found, invalidRules(invalid))
	}
	if len(commands) > 0 {
		return append(found, bad(Warn, KindStrays,
			fmt.Sprintf("%d rules of ours are not on %s: the interface was removed, or somebody changed them", len(commands), v.survey.InInterface),
			"remove them", commands...)), nil
	}
	if len(found) > 0 {
		return found, nil
	}
	return []Finding{good("%d rules of the instance %s, all on %s", ours, v.cfg.Instance, v.survey.InInterface)}, nil
}

// maxListed is how many rows a finding names.
const maxListed = 5

// invalidRules is the finding for rules of ours that the router calls invalid.
func invalidRules(rows []routeros.Row) Finding {
	var named []string
	advice := remedy.Invalid(rows[0].Value(".id"), printable(aboutOf(rows[0])))
	for i, row := range rows {
		if i < maxListed {
			named = append(named, describeInvalid(row))
		}
		if i > 0 {
			advice.Commands = append(advice.Commands, remedy.Invalid(row.Value(".id"), "").Commands...)
		}
	}
	return Finding{Level: Warn, Seen: fmt.Sprintf("%d of our rules are invalid: %s", len(rows), strings.Join(named, "; ")), Advice: advice}
}

// aboutOf is what the router says about a row, "" for nothing.
func aboutOf(row routeros.Row) string { return cmp.Or(row.Value(".about"), row.Value("about")) }

// describeInvalid names a row that does not work, with what the router says of it.
func describeInvalid(row routeros.Row) string {
	about := aboutOf(row)
	if about == "" {
		return describe(row)
	}
	return describe(row) + ": " + printable(about)
}
