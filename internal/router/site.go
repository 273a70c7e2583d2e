package router

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// surroundingsAge is how old what is known of the router's interfaces, routes, lists,
// services and addresses may get before they are read again, while rules of ours stand.
// With confirmAfter, and time for a slow router, that keeps below a minute for how long a
// rule can be on an interface that is not the tunnel any more. Without rules the read of
// the table, once a minute, is soon enough.
const surroundingsAge = 30 * time.Second

// site is what is known of the router. A value does not change: what is read again
// makes another one.
type site struct {
	identity string
	version  string
	board    string
	surroundings
}

// surroundings are what may change while the connection stands.
type surroundings struct {
	iface  string   // the tunnel interface
	kind   kind     // what it is
	found  string   // where iface was found
	former []string // what iface was before, while this process made rules
	// elsewhere is the way to the gateway where the operator named another interface.
	elsewhere string
	present   map[string]bool           // the interfaces that exist, and whether they run
	lists     map[string]membership     // interface lists
	used      map[nat.Protocol][]uint16 // ports of the router's own services
	own       []netip.Addr              // the addresses on the tunnel interface
	self      netip.Addr                // the one of them that the gateway sees
	gateway   netip.Addr                // the VPN gateway
	at        time.Time                 // when it was read
}

// kind says what leads to the interface at which packets arrive: a line, for all we know.
type kind uint8

const (
	// kindTunnel is a tunnel that some providers use for a line.
	kindTunnel kind = iota + 1
	// kindVPN is a tunnel that no provider uses for a line.
	kindVPN
)

// link returns what the interface is to people.
func (k kind) link() remedy.LinkKind {
	if k == kindTunnel || k == kindVPN {
		return remedy.LinkTunnel
	}
	return remedy.LinkLine
}

// owns reports whether this process made rules on the interface.
func (s *site) owns(iface string) bool {
	return iface != "" && (iface == s.iface || slices.Contains(s.former, iface))
}

// exists reports whether the router has an interface of this name.
func (s *site) exists(iface string) bool {
	_, found := s.present[iface]
	return found
}

// refused reports whether the router answered that it will not, as opposed to
// not answering.
func refused(err error) bool {
	_, ok := errors.AsType[*routeros.TrapError](err)
	return ok
}

// print reads the rows of a table.
func (r *Router) print(ctx context.Context, table string, properties ...string) ([]routeros.Row, error) {
	return r.keep(ctx, routeros.Command{Path: table + "/print", Properties: properties})
}

// printIfAny is print for a table that a version or a right may lack: then there
// are no rows.
func (r *Router) printIfAny(ctx context.Context, table string, properties ...string) ([]routeros.Row, error) {
	rows, err := r.print(ctx, table, properties...)
	if refused(err) {
		r.log.DebugContext(ctx, "router cannot print a table", "table", table, "error", err)
		return nil, nil
	}
	return rows, err
}

// survey reads all that a connection needs to know, as much of it at once as can be. With
// an [*InterfaceError] all but the interface is known.
func (r *Router) survey(ctx context.Context) (*site, error) {
	s := new(site)
	var (
		identity, resource []routeros.Row
		found              rights
		told               bool
	)
	err := together(
		r.reader(ctx, &identity, "/system/identity", "name"),
		r.reader(ctx, &resource, "/system/resource", "version", "board-name"),
		func() (err error) { s.surroundings, err = r.explore(ctx, ""); return err },
		func() error { found, told = r.lookAtRights(ctx); return nil },
	)
	if len(identity) > 0 {
		s.identity = identity[0].Value("name")
	}
	if len(resource) > 0 {
		s.version, s.board = resource[0].Value("version"), resource[0].Value("board-name")
	}
	if _, ok := errors.AsType[*InterfaceError](err); err != nil && !ok {
		return nil, err
	}
	if err == nil {
		r.noteRights(ctx, found, told)
	}
	return s, err
}

// explore reads the surroundings. Stay is the tunnel interface so far: where none can
// be found now and that one does not run, it is the tunnel still. With an
// [*InterfaceError] all but the interface is known.
func (r *Router) explore(ctx context.Context, stay string) (surroundings, error) {
	gateway, unknown, err := r.locate(ctx)
	if err != nil {
		return surroundings{}, err
	}
	s := surroundings{gateway: gateway, at: time.Now()}
	t, err := r.readTables(ctx, gateway)
	if err != nil {
		return s, err
	}
	all := parseInterfaces(t.interfaces, t.wireGuard)
	all.place = r.cfg.Place
	s.present = make(map[string]bool, len(all.names))
	for _, name := range all.names {
		s.present[name] = !slices.Contains(all.idle, name)
	}
	tunnel, missing := r.findTunnel(all, t, gateway)
	if unknown != nil {
		missing = unknown
	}
	s.iface, s.found, s.elsewhere = tunnel.name, tunnel.found, tunnel.elsewhere
	if missing != nil && stay != "" {
		s.iface = stay
		if runs, exists := s.present[stay]; exists && !runs {
			missing = nil // it carries nothing as long as it is down
		}
	}
	s.kind = all.kindOf(s.iface)
	s.own = addressesOn(t.addresses, s.iface)
	s.self = addressTowards(t.addresses, s.iface, gateway)
	s.used = map[nat.Protocol][]uint16{
		nat.TCP: listening(t.services, "port"),
		nat.UDP: listening(t.wireGuard, "listen-port"),
	}
	s.lists = memberships(t.lists, t.members, s.iface, slices.Contains(all.dynamic, s.iface))
	return s, missing
}

// listening returns the ports in the attribute of the rows that are switched on, in ascending order.
// Rules of ours must not take them away from the router. From RouterOS 7.19 on there
// is a dynamic row for each connection to a service, with the port of the service.
func listening(rows []routeros.Row, attribute string) (ports []uint16) {
	for _, row := range rows {
		port, err := strconv.ParseUint(row.Value(attribute), 10, 16)
		if err == nil && port != 0 && !row.Bool("disabled") && !row.Bool("invalid") && !row.Bool("dynamic") {
			ports = append(ports, uint16(port))
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}
