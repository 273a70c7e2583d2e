package check

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/internal/walk"
	"doublenat/natpmp"
	"doublenat/routeros"
)

const (
	// maxRows is how many rows of a table are kept.
	maxRows = 20_000
	// maxHeld is how many bytes the rows of all tables that are kept take together. Rows
	// of the firewall take 1 KiB; some routers mean no good, and send longer ones.
	maxHeld = 12 << 20
	// fewRoutes is up to how many routes are read whole. Of more, only those that
	// somebody made by hand and those for our addresses are asked for.
	fewRoutes = 2_000
	// settling is how long a row has to be invalid before it counts: RouterOS calls
	// rows so for some seconds after they or their interface were changed.
	settling = 10 * time.Second
)

const rawPath = walk.PathRaw

// somewhere is an address on the Internet that is in nobody's lists.
func somewhere() netip.Addr { return netip.AddrFrom4([4]byte{23, 45, 67, 89}) }

// read prints a table, and keeps the rows that keep wants; nil wants all. One that
// this version does not have, has no rows.
func (v *visit) read(ctx context.Context, path string, keep func(routeros.Row) bool) ([]routeros.Row, error) {
	return v.print(ctx, routeros.Command{Path: path + "/print"}, keep)
}

// print is read for a command. Rows are dealt with as they come, so that a table
// may have any length.
func (v *visit) print(ctx context.Context, cmd routeros.Command, keep func(routeros.Row) bool) ([]routeros.Row, error) {
	var rows []routeros.Row
	before := v.held
	_, err := v.commander().Each(ctx, cmd, func(row routeros.Row) error {
		if keep != nil && !keep(row) {
			return nil
		}
		if len(rows) == maxRows || v.held+row.Size() > maxHeld {
			return &TooManyError{Path: cmd.Path}
		}
		v.held += row.Size()
		rows = append(rows, row.Clone())
		return nil
	})
	if err != nil {
		v.held, rows = before, nil
	}
	switch {
	case routeros.IsUnknownCommand(err):
		return nil, nil
	case routeros.IsNotPermitted(err):
		return nil, &router.PermissionError{Policy: "read", Err: err}
	default:
		return rows, err
	}
}

// KindTooLarge is a table with too many rows.
const KindTooLarge remedy.Kind = "table too large"

// TooManyError is a table with more rows that matter than the doctor can hold.
type TooManyError struct {
	// Path is the command that printed it.
	Path string
}

// Error names the table.
func (e *TooManyError) Error() string {
	return "more than " + strconv.Itoa(maxRows) + " rows of " + e.Path + ", or " + strconv.Itoa(maxHeld>>20) + " MiB of rows in all, may matter: too many to check"
}

// Advice says that the rest has to be looked at by somebody else.
func (*TooManyError) Advice() remedy.Advice {
	return remedy.Advice{Hop: nat.HopRouter, Kind: KindTooLarge, Text: "use address lists instead of rules for single hosts: lists may have any length"}
}

// router reads all tables that decide about packets, once in a visit.
func (v *visit) router(ctx context.Context) (*walk.Tables, error) {
	if v.net != nil {
		return v.net, nil
	}
	t := &walk.Tables{Rows: make(map[string][]routeros.Row), LocalFirst: v.version().Major == 6}
	held := v.held
	defer func() {
		if v.net == nil {
			v.held = held // what was not kept
		}
	}()
	var unsettled []string
	for _, path := range walk.Paths() {
		rows, known := v.tables[path]
		if !known {
			var err error
			if rows, err = v.read(ctx, path, v.keeper(path)); err != nil {
				return nil, err
			}
		}
		t.Rows[path] = rows
		if slices.ContainsFunc(rows, broken) {
			unsettled = append(unsettled, path)
		}
	}
	if err := v.settle(ctx, t, unsettled); err != nil {
		return nil, err
	}
	maps.Copy(v.tables, t.Rows)
	held = v.held
	t.Partial = v.interest(t)
	var err error
	if t.Rows[walk.PathAddresses], err = v.addressLists(ctx, t); err != nil {
		return nil, err
	}
	if t.Rows[walk.PathRoute], err = v.routes(ctx, t.Partial); err != nil {
		return nil, err
	}
	v.net = t.Clone()
	return v.net, nil
}

