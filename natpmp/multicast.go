package natpmp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"

	"doublenat/internal/datagram"
)

// allHosts is the group to which gateways announce (RFC 6886 §3.2.1).
func allHosts() netip.Addr { return netip.AddrFrom4([4]byte{224, 0, 0, 1}) }

// MulticastLink is a link on which announcements are sent.
type MulticastLink struct {
	// Interface is the index of the interface, not 0.
	Interface int
	// Source is the address that announcements come from: clients drop those that do not
	// come from exactly their gateway's address (RFC 6886 §3.2.1). With the zero Addr the
	// kernel chooses the interface's first address.
	Source netip.Addr
}

// MulticastSender sends announcements from the server's own socket, so that they come from
// port 5351. RFC 6887 §14.1.1 requires that, and some NAT-PMP clients recognize
// announcements by it too. It is an [AnnouncementSender] for all its links together.
type MulticastSender struct {
	sender *datagram.Sender
	links  []MulticastLink
}

var _ AnnouncementSender = (*MulticastSender)(nil)

// NewMulticastSender returns a sender on the socket, which should be bound to port 5351,
// for the given links. Announcements stay on the link: their TTL is 1. The caller closes
// the socket, after the last announcement.
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
	return &MulticastSender{sender: datagram.NewSender(conn), links: append([]MulticastLink(nil), links...)}, nil
}

// Announce sends the packet on each link. If one link fails, it still tries the others.
func (s *MulticastSender) Announce(packet []byte) error {
	var errs []error
	for _, l := range s.links {
		err := s.sender.Send(packet, netip.AddrPortFrom(allHosts(), AnnouncementPort), l.Source, l.Interface)
		if err != nil {
			errs = append(errs, fmt.Errorf("announcing on interface %d: %w", l.Interface, err))
		}
	}
	return errors.Join(errs...)
}

// Links returns the links one by one. A link's ID is its [MulticastLink].
func (s *MulticastSender) Links() []AnnouncementLink {
	var all []AnnouncementLink
	for _, l := range s.links {
		all = append(all, AnnouncementLink{ID: l, AnnouncementSender: &MulticastSender{sender: s.sender, links: []MulticastLink{l}}})
	}
	return all
}
