package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"doublenat/routeros/routerostest"
)

// Places says where everybody is. All addresses are in 127.0.0.0/8.
type Places struct {
	// Gateway is where the VPN gateway is asked, if it is one that is.
	Gateway netip.AddrPort
	// Router is the router's API.
	Router netip.AddrPort
	// Listen is where doublenat answers clients.
	Listen netip.AddrPort
	// Page is where doublenat shows its status page while the lab runs. The zero value
	// means nowhere.
	Page netip.AddrPort
	// Client is the LAN client's web server, which has this port over UDP too.
	Client netip.AddrPort
	// Public is where the gateway's public address is reached on this machine.
	Public netip.Addr
	// Tunnel is the router's address in the tunnel.
	Tunnel netip.Addr
	// Internet is the host that connects from outside.
	Internet netip.Addr
}

// publicAddress is what the gateway says its public address is. An address of
// loopback would be truer and is refused by newer versions of natpmpc.
func publicAddress() netip.Addr { return netip.AddrFrom4([4]byte{5, 6, 7, 8}) }

// DefaultPlaces gives every role an address of its own where the system allows
// it, as Linux does for all of 127.0.0.0/8, and else 127.0.0.1.
func DefaultPlaces(ctx context.Context) Places {
	p := separatePlaces()
	if conn, err := listenUDP(ctx, netip.AddrPortFrom(p.Tunnel, 0)); err == nil {
		_ = conn.Close() // nothing was sent
		return p
	}
	return sharedPlaces()
}

// separatePlaces has an address for every role, each like the one that the role has
// in real networks.
func separatePlaces() Places {
	return Places{
		Gateway:  netip.MustParseAddrPort("127.10.2.1:5351"),
		Router:   netip.MustParseAddrPort("127.88.0.1:8728"),
		Listen:   netip.MustParseAddrPort("127.88.0.2:5351"),
		Page:     netip.MustParseAddrPort("127.88.0.2:8080"),
		Client:   netip.MustParseAddrPort("127.88.0.10:8080"),
		Public:   netip.MustParseAddr("127.5.6.8"),
		Tunnel:   netip.MustParseAddr("127.10.2.2"),
		Internet: netip.MustParseAddr("127.44.55.66"),
	}
}

// sharedPlaces has one address for all roles.
func sharedPlaces() Places {
	one := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	return Places{
		Gateway:  netip.AddrPortFrom(one, 5352),
		Router:   netip.AddrPortFrom(one, 8728),
		Listen:   netip.AddrPortFrom(one, 5351),
		Page:     netip.AddrPortFrom(one, 8081),
		Client:   netip.AddrPortFrom(one, 8080),
		Public:   one,
		Tunnel:   one,
		Internet: one,
	}
}

// separate says whether hosts have addresses of their own, so that a relay can
// keep a sender's address.
func (p Places) separate() bool { return p.Internet != p.Public }

// known is the gateway's address as doublenat is told. A gateway that shares its
// address with the clients would make them look like the gateway.
func (p Places) known() netip.AddrPort {
	if p.separate() {
		return p.Gateway
	}
	return netip.AddrPortFrom(netip.MustParseAddr(routerostest.GatewayAddress), p.Gateway.Port())
}

// self is the router's address in the tunnel as gateway and router know it. An address
// that is everybody's would be no client's.
func (p Places) self() netip.Addr {
	if p.separate() {
		return p.Tunnel
	}
	return netip.MustParseAddr(routerostest.TunnelAddress)
}

// check refuses addresses at which the lab would touch a network.
func (p Places) check() error {
	addresses := map[string]netip.Addr{"public": p.Public, "tunnel": p.Tunnel, "internet": p.Internet}
	sockets := map[string]netip.AddrPort{"gateway": p.Gateway, "router": p.Router, "listen": p.Listen, "client": p.Client}
	if p.Page.IsValid() {
		sockets["page"] = p.Page
	}
	for name, a := range sockets {
		if a.Port() == 0 {
			return fmt.Errorf("lab: %s has no port", name)
		}
		addresses[name] = a.Addr()
	}
	for name, a := range addresses {
		if !a.Is4() || !a.IsLoopback() {
			return fmt.Errorf("lab: %s address %v is not in 127.0.0.0/8", name, a)
		}
	}
	return nil
}

// taken explains why a socket could not be opened, and names the flag that helps.
func taken(what, flag string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("the port of %s is taken by another program (%w); choose another one with --%s", what, err, flag)
	}
	return fmt.Errorf("opening the port of %s: %w", what, err)
}

// listenUDP opens a UDP socket.
func listenUDP(ctx context.Context, a netip.AddrPort) (*net.UDPConn, error) {
	var config net.ListenConfig
	conn, err := config.ListenPacket(ctx, "udp4", a.String())
	if err != nil {
		return nil, err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%T is not a UDP socket", conn), conn.Close())
	}
	return udp, nil
}

// addrPort joins an address and a port for the functions of package net.
func addrPort(a netip.Addr, number uint16) string {
	return net.JoinHostPort(a.String(), strconv.Itoa(int(number)))
}
