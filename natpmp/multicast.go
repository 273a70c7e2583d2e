package natpmp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
)

// allHosts is the group to which gateways announce (RFC 6886 §3.2.1).
func allHosts() netip.Addr { return netip.AddrFrom4([4]byte{224, 0, 0, 1}) }

// MulticastLink is a link on which announcements are sent.
type MulticastLink struct {
	// Interface is the index of the interface, not 0.
	Interface int
	// Source is the address from which they come: clients drop what does not come
	// from the very address that is their gateway (RFC 6886 §3.2.1). The zero Addr
	// leaves the choice to the kernel, which takes the interface's first address.
	Source netip.Addr
}

// MulticastSender sends announcements from the server's own socket, so that they
// come from port 5351 (RFC 6887 §14.1.1 says so; some clients of NAT-PMP too tell
// announcements by it). It is an [AnnouncementSender].
type MulticastSender struct {
	conn  *ipv4.PacketConn
	links []MulticastLink
	to    *net.UDPAddr
}

var _ AnnouncementSender = (*MulticastSender)(nil)

// NewMulticastSender returns a sender on the socket, which should be bound to
// port 5351, for the given links. They stay on the link: their TTL is 1. The
// socket is the caller's to close, after the last announcement.
func NewMulticastSender(conn *net.UDPConn, links []MulticastLink) (*MulticastSender, error) {
	if len(links) == 0 {
		return nil, errors.New("natpmp: no link to announce on")
	}
	for _, l := range links {
		if l.Interface <= 0 {
			return nil, fmt.Errorf("natpmp: no interface has index %d", l.Interface)
		}
	}
	pc := ipv4.NewPacketConn(conn)
	if err := pc.SetMulticastTTL(1); err != nil {
		return nil, fmt.Errorf("setting the multicast TTL: %w", err)
	}
	return &MulticastSender{
		conn:  pc,
		links: append([]MulticastLink(nil), links...),
		to:    net.UDPAddrFromAddrPort(netip.AddrPortFrom(allHosts(), AnnouncementPort)),
	}, nil
}

// Announce sends the packet on each link. A link that fails does not keep the
// others from being tried.
func (s *MulticastSender) Announce(packet []byte) error {
	var errs []error
	for _, l := range s.links {
		cm := &ipv4.ControlMessage{IfIndex: l.Interface}
		if l.Source.IsValid() {
			cm.Src = l.Source.AsSlice()
		}
		if _, err := s.conn.WriteTo(packet, cm, s.to); err != nil {
			errs = append(errs, fmt.Errorf("announcing on interface %d: %w", l.Interface, err))
		}
	}
	return errors.Join(errs...)
}
