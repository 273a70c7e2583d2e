package daemon

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// tcpPatience is how long the kernel may try to deliver what was written to a connection.
type tcpPatience time.Duration

// limit sets TCP_USER_TIMEOUT (RFC 5482). A router that is away for that long breaks the connection,
// and with it go the bytes that it has not acknowledged. It matters if this process is stopped: then
// nobody aborts the connection, and the kernel goes on sending.
func (p tcpPatience) limit(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return // it was closed just now
	}
	_ = raw.Control(func(fd uintptr) {
		// A kernel without it (before 2.6.37) leaves the abort of the connection.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(time.Duration(p).Milliseconds()))
	})
}
