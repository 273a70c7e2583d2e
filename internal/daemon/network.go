package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"doublenat/internal/config"
	"doublenat/natpmp"
)

// Network is how the daemon reaches the world. The zero value is the host's own
// network; tests and simulations put one in memory in its place, field by field.
type Network struct {
	// Listen opens the socket on which clients are answered. Nil means a UDP
	// socket on the given address.
	Listen func(ctx context.Context, at netip.AddrPort) (net.PacketConn, error)
	// DialGateway connects a UDP socket to the gateway, whose address is to. Nil means one of
	// the host's.
	DialGateway func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// DialDevice connects to a device of UPnP, and ListenSearch opens a socket for the
	// search for it. Nil means those of the host.
	DialDevice   func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	ListenSearch func(ctx context.Context) (net.PacketConn, error)
	// DialSTUN connects a UDP socket to a STUN server at host:port. Nil means one of the
	// host's.
	DialSTUN func(ctx context.Context, to string) (net.Conn, error)
	// DialRouter opens a connection to the router's API. Nil means TCP.
	DialRouter func(ctx context.Context) (net.Conn, error)
	// DialHook opens a connection to the host of ON_CHANGE_URL. Nil means TCP.
	DialHook func(ctx context.Context, network, address string) (net.Conn, error)
	// ListenHTTP opens the socket on which the status page is served. Nil means one
	// of the host's.
	ListenHTTP func(ctx context.Context, at config.ListenAddress) (net.Listener, error)
	// ListenAnnouncements opens a socket for the gateway's announcements. Nil
	// means one of the host's, where it has such.
	ListenAnnouncements func() (net.PacketConn, error)
	// Relays returns the addresses behind which this host hides others: those of its
	// bridges, and of the container network that it is in. Nil means to look.
	Relays func() []netip.Addr
	// ListenSearches opens the socket on which searches of UPnP are heard, on the given address
	// or all, and ListenDevice the one of its descriptions and control. Nil means those of the host.
	ListenSearches func(ctx context.Context, at netip.Addr) (net.PacketConn, error)
	ListenDevice   func(ctx context.Context, at netip.AddrPort) (net.Listener, error)

	// Announcements returns what sends announcements to the clients, or nil where
	// none can be sent now, with the reason. It is asked again while a series lasts. Nil
	// means multicast from the socket on which clients are answered.
	Announcements func(conn net.PacketConn, cfg config.Config) (natpmp.AnnouncementSender, string)
}

// withDefaults returns the network with the host's own ways where none is given.
func (n Network) withDefaults() Network {
	if n.Listen == nil {
		n.Listen = func(ctx context.Context, at netip.AddrPort) (net.PacketConn, error) {
			var lc net.ListenConfig
			return lc.ListenPacket(ctx, "udp4", at.String())
		}
	}
	if n.DialGateway == nil {
		n.DialGateway = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "udp4", to.String())
		}
	}
	if n.DialSTUN == nil {
		n.DialSTUN = func(ctx context.Context, to string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "udp4", to)
		}
	}
	if n.ListenHTTP == nil {
		n.ListenHTTP = listenStream
	}
	if n.ListenAnnouncements == nil {
		n.ListenAnnouncements = natpmp.ListenAnnouncements
	}
	if n.ListenSearches == nil {
		n.ListenSearches = listenSearches
	}
	if n.ListenDevice == nil {
		n.ListenDevice = listenDevice
	}
	if n.Relays == nil {
		n.Relays = hostRelays
	}
	if n.Announcements == nil {
		n.Announcements = multicast
	}
	return n
}

// dialer returns what connects to the gateway of a configuration.
func (n Network) dialer(cfg config.Config) func(ctx context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) { return n.DialGateway(ctx, cfg.Gateway) }
}

// listen opens the clients' socket, and says what to do if it cannot.
func (d *Daemon) listen(ctx context.Context) (net.PacketConn, error) {
	conn, err := d.net.Listen(ctx, d.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("opening LISTEN_ADDR %s (is another NAT-PMP server running here, or is the address not this host's?): %w",
			d.cfg.Listen, err)
	}
	return conn, nil
}
