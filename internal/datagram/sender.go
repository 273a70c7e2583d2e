package datagram

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
)

// errCrowded is a packet that was not sent because too many wait in the send buffer.
var errCrowded = errors.New("datagram: send buffer is more than half full")

// Sender sends on a UDP socket and waits for no room in its send buffer, on systems that
// can do so. It is safe for concurrent use.
type Sender struct {
	conn *net.UDPConn
	// quick sends without waiting; nil where the system has no such way.
	quick *sender
}

// NewSender returns one for the socket, which is the caller's to close.
func NewSender(conn *net.UDPConn) *Sender { return &Sender{conn: conn, quick: newSender(conn)} }

// Send sends a packet from an address, on the interface with the index; the zero Addr and 0
// leave either to the system. A packet that there is no room for is lost, and an error.
func (s *Sender) Send(payload []byte, to netip.AddrPort, from netip.Addr, iface int) error {
	return s.send(datagramOut{payload: payload, to: to, from: from, iface: iface})
}

func (s *Sender) send(d datagramOut) error {
	if s.quick != nil {
		return s.quick.send(d)
	}
	_, _, err := s.conn.WriteMsgUDPAddrPort(d.payload, d.control(), d.to)
	return err
}

// datagramOut is a packet to be sent.
type datagramOut struct {
	payload []byte
	// to is the destination; the zero value on a connected socket.
	to netip.AddrPort
	// from is the source address; the zero Addr leaves the choice to the system.
	from netip.Addr
	// iface is the index of the interface; 0 leaves the choice to the system.
	iface int
	// yields is set for a packet that is not sent while more than half of the send
	// buffer waits, where the system tells how much does.
	yields bool
	// arrived is the index of the interface on which the request came that this answers,
	// 0 for none. One to a host that is not on that link yields too: whoever forges
	// addresses can get mappings for them.
	arrived int
}

// control returns the control message for source and interface, nil for none.
func (d datagramOut) control() []byte {
	if !d.from.IsValid() && d.iface == 0 {
		return nil
	}
	cm := ipv4.ControlMessage{IfIndex: d.iface}
	if d.from.IsValid() {
		cm.Src = d.from.AsSlice()
	}
	return cm.Marshal()
}
