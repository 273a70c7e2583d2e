package datagram

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
)

// readBuffer is how many bytes of packets the system is asked to keep until they are
// read. It counts some 800 for each of ours, so that the usual 208 KiB are full after
// 280 of them: three milliseconds of a flood of 100,000 a second, in which the reader
// may well not run. Of such a flood over loopback 60 % were lost then, of honest
// clients' packets as of others, and a few in a hundred with this. Systems give less
// if they allow less (net.core.rmem_max), and take memory only for what waits.
const readBuffer = 1 << 20

// writeBuffer is how many bytes of replies the system is asked to keep. It counts some
// 800 for each, too, and keeps one for a host that does not exist for three seconds,
// while it asks for its hardware address. Linux gives twice what it allows
// (net.core.wmem_max), so that even its usual limit makes room for 500 replies, where
// there was room for 250.
const writeBuffer = 1 << 20

// Arrival is how a packet came in.
type Arrival struct {
	// Client is the packet's source: an IPv4 address and a port.
	Client netip.AddrPort
	// Destination is the address to which the packet was sent. It is the zero
	// Addr where the platform or the connection does not tell.
	Destination netip.Addr
	// Local is this host's address that the client reaches it at: Destination, or, where that
	// is the address of a group or of all, the one from which a reply goes, if the system
	// tells.
	Local netip.Addr
	// Interface is the index of the interface on which the packet came in, 0 where
	// the platform or the connection does not tell, and for packets that had
	// arrived before Serve was called.
	Interface int
	// Broadcast is set if Destination is a broadcast address, where that is known.
	Broadcast bool
	// At is when the packet was read.
	At time.Time

	via transport // it came by, nil if no server read it
}

// errNowhere is that nobody knows how a packet came in.
var errNowhere = errors.New("datagram: no server read the packet that is to be answered")

// Send sends a packet the way that this one came, long after it was answered if need be: from
// the address that was asked to the one that asked. It does not wait for room in the send
// buffer. The error is one of the socket, which may be closed by then.
func (a Arrival) Send(packet []byte) error {
	if a.via == nil {
		return errNowhere
	}
	return a.via.write(packet, a, false)
}

// transport reads requests and sends each reply from the address that was asked.
// Writing does not wait; a reply that yields, or is to a host that does not exist, is not
// sent while the send buffer is more than half full, and the error is errCrowded then.
type transport interface {
	read(b []byte) (int, Arrival, error)
	write(b []byte, a Arrival, yields bool) error
}

// newTransport returns the best transport that the connection allows. A UDP
// socket tells for each packet where it was sent to and how it came; elsewhere,
// also on platforms without such control messages, a reply comes from whatever
// address the system chooses.
func newTransport(conn net.PacketConn) transport {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return plainTransport{conn: conn}
	}
	_ = udp.SetReadBuffer(readBuffer) // what there is has to do otherwise
	_ = udp.SetWriteBuffer(writeBuffer)
	if err := ipv4.NewPacketConn(udp).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true); err != nil {
		return plainTransport{conn: conn}
	}
	local, _ := AddrPort(udp.LocalAddr()) // without one nothing is known
	return &udpTransport{
		conn: udp, sender: NewSender(udp), bound: local.IsValid() && !local.Addr().IsUnspecified(),
		oob: make([]byte, len(ipv4.NewControlMessage(ipv4.FlagDst|ipv4.FlagInterface))),
	}
}

// plainTransport is a net.PacketConn without control messages.
type plainTransport struct{ conn net.PacketConn }

func (t plainTransport) read(b []byte) (int, Arrival, error) {
	n, from, err := t.conn.ReadFrom(b)
	if err != nil {
		return 0, Arrival{}, err
	}
	client, err := AddrPort(from)
	return n, Arrival{Client: client}, err
}

func (t plainTransport) write(b []byte, a Arrival, _ bool) error {
	_, err := t.conn.WriteTo(b, net.UDPAddrFromAddrPort(a.Client))
	return err
}

// udpTransport is a UDP socket with IP_PKTINFO or the like. RFC 6886 §3.2 and
// §3.3 make clients discard a reply that does not come from the address they
// asked, which on a host with several addresses the kernel does not see to.
type udpTransport struct {
	conn   *net.UDPConn
	sender *Sender
	// bound is set if the socket has one address, from which all that it sends comes.
	bound bool
	// oob and arrivals are for the one reader, and are kept so that a packet that is
	// dropped costs as little as can be.
	oob      []byte
	arrivals arrivals
}

func (t *udpTransport) read(b []byte) (int, Arrival, error) {
	n, oobn, _, from, err := t.conn.ReadMsgUDPAddrPort(b, t.oob)
	if err != nil {
		return 0, Arrival{}, err
	}
	a := Arrival{Client: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}
	t.arrivals.read(t.oob[:oobn], &a)
	return n, a, nil
}

func (t *udpTransport) write(b []byte, a Arrival, yields bool) error {
	d := datagramOut{payload: b, to: a.Client, from: a.Destination, yields: yields, arrived: a.Interface}
	if t.bound || a.Destination.IsMulticast() {
		d.from = netip.Addr{} // it costs the kernel a look at its routes to be told
	}
	return t.sender.send(d)
}

// AddrPort returns an IPv4 address and port of any UDP-like connection. The error says that
// there are none in it.
func AddrPort(a net.Addr) (netip.AddrPort, error) {
	if udp, ok := a.(*net.UDPAddr); ok {
		ap := udp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("reading source address: %w", err)
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}
