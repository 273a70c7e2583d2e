package check

import (
	"fmt"

	"doublenat/internal/remedy"
	"doublenat/internal/walk"
	"doublenat/routeros"
)

// KindUnsure is a row that the check does not understand well enough.
const KindUnsure remedy.Kind = "cannot tell"

// mendComment is the comment of rows that the doctor has people add.
const mendComment = "doublenat"

// mend returns the finding for a problem of a leg, with the commands that a rule of
// the same table needs.
func (v *visit) mend(kind remedy.Kind, l leg, p problem) Finding {
	h := l.there
	if p.back {
		h = l.back
	}
	level := Warn
	if p.main {
		level = Fail
	}
	what := h.what
	if level == Warn && !p.all && h.some != "" {
		what = fmt.Sprintf(h.some, p.flow.client())
	}
	seen := v.loss(p, what)
	if p.how == walk.Unsure {
		level, kind = Warn, KindUnsure
		seen = fmt.Sprintf("cannot tell what happens to %s: %s", what, v.puzzle(p.spot))
	}
	if !p.spot.IsZero() && p.spot.Path != walk.PathRoute && p.spot.Before.Bool("dynamic") {
		return bad(level, kind, seen, "switch off what makes that rule: nothing can be placed before it")
	}
	text, command := h.kit.cure(p)
	if p.how == walk.Unsure {
		text = "if it matches them: " + text
	}
	if command.Path == "" {
		return bad(level, kind, seen, text)
	}
	return bad(level, kind, seen, text, command)
}

// puzzle says which row is not understood.
func (v *visit) puzzle(spot walk.Spot) string {
	if spot.IsZero() {
		return "it goes to an address whose routes were not read"
	}
	return "the " + rowName(spot) + " has a matcher that cannot be evaluated here"
}

// loss says in one sentence how packets are lost.
func (*visit) loss(p problem, what string) string {
	name := rowName(p.spot)
	switch {
	case p.stage == walk.StageLink:
		return what + " bypass the router: clients are on the same network, and see them come from the wrong address"
	case p.stage == walk.StageRaw && p.spot.Row.Value("action") == "notrack":
		return fmt.Sprintf("the %s exempts %s from connection tracking, so NAT does not apply to them", name, what)
	case p.stage == walk.StageMangle:
		return fmt.Sprintf("the %s routes %s out through %s, by the routing mark %s", name, what, p.leg().Out, p.spot.Row.Value("new-routing-mark"))
	case p.stage == walk.StageRoute:
		return strayed(p, name, what)
	default:
		return fmt.Sprintf("the %s drops %s", name, what)
	}
}

// strayed says how the routing decision loses packets.
func strayed(p problem, name, what string) string {
	got, row := p.leg(), p.spot.Row
	switch {
	case p.spot.IsZero() && got.Local:
		return "the router takes " + what + " as its own"
	case p.spot.IsZero():
		return "the router has no route for " + what
	case got.Out != "":
		return fmt.Sprintf("the %s routes %s out through %s", name, what, got.Out)
	case row.Value("action") == "lookup-only-in-table":
		return fmt.Sprintf("the %s sends %s to the table %s, which has no route for them", name, what, row.Value("table"))
	default:
		return fmt.Sprintf("the %s drops %s", name, what)
	}
}

// rowName names a row for people.
func rowName(spot walk.Spot) string {
	table := map[string]string{
		walk.PathRaw: "raw rule", walk.PathMangle: "mangle rule", walk.PathNAT: "NAT rule", walk.PathFilter: "filter rule",
		walk.PathRule: "routing rule", walk.PathRule6: "routing rule", walk.PathRoute: "route", walk.PathVRF: "VRF", walk.PathVRF6: "VRF",
	}[spot.Path]
	return table + " " + describe(spot.Row)
}

// cure returns what to do about a problem, and the command for it, whose Path is
// empty if there is none.
func (k kit) cure(p problem) (string, remedy.Command) {
	before, network := p.spot.Before.Value(".id"), k.network
	if !network.IsValid() {
		network = p.flow.network
	}
	switch {
	case p.stage == walk.StageRaw:
		return "accept them before that rule", add(walk.PathRaw, before, append([]string{"chain", k.rawChain, "action", "accept"}, k.raw...))
	case p.stage == walk.StageMangle:
		return "accept them before that rule", add(walk.PathMangle, before, append([]string{"chain", k.rawChain, "action", "accept"}, k.mangle...))
	case p.stage == walk.StageFilter:
		return "accept them before that rule", add(walk.PathFilter, before, append([]string{"chain", k.chain, "action", "accept"}, k.filter...))
	case p.stage == walk.StageDstNAT || p.stage == walk.StageSrcNAT:
		return "exempt them from that rule", remedy.Command{}
	case p.stage == walk.StageRoute && (p.spot.Path == walk.PathRule || p.spot.Path == walk.PathRule6):
		return "route them by table main, before that rule", add(p.spot.Path, before,
			[]string{"dst-address", network.String(), "action", "lookup-only-in-table", "table", mainTable})
	default:
		return "add a route for them", remedy.Command{}
	}
}

// add returns the command for a row before another one.
func add(path, before string, words []string) remedy.Command {
	c := remedy.NewCommand(path+"/add", words...)
	c.Args = append(c.Args, routeros.Attr{Name: "place-before", Value: before}, routeros.Attr{Name: "comment", Value: mendComment})
	return c
}
