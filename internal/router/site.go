package router

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"doublenat/internal/nat"
	"doublenat/routeros"
)

// membership says whether an interface list has the tunnel interface in it.
type membership uint8

// The memberships. A list that was made after the connection is unknown.
const (
	listUnknown membership = iota
	listHas
	listLacks
)

// site is what was read from the router when the connection was made. It does
// not change afterwards.
type site struct {
	identity string
	version  string
	board    string
	iface    string                        // the tunnel interface
	found    string                        // where iface was found
	former   []string                      // what iface was before, while this process made rules
	lists    map[string]membership         // interface lists
	used     map[nat.Protocol]*nat.PortSet // ports of the router's own services
}

// owns reports whether rules on this interface can be ours.
func (s *site) owns(iface string) bool {
	return iface != "" && (iface == s.iface || slices.Contains(s.former, iface))
}

// refused reports whether the router answered that it will not, as opposed to
// not answering.
func refused(err error) bool {
	_, ok := errors.AsType[*routeros.TrapError](err)
	return ok
}

// print reads the rows of a table.
func (r *Router) print(ctx context.Context, table string, properties ...string) ([]routeros.Row, error) {
	reply, err := r.do(ctx, routeros.Command{Path: table + "/print", Properties: properties})
	if err != nil {
		return nil, err
	}
	return reply.Rows, nil
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

// survey reads all that a connection needs to know.
func (r *Router) survey(ctx context.Context) (*site, error) {
	s := new(site)
	identity, err := r.printIfAny(ctx, "/system/identity", "name")
	if err != nil {
		return nil, err
	}
	resource, err := r.printIfAny(ctx, "/system/resource", "version", "board-name")
	if err != nil {
		return nil, err
	}
	if len(identity) > 0 {
		s.identity = identity[0].Value("name")
	}
	if len(resource) > 0 {
		s.version, s.board = resource[0].Value("version"), resource[0].Value("board-name")
	}
	rows, err := r.print(ctx, "/interface", "name", "type")
	if err != nil {
		return nil, fmt.Errorf("reading interfaces: %w", err)
	}
	wireGuard, err := r.printIfAny(ctx, "/interface/wireguard", "name", "listen-port", "disabled")
	if err != nil {
		return nil, err
	}
	if s.iface, s.found, err = r.findTunnel(ctx, parseInterfaces(rows, wireGuard)); err != nil {
		return nil, err
	}
	services, err := r.printIfAny(ctx, "/ip/service", "port", "disabled", "invalid", "dynamic")
	if err != nil {
		return nil, err
	}
	s.used = map[nat.Protocol]*nat.PortSet{
		nat.TCP: listening(services, "port"),
		nat.UDP: listening(wireGuard, "listen-port"),
	}
	lists, err := r.printIfAny(ctx, "/interface/list", "name", "include", "exclude")
	if err != nil {
		return nil, err
	}
	members, err := r.printIfAny(ctx, "/interface/list/member", "list", "interface", "disabled")
	if err != nil {
		return nil, err
	}
	s.lists = memberships(lists, members, s.iface)
	if err := r.noteAddresses(ctx); err != nil {
		return nil, err
	}
	r.checkRights(ctx)
	return s, nil
}

// listening returns the ports in the attribute of the rows that are switched on.
// Rules of ours must not take them away from the router.
func listening(rows []routeros.Row, attribute string) *nat.PortSet {
	set := new(nat.PortSet)
	for _, row := range rows {
		port, err := strconv.ParseUint(row.Value(attribute), 10, 16)
		if err == nil && port != 0 && !row.Bool("disabled") && !row.Bool("invalid") {
			set.Add(uint16(port))
		}
	}
	return set
}

// memberships returns which interface lists have the interface. Lists that are
// made of other lists stay unknown, as do the built-in ones whose members are
// not listed.
func memberships(lists, members []routeros.Row, iface string) map[string]membership {
	m := map[string]membership{"all": listHas, "none": listLacks}
	for _, row := range lists {
		name := row.Value("name")
		composed := row.Value("include") != "" || row.Value("exclude") != ""
		if _, builtin := m[name]; builtin || composed || strings.EqualFold(name, "dynamic") || strings.EqualFold(name, "static") {
			continue
		}
		m[name] = listLacks
	}
	for _, row := range members {
		name := row.Value("list")
		if row.Value("interface") == iface && !row.Bool("disabled") && m[name] == listLacks && name != "none" {
			m[name] = listHas
		}
	}
	return m
}
