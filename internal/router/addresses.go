package router

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"doublenat/routeros"
)

// The reasons why nothing must be forwarded to an address.
var (
	errOwnAddress = errors.New("the address is one of the router's own")
	errGateway    = errors.New("the address is the gateway's")
	errLoopback   = errors.New("the address is loopback, where the router would forward to itself")
	errNoHost     = errors.New("the address is not that of one host")
)

// addresses are what /ip/address tells.
type addresses struct {
	own map[netip.Addr]struct{} // the router's own
	// groups are the network and broadcast addresses of its networks.
	groups map[netip.Addr]struct{}
	// networks are its own IPv4 addresses with their networks, in its order.
	networks []netip.Prefix
}

// parseAddressRows reads the rows of /ip/address: of the LAN, of the tunnel, and all
// others. One that is switched off now may be on again before the next look.
func parseAddressRows(rows []routeros.Row) *addresses {
	known := &addresses{own: make(map[netip.Addr]struct{}, len(rows)), groups: make(map[netip.Addr]struct{})}
	for _, row := range rows {
		prefix, err := netip.ParsePrefix(row.Value("address"))
		if err != nil {
			continue
		}
		known.own[prefix.Addr()] = struct{}{}
		if prefix.Addr().Is4() && !row.Bool("disabled") && !row.Bool("invalid") {
			known.networks = append(known.networks, prefix)
		}
		if prefix.Addr().Is4() && prefix.Bits() < prefix.Addr().BitLen()-1 { // RFC 3021: a /31 has hosts only
			first, last, _ := parseAddresses(prefix.String())
			known.groups[first], known.groups[last] = struct{}{}, struct{}{}
		}
	}
	return known
}

// equal reports whether both are the same; nil is what was never read.
func (known *addresses) equal(other *addresses) bool {
	if known == nil || other == nil {
		return known == other
	}
	return maps.Equal(known.own, other.own) && maps.Equal(known.groups, other.groups) && slices.Equal(known.networks, other.networks)
}

// addressTowards returns the address on an interface from which packets to another host
// leave: the one in whose network that is, else the first; the zero Addr if there is none.
func addressTowards(rows []routeros.Row, iface string, to netip.Addr) (found netip.Addr) {
	for _, row := range rows {
		prefix, err := netip.ParsePrefix(row.Value("address"))
		switch {
		case err != nil || !prefix.Addr().Is4() || !slices.Contains(addressesOn([]routeros.Row{row}, iface), prefix.Addr()):
		case prefix.Contains(to):
			return prefix.Addr()
		case !found.IsValid():
			found = prefix.Addr()
		}
	}
	return found
}

// addressesOn returns the addresses on an interface.
func addressesOn(rows []routeros.Row, iface string) (found []netip.Addr) {
	for _, row := range rows {
		prefix, err := netip.ParsePrefix(row.Value("address"))
		on := row.Value("interface") == iface || row.Value("actual-interface") == iface
		if err == nil && on && iface != "" && !row.Bool("disabled") && !slices.Contains(found, prefix.Addr()) {
			found = append(found, prefix.Addr())
		}
	}
	return found
}

// noteAddresses reads the router's own addresses. Of a router that will not tell,
// what it told before is kept.
func (r *Router) noteAddresses(ctx context.Context) ([]routeros.Row, error) {
	rows, err := r.print(ctx, "/ip/address", "address", "interface", "actual-interface", "disabled", "invalid")
	if refused(err) {
		r.log.DebugContext(ctx, "router cannot print a table", "table", "/ip/address", "error", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r.addresses.Store(parseAddressRows(rows))
	return rows, nil
}

// Owns reports whether the address is one of the router's own, as far as it was
// told by the survey or by one of the last reads of the table. It does not wait
// for anything.
func (r *Router) Owns(a netip.Addr) bool {
	known := r.addresses.Load()
	if known == nil {
		return false
	}
	_, found := known.own[a]
	return found
}

// Hosts reports whether the address can be that of a host: it is no network or
// broadcast address of one of the router's networks, multicast, reserved, or no address
// at all. It does not wait for anything.
func (r *Router) Hosts(a netip.Addr) bool {
	if a.IsUnspecified() || a.IsMulticast() || a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240) { // RFC 1122 §3.2.1.3, RFC 1112 §4
		return false
	}
	known := r.addresses.Load()
	if known == nil {
		return true
	}
	_, group := known.groups[a]
	return !group || r.Owns(a)
}

// forbidden returns why no rule may forward to the address, nil if one may. One to
// the router would open its services to the Internet. On a host that is router,
// gateway and client at a time, as in the lab, loopback is where they all are.
func (r *Router) forbidden(a netip.Addr) error {
	switch {
	case r.Owns(a):
		return errOwnAddress
	case !r.Hosts(a):
		return errNoHost
	case a.IsLoopback():
		if !r.local {
			return errLoopback
		}
	case a == r.Gateway():
		return errGateway
	}
	return nil
}

// onLoopback reports whether the API at host:port is this very host's.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}
