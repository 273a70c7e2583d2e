package check

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"doublenat/internal/router"
	"doublenat/internal/walk"
	"doublenat/routeros"
)

// visit is one run of the doctor: the connection to the router, and what the
// probes have learned so far. It is used by one goroutine.
type visit struct {
	cfg Config

	api     *routeros.Client // nil before the login
	hangUp  context.CancelFunc
	serving sync.WaitGroup
	tables  map[string][]routeros.Row // by path
	held    int                       // bytes that all rows which are kept take, see maxHeld

	net       *walk.Tables   // the router as far as packets are concerned, with what was advised already; nil before it is read
	survey    router.Survey  // zero until the tunnel is known
	redirects []routeros.Row // the rules that redirect NAT-PMP and are in use
	target    netip.Addr     // where NAT-PMP is redirected to; invalid if nowhere
	byMark    string         // the mark of connections whose replies mangle brings back, no-mark too; "" if it does not
	byRule    bool           // a routing rule brings them back

	asked    bool       // the gateway was asked for its address
	external netip.Addr // its public address; invalid if not known
	silence  error      // why it is not
}

// enter logs in to the router. The error is that of the first attempt: a doctor
// does not wait for better times.
func (v *visit) enter(ctx context.Context) error {
	first, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	api := v.cfg.API
	api.OnState = func(s routeros.State) {
		if s.Err != nil {
			cancel(s.Err)
		}
	}
	client, err := routeros.New(api)
	if err != nil {
		return err
	}
	running, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	v.hangUp = hangUp
	v.serving.Go(func() { _ = client.Run(running) }) // it never fails
	_, err = client.Do(first, routeros.Command{Path: "/system/identity/print"})
	if cause := context.Cause(first); cause != nil {
		return cause
	}
	if refused(err) {
		err = nil // logged in all the same
	}
	v.api = client
	return err
}

// leave ends the connection and waits until nothing of it is left.
func (v *visit) leave() {
	if v.hangUp != nil {
		v.hangUp()
	}
	v.serving.Wait()
}

// rows reads a table, once in a visit. One that this version does not have, has
// no rows. Of a table of the firewall only those rows are kept that can matter.
func (v *visit) rows(ctx context.Context, path string) ([]routeros.Row, error) {
	if slices.Contains([]string{natPath, filterPath, manglePath, rawPath}, path) {
		if _, err := v.router(ctx); err != nil {
			return nil, err
		}
	}
	if rows, known := v.tables[path]; known {
		return rows, nil
	}
	rows, err := v.read(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	v.tables[path] = rows
	return rows, nil
}

// active returns the rows of a table that are in use.
func (v *visit) active(ctx context.Context, path string) ([]routeros.Row, error) {
	rows, err := v.rows(ctx, path)
	return slices.DeleteFunc(slices.Clone(rows), func(r routeros.Row) bool {
		return r.Bool("disabled") || r.Bool("invalid")
	}), err
}

// hasList reports whether the router has an interface list of the name.
func (v *visit) hasList(ctx context.Context, name string) (bool, error) {
	rows, err := v.rows(ctx, "/interface/list")
	return slices.ContainsFunc(rows, func(r routeros.Row) bool { return r.Value("name") == name }), err
}

// near says whether an address is in a network of the interface.
func (v *visit) near(ctx context.Context, iface string, addr netip.Addr) (bool, error) {
	rows, err := v.active(ctx, "/ip/address")
	return slices.ContainsFunc(rows, func(row routeros.Row) bool {
		prefix, errPrefix := netip.ParsePrefix(row.Value("address"))
		return errPrefix == nil && interfaceOf(row) == iface && prefix.Contains(addr)
	}), err
}

// addresses returns the router's own addresses on an interface.
func (v *visit) addresses(ctx context.Context, iface string) ([]netip.Addr, error) {
	rows, err := v.active(ctx, "/ip/address")
	var found []netip.Addr
	for _, row := range rows {
		if prefix, errPrefix := netip.ParsePrefix(row.Value("address")); errPrefix == nil && interfaceOf(row) == iface {
			found = append(found, prefix.Addr())
		}
	}
	return found, err
}

// interfaceOf returns the interface of a row of /ip/address.
func interfaceOf(row routeros.Row) string {
	if actual := row.Value("actual-interface"); actual != "" {
		return actual
	}
	return row.Value("interface")
}

// exits returns the interfaces by which the default route of a routing table
// leaves; two halves of the Internet count as well.
func (v *visit) exits(ctx context.Context, table string) ([]string, error) {
	t, err := v.router(ctx)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, row := range t.Rows[walk.PathRoute] {
		name := row.Value("routing-table") + row.Value("routing-mark") // one version has one, another the other
		if name == "" {
			name = mainTable
		}
		if name == table && slices.Contains(wholeInternet(), row.Value("dst-address")) && row.Bool("active") && !row.Bool("disabled") {
			found = append(found, router.Exits(row)...)
		}
	}
	return found, nil
}

// wholeInternet are the destinations of a default route, in one or two parts.
func wholeInternet() []string { return []string{"0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"} }

// mainTable is the routing table of all packets that no rule sends elsewhere.
const mainTable = walk.MainTable

// describe names an item for people: by its comment, and by its id.
func describe(row routeros.Row) string {
	if comment := strings.TrimSpace(row.Value("comment")); comment != "" {
		return row.Value(".id") + " (" + printable(comment) + ")"
	}
	return row.Value(".id")
}

// printable cuts a text of the router's to what a terminal shows in a line.
func printable(text string) string {
	const limit = 60
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	if len(clean) > limit {
		clean = clean[:limit] + "…"
	}
	return clean
}
