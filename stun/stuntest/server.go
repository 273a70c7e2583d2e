// Package stuntest is a STUN server for tests, honest or not.
package stuntest

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
)

// Server answers Binding requests (RFC 8489) on a socket that it is given. Its methods may
// be called at the same time from several goroutines.
type Server struct {
	mu      sync.Mutex // guards what follows
	answer  func(request []byte, from netip.AddrPort) [][]byte
	asked   int
	lastAsk netip.AddrPort
}

// New returns a server that answers as [Truth] does.
func New() *Server { return &Server{answer: Truth} }

// Answer sets what is answered to a request from an address: any number of packets.
func (s *Server) Answer(f func(request []byte, from netip.AddrPort) [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// Asked returns how many requests came, and from where the last one did.
func (s *Server) Asked() (n int, last netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.lastAsk
}

// Serve answers until the socket is closed. It returns nil then.
func (s *Server) Serve(conn net.PacketConn) error {
	packet := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(packet)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		at, err := netip.ParseAddrPort(from.String())
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.asked++
		s.lastAsk = at
		answer := s.answer
		s.mu.Unlock()
		for _, reply := range answer(packet[:n], at) {
			if _, err := conn.WriteTo(reply, from); err != nil && !errors.Is(err, net.ErrClosed) {
				return err
			}
		}
	}
}

// Truth answers with the address from which the request came.
func Truth(request []byte, from netip.AddrPort) [][]byte { return Claim(from)(request, from) }

// Claim returns what answers with an address, whatever is true.
func Claim(a netip.AddrPort) func(request []byte, from netip.AddrPort) [][]byte {
	return func(request []byte, _ netip.AddrPort) [][]byte {
		return [][]byte{Response(request, Attribute(0x0020, XORed(a, request)))}
	}
}

// Silence answers nothing.
func Silence([]byte, netip.AddrPort) [][]byte { return nil }

// Response returns a Binding success to a request, with attributes.
func Response(request []byte, attributes ...[]byte) []byte {
	b := []byte{1, 1, 0, 0}
	b = append(b, request[4:20]...)
	for _, a := range attributes {
		b = append(b, a...)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20)) //nolint:gosec // tests make no longer ones
	return b
}

// Attribute returns one, padded.
func Attribute(kind uint16, value []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value))) //nolint:gosec // tests make no longer ones
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// Plain returns the value of MAPPED-ADDRESS.
func Plain(a netip.AddrPort) []byte {
	family := byte(1)
	if a.Addr().Is6() {
		family = 2
	}
	return append(binary.BigEndian.AppendUint16([]byte{0, family}, a.Port()), a.Addr().AsSlice()...)
}

// XORed returns the value of XOR-MAPPED-ADDRESS in the answer to a request.
func XORed(a netip.AddrPort, request []byte) []byte {
	b := Plain(a)
	b[2] ^= request[4]
	b[3] ^= request[5]
	for i := range b[4:] {
		b[4+i] ^= request[4+i]
	}
	return b
}
