package router

import (
	"context"
	"net/netip"

	"doublenat/routeros"
)

// Entrance is where the router leads to a server of ours: a dst-nat rule of the operator's.
type Entrance struct {
	// Addr is the router's address to which the rule is bound, the zero Addr if it is to
	// none: then it is each of those that [Router.AddressTowards] returns.
	Addr netip.Addr
	// Port is the TCP port there.
	Port uint16
}

// Entrances returns where the router leads to a TCP server at one of the addresses, in the
// order of its table, 16 at most. The error is one of the connection to the router; one that
// does not show its rules has none.
func (r *Router) Entrances(ctx context.Context, to []netip.AddrPort) ([]Entrance, error) {
	cmd := routeros.Command{
		Path:       natPath + "/print",
		Properties: []string{"chain", "action", "protocol", "dst-port", "port", "dst-address", "to-addresses", "to-ports", "disabled", "invalid"},
		Queries:    []string{routeros.Equal("action", actionDstNAT), routeros.Equal("protocol", "tcp"), "?#&"},
	}
	var found []Entrance
	_, err := r.each(ctx, cmd, func(row routeros.Row) error {
		e, ok := entrance(parseRow(row, nil), to)
		if ok && len(found) < maxEntrances {
			found = append(found, e)
		}
		return nil
	})
	if refused(err) {
		return nil, nil
	}
	return found, err
}

// maxEntrances bounds how many there are.
const maxEntrances = 16

// entrance returns what a row leads to, if that is one of the servers.
func entrance(r natRow, to []netip.AddrPort) (Entrance, bool) {
	if r.disabled || r.invalid || r.chain != chainDstNAT || r.action != actionDstNAT || r.protocol != "tcp" {
		return Entrance{}, false
	}
	first, last, ok := parseAddresses(r.toAddresses)
	outer, known := r.ports()
	if !ok || first != last || !known {
		return Entrance{}, false
	}
	inner := outer
	if r.toPorts != "" {
		inner, _ = parsePorts(r.toPorts)
	}
	e := Entrance{Port: only(outer)}
	for _, server := range to {
		if server.Addr() == first && only(inner) == server.Port() && e.Port != 0 {
			e.Addr, _ = netip.ParseAddr(r.dstAddress) // the zero Addr for a network, or a negation
			return e, true
		}
	}
	return Entrance{}, false
}

// only returns the port of a matcher that matches one, else 0.
func only(list portList) (port uint16) {
	if list.count() != 1 {
		return 0
	}
	list.each(1, func(p uint16) { port = p })
	return port
}

// AddressTowards returns the router's own address in the network in which a LAN host is, false
// if it is in none of them, or none is known. It does not wait for anything.
func (r *Router) AddressTowards(host netip.Addr) (netip.Addr, bool) {
	known := r.addresses.Load()
	if known == nil {
		return netip.Addr{}, false
	}
	for _, network := range known.networks {
		if network.Contains(host) {
			return network.Addr(), true
		}
	}
	return netip.Addr{}, false
}
