package router

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"doublenat/routeros"
)

// addressesAge is how old what is known of the router's own addresses may get
// before a read of the table reads them again: a new one is known a minute later,
// and no rule waits for that.
const addressesAge = 30 * time.Second

// The reasons why nothing must be forwarded to an address.
var (
	errOwnAddress = errors.New("the address is one of the router's own")
	errGateway    = errors.New("the address is the VPN gateway's")
	errLoopback   = errors.New("the address is loopback, where the router would forward to itself")
	errNoHost     = errors.New("the address is not that of one host")
)

// addresses are the router's own at a time.
type addresses struct {
	own map[netip.Addr]struct{}
	at  time.Time
}

// ownAddresses returns the addresses in the rows of /ip/address: those of the LAN,
// of the tunnel, and all others. One that is switched off now may be on again
// before the next look.
func ownAddresses(rows []routeros.Row) map[netip.Addr]struct{} {
	own := make(map[netip.Addr]struct{}, len(rows))
	for _, row := range rows {
		if prefix, err := netip.ParsePrefix(row.Value("address")); err == nil {
			own[prefix.Addr()] = struct{}{}
		}
	}
	return own
}

// noteAddresses reads the router's own addresses. Of a router that will not tell,
// what it told before is kept.
func (r *Router) noteAddresses(ctx context.Context) error {
	rows, err := r.print(ctx, "/ip/address", "address")
	if refused(err) {
		r.log.DebugContext(ctx, "router cannot print a table", "table", "/ip/address", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	r.addresses.Store(&addresses{own: ownAddresses(rows), at: time.Now()})
	return nil
}

// renewAddresses reads the router's own addresses again if that was long ago. The
// table counts without them: what fails here fails there too, or passes.
func (r *Router) renewAddresses(ctx context.Context) {
	if known := r.addresses.Load(); known != nil && time.Since(known.at) < addressesAge {
		return
	}
	if err := r.noteAddresses(ctx); err != nil {
		r.log.DebugContext(ctx, "router's own addresses not read again", "error", err)
	}
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

// forbidden returns why no rule may forward to the address, nil if one may. One to
// the router would open its services to the Internet. On a host that is router,
// gateway and client at a time, as in the lab, loopback is where they all are.
func (r *Router) forbidden(a netip.Addr) error {
	switch {
	case a.IsUnspecified(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return errNoHost
	case r.Owns(a):
		return errOwnAddress
	case a.IsLoopback():
		if !r.local {
			return errLoopback
		}
	case a == r.cfg.Gateway:
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
