package daemon

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A stopped process aborts nothing: its kernel gives up by itself.
func TestPatience(t *testing.T) {
	t.Parallel()
	_, conn := tcpPair(t)
	tcpPatience(3750 * time.Millisecond).limit(conn)
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); err != nil || got != 3750 {
			t.Errorf("TCP_USER_TIMEOUT is %d ms, %v", got, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}
