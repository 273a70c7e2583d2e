//go:build !unix

package exchange

import (
	"net"
	"syscall"
)

// sendNow sends one packet. This system has no way not to wait: package net sends.
func sendNow(conn net.Conn, _ syscall.RawConn, packet []byte) error {
	_, err := conn.Write(packet)
	return err
}
