package check

import (
	"context"
	"fmt"

	"doublenat/internal/remedy"
	"doublenat/routeros"
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
	mark := v.byMark
	if mark == "" {
		if !v.byRule {
			return nil, nil // nothing depends on what FastTrack skips
		}
		mark = noMark
	}
	rows, err := v.active(ctx, filterPath)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if row.Value("action") != "fasttrack-connection" {
			continue
		}
		f, err := v.fastTracked(ctx, row, mark)
		if err != nil {
			return nil, err
		}
		level := Fail
		if f == never {
			continue
		} else if f == perhaps {
			level = Warn
		}
		if v.byRule {
			return []Finding{v.pastRules(row)}, nil
		}
		return []Finding{v.pastMangle(level, row)}, nil
	}
	if mark == noMark {
		return []Finding{good("FastTrack leaves connections of %s alone", v.survey.InInterface)}, nil
	}
	return []Finding{good("FastTrack leaves marked connections alone")}, nil
}

// fastTracked says whether a rule takes connections from the tunnel, which have the
// mark: either of their directions is enough.
func (v *visit) fastTracked(ctx context.Context, row routeros.Row, mark string) (fate, error) {
	back, err := v.reply(ctx, mark)
	if err != nil {
		return never, err
	}
	back.out = v.survey.InInterface
	there, err := v.meets(ctx, row, packet{
		in: back.out, out: back.in, src: back.dst, dst: back.src, state: back.state, natState: back.natState, mark: back.mark, remote: true,
	})
	if err != nil {
		return never, err
	}
	f, err := v.meets(ctx, row, back)
	return max(f, there), err
}

// pastRules is the finding for a FastTrack rule on a router whose routing rules matter.
// MikroTik's manual says that FastTrack knows the main routing table only; others report
// that it works. So nobody is told to be sure.
func (v *visit) pastRules(row routeros.Row) Finding {
	f := v.aroundTunnel(Warn, row, fmt.Sprintf("the FastTrack rule %s may take connections past the routing rules: "+
		"the manual says that FastTrack knows the main table only, and others say that it works", describe(row)))
	f.Advice.Text = "if connections stall after their first packets, " + f.Advice.Text
	return f
}

// pastMangle is the finding for a FastTrack rule. Connections without a mark can
// only be left out by their interfaces.
func (v *visit) pastMangle(level Level, row routeros.Row) Finding {
	if v.byMark != noMark {
		return bad(level, KindFastTrack,
			fmt.Sprintf("the FastTrack rule %s takes marked connections past mangle: their replies leave by the main table", describe(row)),
			"leave marked connections out of it",
			remedy.NewCommand(filterPath+"/set", "numbers", row.Value(".id"), "connection-mark", noMark))
	}
	seen := fmt.Sprintf("the FastTrack rule %s takes connections past the routing marks of mangle: their replies leave by the main table", describe(row))
	return v.aroundTunnel(level, row, seen)
}

// aroundTunnel is the finding for a FastTrack rule that must leave the tunnel alone,
// whatever marks its connections have.
func (v *visit) aroundTunnel(level Level, row routeros.Row, seen string) Finding {
	if row.Value("in-interface")+row.Value("out-interface") != "" {
		return bad(level, KindFastTrack, seen, "disable it", remedy.NewCommand(filterPath+"/disable", "numbers", row.Value(".id")))
	}
	not := "!" + v.survey.InInterface
	return bad(level, KindFastTrack, seen, "leave "+v.survey.InInterface+" out of it",
		remedy.NewCommand(filterPath+"/set", "numbers", row.Value(".id"), "in-interface", not, "out-interface", not))
}
