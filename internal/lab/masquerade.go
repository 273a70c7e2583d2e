package lab

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// masquerade is a packet socket behind the router's srcnat rule: whoever sends,
// the gateway sees the tunnel address, and its replies find their way back.
type masquerade struct {
	net.PacketConn

	// as is the tunnel address.
	as netip.Addr

	mu sync.Mutex // guards what follows
	// senders has who used a port last. Ports bound it.
	senders map[uint16]net.Addr
}

// newMasquerade wraps a socket, which stays the caller's.
func newMasquerade(conn net.PacketConn, as netip.Addr) *masquerade {
	return &masquerade{PacketConn: conn, as: as, senders: make(map[uint16]net.Addr)}
}

// ReadFrom reads a packet and says that it came from the tunnel address.
func (m *masquerade) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := m.PacketConn.ReadFrom(b)
	if err != nil {
		return n, addr, err
	}
	from := addrPortOf(addr)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.senders[from.Port()] = addr
	return n, net.UDPAddrFromAddrPort(netip.AddrPortFrom(m.as, from.Port())), nil
}

// WriteTo sends a packet for the tunnel address to who is behind it.
func (m *masquerade) WriteTo(b []byte, addr net.Addr) (int, error) {
	m.mu.Lock()
	to := m.senders[addrPortOf(addr).Port()]
	m.mu.Unlock()
	if to == nil {
		return 0, errors.New("nobody behind the tunnel address sent from that port")
	}
	return m.PacketConn.WriteTo(b, to)
}
