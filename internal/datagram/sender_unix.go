//go:build unix

package datagram

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// sender sends on a UDP socket and never waits. A full send buffer, and package net
// waiting for room in it, would stop everybody who sends on that socket: replies to
// hosts that do not exist stay in the buffer until the kernel gives up to ask for their
// hardware address, which takes three seconds. A packet without room is a lost one.
type sender struct {
	raw syscall.RawConn
	// half is half of the send buffer, in bytes as the kernel counts them.
	half int
	// spare is how much may be sent until more than half of the send buffer can be full,
	// in bytes as the kernel counts them at most: there is no need to ask before.
	spare atomic.Int64
	// control is the control message of the last packet: it is the next one's too, mostly.
	control atomic.Pointer[controlMessage]
	pool    sync.Pool
}

// controlMessage is what [datagramOut.control] returns.
type controlMessage struct {
	from  netip.Addr
	iface int
	bytes []byte
}

// heaviest is how much the kernel counts at most for a packet with so many bytes: less
// than four times as much, and some 800 for one of ours.
func heaviest(payload int) int64 { return int64(4*payload) + 2048 }

// controlOf returns the control message of a packet.
func (s *sender) controlOf(d datagramOut) []byte {
	if last := s.control.Load(); last != nil && last.from == d.from && last.iface == d.iface {
		return last.bytes
	}
	made := &controlMessage{from: d.from, iface: d.iface, bytes: d.control()}
	s.control.Store(made)
	return made.bytes
}

// crowded reports whether more than half of the send buffer waits.
func (s *sender) crowded(socket int) bool {
	if s.half == 0 || s.spare.Load() > 0 {
		return false
	}
	waiting := queued(socket)
	s.spare.Store(int64(s.half - waiting))
	return waiting > s.half
}

// newSender returns a sender for a socket of the system, nil for anything else.
func newSender(conn any) *sender {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return nil
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return nil
	}
	s := &sender{raw: raw}
	err = raw.Control(func(fd uintptr) {
		if size, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF); err == nil {
			s.half = size / 2
		}
	})
	if err != nil {
		return nil
	}
	return s
}

// send sends one packet, or returns why that was not possible at once.
func (s *sender) send(d datagramOut) error {
	one, _ := s.pool.Get().(*sending)
	if one == nil {
		one = new(sending)
		one.try = one.attempt
	}
	defer s.pool.Put(one)
	one.datagramOut, one.oob, one.sender, one.err = d, s.controlOf(d), s, nil
	if d.to.IsValid() {
		one.peer = unix.SockaddrInet4{Port: int(d.to.Port()), Addr: d.to.Addr().Unmap().As4()}
	}
	if err := s.raw.Write(one.try); err != nil {
		return err
	}
	return one.err
}

// sending is a packet that is being sent. It is used again and again, so that sending
// costs no memory.
type sending struct {
	datagramOut

	oob    []byte
	peer   unix.SockaddrInet4
	sender *sender
	try    func(fd uintptr) bool // attempt
	err    error
}

// attempt sends the packet and always says that it is done.
func (o *sending) attempt(fd uintptr) bool {
	socket := int(fd)
	o.sender.spare.Add(-heaviest(len(o.payload))) // Whether it is looked at or not, it weighs.
	if (o.yields || o.arrived > 0) && o.sender.crowded(socket) && (o.yields || absent(socket, o.to.Addr().Unmap(), o.arrived)) {
		o.err = errCrowded
		return true
	}
	var to unix.Sockaddr
	if o.to.IsValid() {
		to = &o.peer
	}
	for {
		_, err := unix.SendmsgN(socket, o.payload, o.oob, to, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		o.err = os.NewSyscallError("sendmsg", err)
		return true
	}
}
