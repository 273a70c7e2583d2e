package datagram

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// shared lets other programs have the same port, as all that hear SSDP do, and keeps packets
// away that came in on an interface on which another socket, and not this one, is in their
// group: Linux gives them to all sockets otherwise (ip(7), IP_MULTICAST_ALL).
func shared(_, _ string, conn syscall.RawConn) error {
	var failed error
	err := conn.Control(func(fd uintptr) {
		failed = errors.Join(
			os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)),
			os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)),
		)
	})
	return errors.Join(err, failed)
}
