package datagram

import "golang.org/x/sys/unix"

// queued returns how many bytes wait in the send buffer of a socket, 0 if the kernel
// does not tell.
func queued(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}