// keeper returns what rows of a table are kept. Of NAT, rows for other ports of
// others may be a hundred thousand; they decide about nothing that is looked at here.
func (v *visit) keeper(path string) func(routeros.Row) bool {
	if path != natPath {
		return nil
	}
	none := new(walk.Tables)
	requests := []walk.Packet{{Protocol: "udp", DstPort: natpmp.Port}}
	if v.cfg.Ways != nil && v.cfg.Ways.UPnP != 0 {
		for _, s := range v.cfg.Ways.services() {
			requests = append(requests, walk.Packet{Protocol: s.protocol, DstPort: s.port})
		}
	}
	return func(row routeros.Row) bool {
		if row.Value("chain") == "srcnat" || !translates(row) || router.Made(v.cfg.Instance, row.Value("comment")) {
			return true
		}
		return slices.ContainsFunc(requests, func(p walk.Packet) bool { return none.Match(row, p) != never })
	}
}

// translates reports whether a rule of NAT replaces the destination of packets.
func translates(row routeros.Row) bool {
	return slices.Contains([]string{"dst-nat", "redirect", "netmap"}, row.Value("action"))
}

// broken reports whether a row is switched on and does not work.
func broken(row routeros.Row) bool { return row.Bool("invalid") && !row.Bool("disabled") }

// settle reads tables with invalid rows again, after long enough. A row that is not
// invalid any more, or was not before, is not called so.
func (v *visit) settle(ctx context.Context, t *walk.Tables, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	wait := time.NewTimer(settling)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-wait.C:
	}
	for _, path := range paths {
		before := make(map[string]bool)
		for _, row := range t.Rows[path] {
			before[row.Value(".id")] = broken(row)
			v.held -= row.Size()
		}
		t.Rows[path] = nil
		rows, err := v.read(ctx, path, v.keeper(path))
		if err != nil {
			return err
		}
		for i, row := range rows {
			if broken(row) && !before[row.Value(".id")] {
				rows[i] = slices.DeleteFunc(row, func(a routeros.Attr) bool { return a.Name == "invalid" })
			}
		}
		t.Rows[path] = rows
	}
	return nil
}

// beyond returns an address beyond the interface at which packets arrive.
func (v *visit) beyond() netip.Addr {
	if v.cfg.Pool != nil {
		return somewhere()
	}
	return v.cfg.Gateway.Addr()
}

// interest returns the addresses that packets of ours have: those of the router's
// networks, of the gateway, of doublenat, and one for the Internet.
func (v *visit) interest(t *walk.Tables) []span {
	spans := []span{walk.One(somewhere())}
	if v.cfg.Pool == nil {
		spans = append(spans, walk.One(v.cfg.Gateway.Addr()))
	}
	for _, n := range t.Networks() {
		spans = append(spans, walk.SpanOf(n.Prefix))
	}
	for _, a := range v.cfg.Self {
		spans = append(spans, walk.One(a))
	}
	for _, row := range t.Rows[natPath] {
		if to, err := netip.ParseAddr(row.Value("to-addresses")); err == nil && to.Is4() && redirects(row) {
			spans = append(spans, walk.One(to))
		}
	}
	return spans
}

// addressLists reads the entries of the address lists that rules ask for, as far as
// they are for the addresses of interest. Lists have up to hundreds of thousands.
func (v *visit) addressLists(ctx context.Context, t *walk.Tables) ([]routeros.Row, error) {
	var rows []routeros.Row
	for _, list := range listsOf(t) {
		named := false
		more, err := v.print(ctx, routeros.Command{
			Path: walk.PathAddresses + "/print", Properties: []string{".id", "list", "address", "disabled"}, Queries: []string{routeros.Equal("list", list)},
		}, func(row routeros.Row) bool {
			if row.Value("list") != list { // a query that the router does not understand, it leaves out
				return false
			}
			s, ok := walk.ParseSpan(row.Value("address"))
			if !ok { // one host name is as good as many: of none it is known what it stands for
				first := !named && !row.Bool("disabled")
				named = named || first
				return first
			}
			return overlaps(t.Partial, s)
		})
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// listsOf returns the names of the address lists that rules ask for.
func listsOf(t *walk.Tables) []string {
	var names []string
	for _, path := range []string{rawPath, manglePath, natPath, filterPath} {
		for _, row := range t.Rows[path] {
			for _, matcher := range []string{"src-address-list", "dst-address-list"} {
				name := row.Value(matcher)
				if name != "" && name[0] == '!' {
					name = name[1:]
				}
				if name != "" && !row.Bool("disabled") {
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// overlaps reports whether an address of one span is in any of the others.
func overlaps(spans []span, s span) bool {
	return slices.ContainsFunc(spans, func(of span) bool { return !of.Apart(s) })
}
