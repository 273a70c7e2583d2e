package router

import (
	"context"
	"net/netip"

	"doublenat/routeros"
)

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

// noteAddresses reads the router's own addresses.
func (r *Router) noteAddresses(ctx context.Context) error {
	rows, err := r.printIfAny(ctx, "/ip/address", "address")
	if err != nil {
		return err
	}
	own := ownAddresses(rows)
	r.addresses.Store(&own)
	return nil
}

// Owns reports whether the address is one of the router's own, as far as it was
// told when the connection was last made. A rule that forwards to one would open
// the router's services to the Internet. It does not wait for anything.
func (r *Router) Owns(a netip.Addr) bool {
	own := r.addresses.Load()
	if own == nil {
		return false
	}
	_, found := (*own)[a]
	return found
}
