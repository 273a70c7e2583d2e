package exchange

import (
	"net"
	"syscall"
)

// linkConn is a connection with the way to send on it.
type linkConn struct {
	net.Conn

	// raw is the socket of the system, on which is sent without waiting for room; nil
	// where the connection is none.
	raw syscall.RawConn
}

// newLinkConn finds out how to send on a connection.
func newLinkConn(conn net.Conn) *linkConn {
	c := &linkConn{Conn: conn}
	if socket, ok := conn.(syscall.Conn); ok { // a UDP socket, or what has a fence around one
		c.raw, _ = socket.SyscallConn() // without one package net sends
	}
	return c
}

// send sends one packet.
func (c *linkConn) send(packet []byte) error {
	if c.raw != nil {
		return sendNow(c.Conn, c.raw, packet)
	}
	_, err := c.Write(packet)
	return err
}
