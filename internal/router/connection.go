package router

import (
	"context"
	"net/netip"
	"strconv"

	"doublenat/routeros"
)

// connectionPath is the table of the connections that the router follows. It is long on busy
// routers and lists every packet's two directions: the second is what its answer looks like
// when it arrives.
const connectionPath = "/ip/firewall/connection"

// Departure is how a packet left the router, as its connection table has it.
type Departure struct {
	// From is the source address with which it left: the router's own on the interface, if
	// it was masqueraded there. The zero Addr if that is not known.
	From netip.Addr
	// Unclear says why it is not, for people; empty if it is.
	Unclear string
}

// Departed returns how packets over UDP from one end to the other left the router. Local may
// be somebody else to the router, who is masqueraded on the way, as from a container: then
// what counts is the port. The error is one of the connection to the router.
func (r *Router) Departed(ctx context.Context, local, server netip.AddrPort) (Departure, error) {
	cmd := routeros.Command{
		Path: connectionPath + "/print",
		Properties: []string{
			"protocol", "src-address", "src-port", "dst-address", "dst-port",
			"reply-src-address", "reply-src-port", "reply-dst-address", "reply-dst-port",
		},
		// Recorded rows have the port behind the address; the manual has columns for ports too.
		Queries: []string{routeros.Equal("dst-address", server.String()), routeros.Equal("dst-address", server.Addr().String()), "?#|"},
	}
	var exact, alike departures
	_, err := r.each(ctx, cmd, func(row routeros.Row) error {
		from, ok := connects(row, local.Port(), server)
		if !ok {
			return nil
		}
		alike.add(row, server)
		if from.Addr() == local.Addr() {
			exact.add(row, server)
		}
		return nil
	})
	switch {
	case err != nil && refused(err):
		return Departure{Unclear: "the router does not show its connections"}, nil
	case err != nil:
		return Departure{}, err
	case exact.count > 0:
		return exact.judge(), nil
	default:
		return alike.judge(), nil
	}
}

// LookAtConnection is [Router.Departed] over a connection that is somebody else's. It only
// reads.
func LookAtConnection(ctx context.Context, to Commander, local, server netip.AddrPort) (Departure, error) {
	return onlooker(to, Config{}).Departed(ctx, local, server)
}

// connects returns where a row comes from, and whether it is one of UDP from a port to a
// server: a router that does not understand a query sends all that it has. A port that
// the row does not have may be any.
func connects(row routeros.Row, port uint16, server netip.AddrPort) (from netip.AddrPort, ok bool) {
	protocol := row.Value("protocol")
	from, okFrom := end(row, "src")
	to, okTo := end(row, "dst")
	isPort := func(p, want uint16) bool { return p == want || p == 0 }
	return from, okFrom && okTo && (protocol == "udp" || protocol == "17") &&
		to.Addr() == server.Addr() && isPort(to.Port(), server.Port()) && isPort(from.Port(), port)
}

// departures are rows of one connection, or of several that look alike.
type departures struct {
	count  int
	from   netip.Addr
	differ bool
	bent   bool // one of them went to somebody else
}

// add takes in a row.
func (d *departures) add(row routeros.Row, server netip.AddrPort) {
	back, _ := end(row, "reply-dst")
	if who, ok := end(row, "reply-src"); ok && (who.Addr() != server.Addr() || who.Port() != server.Port() && who.Port() != 0) {
		d.bent = true
	}
	d.differ = d.differ || d.count > 0 && back.Addr() != d.from
	d.from = back.Addr()
	d.count++
}

// judge says what the rows tell.
func (d *departures) judge() Departure {
	switch {
	case d.count == 0:
		return Departure{Unclear: "the router's connection table does not have it"}
	case d.bent:
		return Departure{Unclear: "a rule of the router sends it to another server"}
	case d.differ || !d.from.IsValid():
		return Departure{Unclear: "the router's connection table does not say for certain by which line it left"}
	default:
		return Departure{From: d.from}
	}
}

// end reads an address and a port, which is behind the address or in a column of its own; 0
// where it is in neither.
func end(row routeros.Row, which string) (netip.AddrPort, bool) {
	text := row.Value(which + "-address")
	if both, err := netip.ParseAddrPort(text); err == nil {
		return both, true
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.AddrPort{}, false
	}
	port, _ := strconv.ParseUint(row.Value(which+"-port"), 10, 16)
	return netip.AddrPortFrom(a, uint16(port)), true
}
