package natpmp

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
)

// readBuffer is how many bytes of packets the system is asked to keep until they are
// read. It counts some 800 for each of ours, so that the usual 208 KiB are full after
// 280 of them: three milliseconds of a flood of 100,000 a second, in which the reader
// may well not run. Of such a flood over loopback 60 % were lost then, of honest
// clients' packets as of others, and a few in a hundred with this. Systems give less
// if they allow less (net.core.rmem_max), and take memory only for what waits.
const readBuffer = 1 << 20

// Arrival is how a packet came in.
type Arrival struct {
	// Client is the packet's source: an IPv4 address and a port.
	Client netip.AddrPort
	// Destination is the address to which the packet was sent. It is the zero
	// Addr where the platform or the connection does not tell.
	Destination netip.Addr
	// Interface is the index of the interface on which the packet came in, 0 where
	// the platform or the connection does not tell, and for packets that had
	// arrived before Serve was called.
	Interface int
}

// transport reads requests and sends each reply from the address that was asked.
type transport interface {
	read(b []byte) (int, Arrival, error)
	write(b []byte, a Arrival) error
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
	if err := ipv4.NewPacketConn(udp).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true); err != nil {
		return plainTransport{conn: conn}
	}
	return &udpTransport{
		conn: udp,
		oob:  make([]byte, len(ipv4.NewControlMessage(ipv4.FlagDst|ipv4.FlagInterface))),
	}
}

// plainTransport is a net.PacketConn without control messages.
type plainTransport struct{ conn net.PacketConn }

func (t plainTransport) read(b []byte) (int, Arrival, error) {
	n, from, err := t.conn.ReadFrom(b)
	if err != nil {
		return 0, Arrival{}, err
	}
	client, err := addrPort(from)
	return n, Arrival{Client: client}, err
}

func (t plainTransport) write(b []byte, a Arrival) error {
	_, err := t.conn.WriteTo(b, net.UDPAddrFromAddrPort(a.Client))
	return err
}

// udpTransport is a UDP socket with IP_PKTINFO or the like. RFC 6886 §3.2 and
// §3.3 make clients discard a reply that does not come from the address they
// asked, which on a host with several addresses the kernel does not see to.
type udpTransport struct {
	conn *net.UDPConn
	// oob and cm are for the one reader, and are kept so that a packet that is dropped
	// costs as little as can be.
	oob []byte
	cm  ipv4.ControlMessage
}

func (t *udpTransport) read(b []byte) (int, Arrival, error) {
	n, oobn, _, from, err := t.conn.ReadMsgUDPAddrPort(b, t.oob)
	if err != nil {
		return 0, Arrival{}, err
	}
	a := Arrival{Client: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}
	// Parse writes over the address that is there, if the packet came with one.
	t.cm.IfIndex = 0
	clear(t.cm.Dst)
	if t.cm.Parse(t.oob[:oobn]) == nil {
		a.Interface = t.cm.IfIndex
		if dst, ok := netip.AddrFromSlice(t.cm.Dst); ok && !dst.IsUnspecified() {
			a.Destination = dst.Unmap()
		}
	}
	return n, a, nil
}

func (t *udpTransport) write(b []byte, a Arrival) error {
	var oob []byte
	if a.Destination.IsValid() {
		cm := ipv4.ControlMessage{Src: a.Destination.AsSlice()}
		oob = cm.Marshal()
	}
	_, _, err := t.conn.WriteMsgUDPAddrPort(b, oob, a.Client)
	return err
}

// addrPort converts the address of any UDP-like connection.
func addrPort(a net.Addr) (netip.AddrPort, error) {
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
