package natpmp_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// datagram is a packet and the other side's address.
type datagram struct {
	data []byte
	addr netip.AddrPort
}

// memPacketConn is a net.PacketConn in memory: what the test puts into in is
// read, and what is written arrives in out. It works with a virtual clock.
type memPacketConn struct {
	in, out chan datagram

	// mu makes closing expired a thing that is done once.
	mu sync.Mutex
	// expired is closed when the read deadline is over, closed by Close.
	expired, closed chan struct{}
	// readErr is returned by the next read when the channel has one.
	readErr chan error
	// writeErr is returned by every write unless nil.
	writeErr error
	// source makes the addresses that reads return; nil makes UDP addresses.
	source func(netip.AddrPort) net.Addr
}

// textAddr is an address of a kind that nobody knows, "address:port" in words.
type textAddr string

func (textAddr) Network() string  { return "memory" }
func (a textAddr) String() string { return string(a) }

func newMemPacketConn() *memPacketConn {
	return &memPacketConn{
		in: make(chan datagram), out: make(chan datagram, 1024),
		expired: make(chan struct{}), closed: make(chan struct{}), readErr: make(chan error),
	}
}

func (c *memPacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-c.in:
		if c.source != nil {
			return copy(b, d.data), c.source(d.addr), nil
		}
		return copy(b, d.data), net.UDPAddrFromAddrPort(d.addr), nil
	case err := <-c.readErr:
		return 0, nil, err
	case <-c.expired:
		return 0, nil, os.ErrDeadlineExceeded
	case <-c.closed:
		return 0, nil, net.ErrClosed
	}
}

func (c *memPacketConn) WriteTo(b []byte, a net.Addr) (int, error) {
	if c.writeErr != nil {
		return 0, c.writeErr
	}
	c.out <- datagram{data: append([]byte(nil), b...), addr: netip.MustParseAddrPort(a.String())}
	return len(b), nil
}

func (c *memPacketConn) Close() error { close(c.closed); return nil }

func (*memPacketConn) LocalAddr() net.Addr {
	return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5351}
}

func (c *memPacketConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline knows the past only, which is what interrupts a reader.
func (c *memPacketConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(time.Now()) {
		return errors.New("this deadline is not made for waiting")
	}
	select {
	case <-c.expired:
	default:
		close(c.expired)
	}
	return nil
}

func (*memPacketConn) SetWriteDeadline(time.Time) error { return nil }
