package router

import (
	"context"
	"net/netip"
)

// OwnAddresses returns the router's addresses on the interface at which packets arrive, as
// of the last look at it; nil before one.
func (r *Router) OwnAddresses() []netip.Addr {
	s := r.current(nil)
	if s == nil {
		return nil
	}
	return s.own
}

// Self returns the router's address on the interface to a gateway, by which that knows
// what the router masquerades, and which gateway that is; both are the zero Addr before a
// look, and without one.
func (r *Router) Self() (self, towards netip.Addr) {
	s := r.current(nil)
	if s == nil {
		return netip.Addr{}, netip.Addr{}
	}
	return s.self, s.gateway
}

// CloudAddress returns the address from which MikroTik's servers saw the router (/ip/cloud):
// that of its line to the Internet. It is the zero Addr if packets arrive by a VPN, which
// has another one, and if the router does not know. The error is one of the connection.
func (r *Router) CloudAddress(ctx context.Context) (netip.Addr, error) {
	if s := r.current(nil); s == nil || s.kind == kindVPN {
		return netip.Addr{}, nil
	}
	rows, err := r.printIfAny(ctx, "/ip/cloud", "public-address")
	if err != nil || len(rows) == 0 {
		return netip.Addr{}, err
	}
	addr, err := netip.ParseAddr(rows[0].Value("public-address"))
	if err != nil {
		return netip.Addr{}, nil //nolint:nilerr // no address is what it says before it knows one
	}
	return addr, nil
}
