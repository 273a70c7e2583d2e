package natpmp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// soReusePort is SO_REUSEPORT, which package syscall does not have for Linux. It
// has this value on all architectures but MIPS and SPARC, where setting it fails
// or does something harmless to a UDP socket.
const soReusePort = 0xf

// ListenAnnouncements opens a socket that receives announcements on all interfaces. It is
// bound to 224.0.0.1, port 5350, so it receives nothing else, and shares the port with
// other clients on this host (RFC 6886 §3.2.1).
func ListenAnnouncements() (net.PacketConn, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the announcement socket: %w", os.NewSyscallError("socket", err))
	}
	f := os.NewFile(uintptr(fd), "announcements")
	defer f.Close() // FilePacketConn has its own copy
	err = errors.Join(
		os.NewSyscallError("setsockopt", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)),
		os.NewSyscallError("setsockopt", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, soReusePort, 1)),
		os.NewSyscallError("bind", syscall.Bind(fd, &syscall.SockaddrInet4{Port: AnnouncementPort, Addr: allHosts().As4()})),
	)
	if err != nil {
		return nil, fmt.Errorf("binding the announcement socket: %w", err)
	}
	conn, err := net.FilePacketConn(f)
	if err != nil {
		return nil, fmt.Errorf("using the announcement socket: %w", err)
	}
	return conn, nil
}
