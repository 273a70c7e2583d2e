package datagram

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
)

// membershipLook is how often it is looked which interfaces there are.
const membershipLook = 10 * time.Second

// groupTTL is how many links a packet to a group may cross: what SSDP asks for (UDA 1.1 §1.1.2).
const groupTTL = 2

// Joiner is a socket that can be in multicast groups: an [ipv4.PacketConn].
type Joiner interface {
	JoinGroup(ifi *net.Interface, group net.Addr) error
	LeaveGroup(ifi *net.Interface, group net.Addr) error
}

// MembershipConfig has what a [Membership] needs.
type MembershipConfig struct {
	// Socket is to hear the group. It is the caller's to close. Required.
	Socket Joiner
	// Group is the group's address. Required.
	Group netip.Addr
	// Interfaces returns the indexes of the interfaces on which to hear it, which may come
	// and go. It is called by Run's goroutine at once and every ten seconds. Required.
	Interfaces func() []int
	// Logger is told of interfaces that are joined or left, and gets a warning if one cannot
	// be joined, each time that this begins. Nil discards.
	Logger *slog.Logger
}

// Membership keeps a socket in a multicast group on the interfaces that there are.
type Membership struct {
	cfg MembershipConfig
	// joined has the interfaces on which the group is heard, failed those on which it cannot
	// be. Both are used by Run's goroutine alone.
	joined, failed map[int]struct{}
}

// NewMembership checks the configuration and returns a membership. It starts nothing.
func NewMembership(cfg MembershipConfig) (*Membership, error) {
	switch {
	case cfg.Socket == nil, cfg.Interfaces == nil:
		return nil, errors.New("datagram: a membership needs a socket and interfaces")
	case !cfg.Group.Is4() || !cfg.Group.IsMulticast():
		return nil, errors.New("datagram: the group is not a multicast address of IPv4")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Membership{cfg: cfg, joined: make(map[int]struct{}), failed: make(map[int]struct{})}, nil
}

// Run joins the group on each interface that is there or comes, and leaves it on those that
// are gone, until the context ends. It returns nil. What is joined by then stays so as long
// as the socket is open.
func (m *Membership) Run(ctx context.Context) error {
	ticker := time.NewTicker(membershipLook)
	defer ticker.Stop()
	for {
		m.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// look joins and leaves.
func (m *Membership) look(ctx context.Context) {
	present := make(map[int]struct{})
	for _, index := range m.cfg.Interfaces() {
		present[index] = struct{}{}
		if _, ok := m.joined[index]; ok {
			continue
		}
		err := m.cfg.Socket.JoinGroup(&net.Interface{Index: index}, m.group())
		_, before := m.failed[index]
		switch {
		case err == nil:
			m.joined[index] = struct{}{}
			delete(m.failed, index)
			m.cfg.Logger.DebugContext(ctx, "multicast group joined", "group", m.cfg.Group, "interface", index)
		case !before:
			m.failed[index] = struct{}{}
			m.cfg.Logger.WarnContext(ctx, "multicast group not joined, retrying", "group", m.cfg.Group, "interface", index, "error", err)
		}
	}
	for index := range m.joined {
		if _, ok := present[index]; ok {
			continue
		}
		delete(m.joined, index)
		// An error says that the interface is gone, and the membership with it.
		err := m.cfg.Socket.LeaveGroup(&net.Interface{Index: index}, m.group())
		m.cfg.Logger.DebugContext(ctx, "multicast group left", "group", m.cfg.Group, "interface", index, "error", err)
	}
	for index := range m.failed {
		if _, ok := present[index]; !ok {
			delete(m.failed, index)
		}
	}
}

func (m *Membership) group() net.Addr { return &net.UDPAddr{IP: m.cfg.Group.AsSlice()} }

// ListenGroup opens a UDP socket for requests to a multicast group and to this host: at the
// port, on all addresses, which other programs on this host may share, and it hears groups
// only on the interfaces on which it is told to.
func ListenGroup(ctx context.Context, port uint16) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: shared}
	conn, err := lc.ListenPacket(ctx, "udp4", netip.AddrPortFrom(netip.IPv4Unspecified(), port).String())
	if err != nil {
		return nil, fmt.Errorf("opening the socket of a multicast group: %w", err)
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		_ = conn.Close() // it cannot be
		return nil, errors.New("opening the socket of a multicast group: it is none of UDP")
	}
	if err := ipv4.NewPacketConn(udp).SetMulticastTTL(groupTTL); err != nil {
		_ = udp.Close() // it is of no use
		return nil, fmt.Errorf("setting the multicast TTL: %w", err)
	}
	return udp, nil
}

// Socket returns what a [Membership] needs of a socket.
func Socket(conn *net.UDPConn) Joiner { return ipv4.NewPacketConn(conn) }
