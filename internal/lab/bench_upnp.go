package lab

import (
	"context"
	"net"
	"net/netip"

	"doublenat/igd"
	"doublenat/igd/igdtest"
)

// searchSource is the port from which clients of UPnP on a bench search.
const searchSource = 50190

// listenSearches and listenDevice are the daemon's sockets for clients of UPnP.
func (b *Bench) listenSearches(_ context.Context, at netip.Addr) (net.PacketConn, error) {
	return b.Net.Listen(netip.AddrPortFrom(at, igd.SearchPort))
}

func (b *Bench) listenDevice(_ context.Context, at netip.AddrPort) (net.Listener, error) {
	l := igdtest.Listen(at)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.control = l
	return l, nil
}

// ControlPoint returns a client of UPnP on a LAN host, which searches where NAT-PMP is asked.
// It is the caller's to close.
func (b *Bench) ControlPoint(client netip.Addr) (*igd.Client, error) {
	return igd.NewClient(igd.Config{
		Gateway: b.spot.listen.Addr(),
		Dial:    func(ctx context.Context, to netip.AddrPort) (net.Conn, error) { return b.DialControl(ctx, client, to) },
		ListenSearch: func(context.Context) (net.PacketConn, error) {
			return b.Net.Listen(netip.AddrPortFrom(client, searchSource))
		},
	})
}

// DialControl connects a client of UPnP to where the daemon is controlled. Elsewhere nobody
// listens.
func (b *Bench) DialControl(ctx context.Context, client netip.Addr, to netip.AddrPort) (net.Conn, error) {
	b.mu.Lock()
	control := b.control
	b.mu.Unlock()
	if control == nil || control.Addr().String() != to.String() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: net.ErrClosed}
	}
	return control.Dial(ctx, netip.AddrPortFrom(client, searchSource))
}
