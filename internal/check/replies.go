package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"doublenat/internal/remedy"
	"doublenat/internal/walk"
	"doublenat/routeros"
)

// replies looks whether what clients answer to connections from the tunnel goes
// back into it. If it leaves by another way, it has the wrong source address.
type replies struct{ onRouter }

// KindAstray is a router that sends replies out by another way.
const KindAstray remedy.Kind = "replies astray"

const manglePath = "/ip/firewall/mangle"

// The connection mark and routing table of the remedy, and what a connection
// without a mark is called.
const (
	ownMark = "doublenat"
	noMark  = "no-mark"
)

// Name implements Probe.
func (replies) Name() string { return "replies" }

// Run implements Probe. Replies find their way by the main table if its default
// route is the tunnel, by a routing rule for the clients' network or interface, by a
// mark that their connection got when it came in, or by one that each packet of the
// LAN gets.
func (replies) Run(ctx context.Context, v *visit) ([]Finding, error) {
	iface := v.survey.InInterface
	if _, err := v.router(ctx); err != nil || iface == "" {
		return nil, err
	}
	l := v.mappedLeg(iface)
	l.onlyBack = true
	if len(l.flows) == 0 {
		return nil, nil // the probe of the forward chain has said so
	}
	var failure error
	found := v.solve(l, func(p problem) Finding {
		if p.stage != walk.StageRoute && p.stage != walk.StageMangle {
			return v.mend(KindDropped, l, p)
		}
		m, err := v.marking(ctx, iface)
		failure = errors.Join(failure, err)
		return v.astray(p, iface, m)
	})
	if failure != nil {
		return nil, failure
	}
	back := v.net.Walk(l.flows[0].Flow).Back
	switch {
	case back.How != walk.Arrives:
	case back.Trail.ByMark:
		v.byMark = back.Trail.Mark
	default:
		v.byRule = !back.Trail.Rule.IsZero()
	}
	if len(found) == 0 {
		return []Finding{v.wayBack(back, iface)}, nil
	}
	return found, nil
}

// wayBack says how replies find the tunnel.
func (v *visit) wayBack(back walk.Leg, iface string) Finding {
	trail := back.Trail
	switch mark := trail.MarkedRouting.Row.Value("connection-mark"); {
	case trail.ByMark && mark != "" && mark != noMark && !strings.HasPrefix(mark, "!"):
		return good("replies leave through %s, by the connection mark %s", iface, mark)
	case trail.ByMark:
		return good("replies leave through %s, by the routing mark %s", iface, trail.Table)
	case !trail.Rule.IsZero():
		of := trail.Rule.Row.Value("src-address")
		if of == "" {
			of = "clients"
		}
		return good("replies of %s leave through %s, by the routing rule %s", of, iface, describe(trail.Rule.Row))
	default:
		return good("everything leaves through %s", iface)
	}
}

// astray is the finding for replies that leave by another way.
func (v *visit) astray(p problem, iface string, m marking) Finding {
	text := "mark what comes in by " + iface + ", and send what has the mark back there"
	leave := "nowhere"
	if out := p.leg().Out; out != "" {
		leave = "through " + out
	}
	missing := m.missing(iface, strings.HasPrefix(v.survey.Version, "6."), p.trip)
	if p.how == walk.Unsure {
		return bad(Warn, KindUnsure, fmt.Sprintf("cannot tell whether replies to connections from %s leave through it: %s", iface, v.puzzle(p.spot)), text, missing...)
	}
	if !p.all {
		level := Warn
		if p.main {
			level = Fail
		}
		return bad(level, KindAstray, fmt.Sprintf("replies of some clients (%v) to connections from %s leave %s; those of others do not",
			p.flow.client(), iface, leave), text, missing...)
	}
	return bad(Fail, KindAstray, fmt.Sprintf("replies to connections from %s leave %s", iface, leave), text, missing...)
}

// marking is how replies are led back by marks, as far as it is there.
type marking struct {
	connection       string // the mark that connections get
	table            string // where packets with that mark are sent
	marks            bool   // a rule gives connections the mark
	sends            bool   // a rule sends packets with the mark to the table
	exists           bool   // the table is there
	leads            bool   // its default route is the tunnel
	markRow, sendRow string // the ids of the rules that mark and send
}

