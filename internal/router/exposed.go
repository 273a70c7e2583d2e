package router

import (
	"context"
	"net"
	"net/netip"

	"doublenat/internal/realm"
	"doublenat/routeros"
)

// dialer returns what opens connections for an API without TLS: it looks where
// they lead. A name may be that of a host behind the Internet, which only its
// address tells, and the password goes over the connection next.
func (r *Router) dialer(dial func(context.Context) (net.Conn, error)) func(context.Context) (net.Conn, error) {
	if dial == nil {
		dial = func(ctx context.Context) (net.Conn, error) { return routeros.Dial(ctx, r.cfg.API.Address) }
	}
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if err == nil {
			r.noteExposed(ctx, conn.RemoteAddr())
		}
		return conn, err
	}
}

// noteExposed warns, once, of a password that others may read on its way. Of an
// address that was configured as such the configuration warns.
func (r *Router) noteExposed(ctx context.Context, to net.Addr) {
	tcp, ok := to.(*net.TCPAddr)
	if !ok {
		return
	}
	host, _, _ := net.SplitHostPort(r.cfg.API.Address) // "" is no address
	if _, err := netip.ParseAddr(host); err == nil || !realm.Public(tcp.AddrPort().Addr()) || !r.exposed.CompareAndSwap(false, true) {
		return
	}
	r.log.WarnContext(ctx, "the router's address is public and its API without TLS: the password can be read on the way",
		"host", host, "address", tcp.AddrPort().Addr().Unmap(), "remedy", "switch the service api-ssl on and set MIKROTIK_API_TLS=true")
}
