package check

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"doublenat/internal/remedy"
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
// route is the tunnel, by a routing rule for the clients' network, by a mark that
// their connection got when it came in, or by one that each packet of the LAN gets.
func (replies) Run(ctx context.Context, v *visit) ([]Finding, error) {
	iface := v.survey.InInterface
	if iface == "" {
		return nil, nil
	}
	exits, err := v.exits(ctx, mainTable)
	if err != nil {
		return nil, err
	}
	if slices.Contains(exits, iface) {
		return []Finding{good("everything leaves through %s", iface)}, nil
	}
	network, err := v.byRule(ctx, iface)
	if err != nil {
		return nil, err
	}
	if network != "" {
		return []Finding{good("replies of %s leave through %s, by a routing rule", network, iface)}, nil
	}
	m, err := v.marking(ctx, iface)
	if err != nil {
		return nil, err
	}
	missing := m.missing(iface, strings.HasPrefix(v.survey.Version, "6."))
	if len(missing) == 0 {
		v.byMark = m.connection
		return []Finding{good("replies leave through %s, by the connection mark %s", iface, m.connection)}, nil
	}
	const text = "mark what comes from the tunnel, and send what has the mark back into it"
	if !m.marks {
		m.connection = noMark
	}
	mark, f, err := v.plainly(ctx, iface, m.connection)
	if err != nil {
		return nil, err
	}
	if f != never {
		v.byMark = m.connection
	}
	switch f {
	case always:
		return []Finding{good("replies leave through %s, by the routing mark %s", iface, mark)}, nil
	case perhaps, partly:
		return []Finding{bad(Warn, KindAstray,
			fmt.Sprintf("replies of some clients leave through %s, by the routing mark %s; those of others may not", iface, mark), text, missing...)}, nil
	case never:
	}
	leave := "nowhere"
	if len(exits) > 0 {
		leave = "through " + strings.Join(exits, ", ")
	}
	return []Finding{bad(Fail, KindAstray, fmt.Sprintf("replies to connections from %s leave %s", iface, leave), text, missing...)}, nil
}

// byRule returns the network whose packets a routing rule sends into the tunnel,
// "" if there is none. A rule for a single host is not enough.
func (v *visit) byRule(ctx context.Context, iface string) (string, error) {
	for _, path := range []string{"/routing/rule", "/ip/route/rule"} {
		rules, err := v.active(ctx, path)
		if err != nil {
			return "", err
		}
		for _, row := range rules {
			prefix, err := netip.ParsePrefix(row.Value("src-address"))
			if err != nil || prefix.Bits() > 30 || row.Value("dst-address") != "" || !strings.HasPrefix(row.Value("action"), "lookup") {
				continue
			}
			exits, err := v.exits(ctx, row.Value("table"))
			if slices.Contains(exits, iface) || err != nil {
				return prefix.String(), err
			}
		}
	}
	return "", nil
}

// marking is how replies are led back by marks, as far as it is there.
type marking struct {
	connection string // the mark that connections get
	table      string // where packets with that mark are sent
	marks      bool   // a rule gives connections the mark
	sends      bool   // a rule sends packets with the mark to the table
	exists     bool   // the table is there
	leads      bool   // its default route is the tunnel
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
			m.connection, m.marks = row.Value("new-connection-mark"), true
			break
		}
	}
	for _, row := range rows {
		f, err := v.meets(ctx, row, packet{in: lan, state: "established", natState: "dstnat", mark: m.connection})
		if err != nil {
			return m, err
		}
		if row.Value("action") == "mark-routing" && row.Value("chain") == "prerouting" && f != never && row.Value("connection-mark") != "" {
			m.table, m.sends = row.Value("new-routing-mark"), true
			break
		}
	}
	return m, v.lookUp(ctx, &m, iface)
}

// reply is what a client answers to a connection from the tunnel, as it comes in at
// the router. What is not known of the LAN stays empty.
func (v *visit) reply(ctx context.Context, mark string) (packet, error) {
	somewhere := netip.AddrFrom4([4]byte{23, 45, 67, 89}) // on the Internet, and in nobody's lists
	p := packet{state: "established", natState: "dstnat", mark: mark, remote: true, dst: span{somewhere, somewhere}}
	var err error
	if p.in, err = v.bridge(ctx); err != nil {
		return p, err
	}
	network, err := v.networkOf(ctx, p.in)
	if network.IsValid() {
		p.src = spanOf(network)
	}
	return p, err
}

// plainly looks for rules that send packets of the LAN into the tunnel one by one,
// and returns the routing mark and how many of the replies the best of them takes.
// Mark is that of their connections.
func (v *visit) plainly(ctx context.Context, iface, mark string) (routing string, best fate, err error) {
	rows, err := v.active(ctx, manglePath)
	if err != nil {
		return "", never, err
	}
	p, err := v.reply(ctx, mark)
	if err != nil {
		return "", never, err
	}
	for _, row := range rows {
		if row.Value("action") != "mark-routing" || row.Value("chain") != "prerouting" {
			continue
		}
		f, err := v.meets(ctx, row, p)
		if err != nil {
			return "", never, err
		}
		exits, err := v.exits(ctx, row.Value("new-routing-mark"))
		if err != nil {
			return "", never, err
		}
		if f > best && slices.Contains(exits, iface) {
			routing, best = row.Value("new-routing-mark"), f
		}
	}
	return routing, best, nil
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

// missing returns the commands that complete the marking.
func (m marking) missing(iface string, version6 bool) []remedy.Command {
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
	if !m.marks {
		commands = append(commands, remedy.NewCommand(manglePath+"/add", "chain", "prerouting", "action", "mark-connection",
			"in-interface", iface, "connection-state", "new", "new-connection-mark", m.connection, "passthrough", "yes",
			"comment", "from the tunnel"))
	}
	if !m.sends {
		commands = append(commands, remedy.NewCommand(manglePath+"/add", "chain", "prerouting", "action", "mark-routing",
			"in-interface", "!"+iface, "connection-mark", m.connection, "new-routing-mark", m.table, "passthrough", "no",
			"comment", "back into the tunnel"))
	}
	return commands
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