// marking looks for the rules that mark connections, and for those that act on
// the mark.
func (v *visit) marking(ctx context.Context, iface string) (marking, error) {
	m := marking{connection: ownMark, table: ownMark}
	rows, err := v.active(ctx, manglePath)
	if err != nil {
		return m, err
	}
	lan, err := v.bridge(ctx)
	if err != nil {
		return m, err
	}
	for _, row := range rows {
		f, err := v.meets(ctx, row, packet{in: iface, state: "new", mark: noMark})
		if err != nil {
			return m, err
		}
		if row.Value("action") == "mark-connection" && f >= partly {
			m.connection, m.marks, m.markRow = row.Value("new-connection-mark"), true, row.Value(".id")
			break
		}
	}
	for _, row := range rows {
		f, err := v.meets(ctx, row, packet{in: lan, state: "established", natState: "dstnat", mark: m.connection})
		if err != nil {
			return m, err
		}
		if row.Value("action") == "mark-routing" && row.Value("chain") == "prerouting" && f != never && row.Value("connection-mark") != "" {
			m.table, m.sends, m.sendRow = row.Value("new-routing-mark"), true, row.Value(".id")
			break
		}
	}
	return m, v.lookUp(ctx, &m, iface)
}

// reply is what a client answers to a connection from the tunnel, as it comes in at
// the router. What is not known of the LAN stays empty.
func (v *visit) reply(ctx context.Context, mark string) (packet, error) {
	p := packet{state: "established", natState: "dstnat", mark: mark, remote: true, dst: walk.One(somewhere())}
	var err error
	if p.in, err = v.bridge(ctx); err != nil {
		return p, err
	}
	if network := v.networkOf(p.in); network.IsValid() {
		p.src = walk.SpanOf(network)
	}
	return p, err
}

// lookUp finds out about the table of the marking, and takes any other that leads
// into the tunnel if no rule names one yet.
func (v *visit) lookUp(ctx context.Context, m *marking, iface string) error {
	tables, err := v.rows(ctx, "/routing/table")
	if err != nil {
		return err
	}
	if !m.sends {
		for _, row := range tables {
			exits, err := v.exits(ctx, row.Value("name"))
			if err != nil {
				return err
			}
			if slices.Contains(exits, iface) {
				m.table = row.Value("name")
			}
		}
	}
	_, m.exists = named(tables, m.table)
	exits, err := v.exits(ctx, m.table)
	m.leads = slices.Contains(exits, iface)
	return err
}

// missing returns the commands that complete the marking. A rule that ends the
// chain before the packets of the trip meet theirs has to come after it.
func (m marking) missing(iface string, version6 bool, trip walk.Trip) []remedy.Command {
	var commands []remedy.Command
	table := "routing-table"
	if version6 {
		table = "routing-mark"
	}
	if !m.exists && !version6 {
		commands = append(commands, remedy.NewCommand("/routing/table/add", "name", m.table, "fib"))
	}
	if !m.leads {
		commands = append(commands, remedy.NewCommand("/ip/route/add", "dst-address", "0.0.0.0/0", "gateway", iface, table, m.table))
	}
	mark := remedy.NewCommand(manglePath+"/add", "chain", "prerouting", "action", "mark-connection",
		"in-interface", iface, "connection-state", "new", "new-connection-mark", m.connection, "passthrough", "yes")
	commands = append(commands, before(mark, m.markRow, trip.There.Trail.Mangle, trip.There.Trail.MarkedConnection, "in by "+iface)...)
	send := remedy.NewCommand(manglePath+"/add", "chain", "prerouting", "action", "mark-routing",
		"in-interface", "!"+iface, "connection-mark", m.connection, "new-routing-mark", m.table, "passthrough", "no")
	return append(commands, before(send, m.sendRow, trip.Back.Trail.Mangle, trip.Back.Trail.MarkedRouting, "back to "+iface)...)
}

// before returns the command for a rule of mangle that packets meet: the rule is
// added, or moved if it is there, before what ended the chain. None is needed if it
// is there and was met.
func before(rule remedy.Command, id string, end, met walk.Spot, comment string) []remedy.Command {
	place := end.Before.Value(".id")
	if end.Before.Bool("dynamic") {
		place = ""
	}
	switch {
	case id != "" && (place == "" || place == id || met.ID() == id):
		return nil
	case id != "":
		return []remedy.Command{remedy.NewCommand(manglePath+"/move", "numbers", id, "destination", place)}
	}
	if place != "" {
		rule.Args = append(rule.Args, routeros.Attr{Name: "place-before", Value: place})
	}
	rule.Args = append(rule.Args, routeros.Attr{Name: "comment", Value: comment})
	return []remedy.Command{rule}
}

// bridge returns the first bridge, which stands for the interface of a client;
// "" if there is none.
func (v *visit) bridge(ctx context.Context) (string, error) {
	rows, err := v.rows(ctx, "/interface")
	i := slices.IndexFunc(rows, func(r routeros.Row) bool { return r.Value("type") == "bridge" })
	if i < 0 {
		return "", err
	}
	return rows[i].Value("name"), err
}
