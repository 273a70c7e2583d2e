package check

import (
	"context"
	"fmt"

	"doublenat/internal/remedy"
)

// fastTrack looks whether FastTrack takes packets past the marks that lead
// replies back: after the first packets it skips mangle.
type fastTrack struct{ onRouter }

// KindFastTrack is a FastTrack rule that breaks the policy routing of replies.
const KindFastTrack remedy.Kind = "fasttrack"

// Name implements Probe.
func (fastTrack) Name() string { return "fasttrack" }

// Run implements Probe.
func (fastTrack) Run(ctx context.Context, v *visit) ([]Finding, error) {
	if v.byMark == "" {
		return nil, nil // nothing depends on mangle
	}
	rows, err := v.active(ctx, filterPath)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if row.Value("action") != "fasttrack-connection" {
			continue
		}
		f, err := v.meets(ctx, row, packet{state: "established", natState: "dstnat", mark: v.byMark})
		if err != nil {
			return nil, err
		}
		level := Fail
		if f == never {
			continue
		} else if f == perhaps {
			level = Warn
		}
		return []Finding{bad(level, KindFastTrack,
			fmt.Sprintf("the FastTrack rule %s takes marked connections past mangle: their replies leave by the main table", describe(row)),
			"leave marked connections out of it",
			remedy.NewCommand(filterPath+"/set", "numbers", row.Value(".id"), "connection-mark", noMark))}, nil
	}
	return []Finding{good("FastTrack leaves marked connections alone")}, nil
}
