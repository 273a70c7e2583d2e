//go:build unix

package exchange

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// sendNow sends one packet on a connected socket, or returns why that was not possible at
// once. Package net would wait for room in a full send buffer, and with it everybody who
// asks: packets for a host that does not exist stay there for seconds.
func sendNow(_ net.Conn, raw syscall.RawConn, packet []byte) error {
	var sent error
	err := raw.Write(func(fd uintptr) bool {
		for {
			_, sent = unix.SendmsgN(int(fd), packet, nil, nil, unix.MSG_DONTWAIT)
			if !errors.Is(sent, unix.EINTR) {
				return true
			}
		}
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("sendmsg", sent)
}
