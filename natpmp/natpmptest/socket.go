package natpmptest

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// socket is a UDP socket of a [Network]. It is a net.Conn when it is connected,
// and a net.PacketConn either way, like *net.UDPConn.
type socket struct {
	network *Network
	local   netip.AddrPort
	remote  netip.AddrPort // valid when connected
	ready   chan struct{}  // holds one when the queue may have packets
	refused chan struct{}  // holds the error that ICMP brought, until it is read
	read    *deadline
	write   *deadline
	once    sync.Once
	done    chan struct{} // closed by Close

	mu sync.Mutex // guards what follows, for moments only
	// queue has what arrived, up to NetworkConfig.Queue packets.
	queue []Packet
	// asked has the address to which each peer wrote; only on a wildcard socket.
	asked map[netip.AddrPort]netip.Addr
}

var (
	_ net.Conn       = (*socket)(nil)
	_ net.PacketConn = (*socket)(nil)
)

// newSocket returns a socket that is not yet on the network.
func newSocket(n *Network, local, remote netip.AddrPort) *socket {
	return &socket{
		network: n,
		local:   local,
		remote:  remote,
		ready:   make(chan struct{}, 1),
		refused: make(chan struct{}, 1),
		read:    newDeadline(),
		write:   newDeadline(),
		done:    make(chan struct{}),
	}
}

// push queues a packet that arrived. It returns false when the queue is full.
func (s *socket) push(p Packet) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) >= s.network.cfg.Queue {
		return false
	}
	s.queue = append(s.queue, p)
	s.signal()
	return true
}

// pop takes the next packet off the queue.
func (s *socket) pop() (Packet, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return Packet{}, false
	}
	p := s.queue[0]
	if s.queue = slices.Delete(s.queue, 0, 1); len(s.queue) > 0 {
		s.signal() // there may be another reader
	}
	return p, true
}

// signal wakes a reader, or tells the next one not to wait.
func (s *socket) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// refuse is what an ICMP port unreachable does to a connected socket.
func (s *socket) refuse() {
	select {
	case s.refused <- struct{}{}:
	default: // one is enough
	}
}

// Read reads one datagram from the peer; see [net.Conn].
func (s *socket) Read(b []byte) (int, error) {
	n, _, err := s.receive(b)
	return n, err
}

// ReadFrom reads one datagram; see [net.PacketConn].
func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := s.receive(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// receive waits for a datagram, an error, the deadline or Close. What does not
// fit into b is cut off.
func (s *socket) receive(b []byte) (int, netip.AddrPort, error) {
	passed := s.read.wait()
	// A closed socket and a passed deadline win over packets that wait, as in package net.
	switch {
	case isClosed(s.done):
		return 0, netip.AddrPort{}, s.fail("read", net.ErrClosed)
	case s.read.past():
		return 0, netip.AddrPort{}, s.fail("read", os.ErrDeadlineExceeded)
	}
	select {
	case <-s.refused:
		return 0, netip.AddrPort{}, s.fail("read", syscall.ECONNREFUSED)
	default:
	}
	for {
		if p, ok := s.pop(); ok {
			s.remember(p)
			return copy(b, p.Payload), p.From, nil
		}
		select {
		case <-s.ready:
		case <-s.refused:
			return 0, netip.AddrPort{}, s.fail("read", syscall.ECONNREFUSED)
		case <-passed:
			return 0, netip.AddrPort{}, s.fail("read", os.ErrDeadlineExceeded)
		case <-s.done:
			return 0, netip.AddrPort{}, s.fail("read", net.ErrClosed)
		}
	}
}

// Write sends one datagram to the peer; see [net.Conn].
func (s *socket) Write(b []byte) (int, error) {
	if !s.remote.IsValid() {
		return 0, s.fail("write", syscall.EDESTADDRREQ)
	}
	select {
	case <-s.refused:
		return 0, s.fail("write", syscall.ECONNREFUSED)
	default:
	}
	return s.transmit(b, s.remote)
}

// WriteTo sends one datagram; see [net.PacketConn].
func (s *socket) WriteTo(b []byte, addr net.Addr) (int, error) {
	if s.remote.IsValid() {
		return 0, s.fail("write", net.ErrWriteToConnected)
	}
	to, ok := addr.(*net.UDPAddr)
	if !ok || to == nil || !to.AddrPort().Addr().Unmap().Is4() {
		return 0, s.fail("write", syscall.EAFNOSUPPORT)
	}
	return s.transmit(b, unmap(to.AddrPort()))
}

// transmit hands a datagram to the network.
func (s *socket) transmit(b []byte, to netip.AddrPort) (int, error) {
	switch {
	case isClosed(s.done):
		return 0, s.fail("write", net.ErrClosed)
	case s.write.past():
		return 0, s.fail("write", os.ErrDeadlineExceeded)
	}
	if err := s.network.send(s, s.sourceFor(to), to, b); err != nil {
		return 0, s.fail("write", err)
	}
	return len(b), nil
}

// remember notes to which address a peer wrote.
func (s *socket) remember(p Packet) {
	if !s.local.Addr().IsUnspecified() || p.To.Addr().IsMulticast() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == nil || len(s.asked) >= maxPeers {
		s.asked = make(map[netip.AddrPort]netip.Addr)
	}
	s.asked[p.From] = p.To.Addr()
}

// sourceFor returns the source address of a packet to a peer. A wildcard socket
// uses the address that the peer wrote to last, as connection tracking would have it.
func (s *socket) sourceFor(to netip.AddrPort) netip.AddrPort {
	if !s.local.Addr().IsUnspecified() {
		return s.local
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.asked[to]; ok {
		return netip.AddrPortFrom(a, s.local.Port())
	}
	return s.local
}

// Close takes the socket off the network and ends all that waits on it.
func (s *socket) Close() error {
	err := s.fail("close", net.ErrClosed)
	s.once.Do(func() {
		close(s.done)
		s.read.set(time.Time{})
		s.write.set(time.Time{})
		s.network.remove(s)
		err = nil
	})
	return err
}

// LocalAddr returns a *net.UDPAddr.
func (s *socket) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(s.local) }

// RemoteAddr returns a *net.UDPAddr, or nil when the socket is not connected.
func (s *socket) RemoteAddr() net.Addr {
	if !s.remote.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(s.remote)
}

// SetDeadline is part of [net.Conn].
func (s *socket) SetDeadline(t time.Time) error {
	s.read.set(t)
	s.write.set(t)
	return nil
}

// SetReadDeadline is part of [net.Conn].
func (s *socket) SetReadDeadline(t time.Time) error {
	s.read.set(t)
	return nil
}

// SetWriteDeadline is part of [net.Conn].
func (s *socket) SetWriteDeadline(t time.Time) error {
	s.write.set(t)
	return nil
}

// fail returns an error in the form of those of package net.
func (s *socket) fail(op string, err error) error { return opError(op, s.local, s.remote, err) }
