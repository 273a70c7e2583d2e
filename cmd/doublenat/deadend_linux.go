package main

import (
	"errors"
	"syscall"
)

// hearOfDeadEnds has the kernel tell a socket when nobody has the address that it asks, or
// a router on the way knows no way to it. Without that only a closed port is told of
// (ip(7), IP_RECVERR). It is a [net.Dialer]'s Control.
func hearOfDeadEnds(_, _ string, raw syscall.RawConn) error {
	var err error
	control := raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_RECVERR, 1)
	})
	return errors.Join(control, err)
}
