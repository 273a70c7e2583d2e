package datagram

import (
	"math"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// arpRequest is struct arpreq of the kernel's uapi/linux/if_arp.h.
type arpRequest struct {
	protocol unix.RawSockaddrInet4
	hardware [16]byte
	flags    int32
	netmask  [16]byte
	device   [unix.IFNAMSIZ]byte
}

// arpComplete is ATF_COM: the hardware address is known.
const arpComplete = 2

// absent reports whether the kernel looked for the host on the link of the interface and
// has no hardware address for it: what is sent to it only fills the send buffer. It is
// false for hosts behind a router, and wherever the kernel does not tell.
func absent(socket int, host netip.Addr, iface int) bool {
	if iface <= 0 || iface > math.MaxInt32 || !host.Is4() {
		return false
	}
	name, err := unix.NewIfreq("")
	if err != nil {
		return false
	}
	name.SetUint32(uint32(iface))
	if unix.IoctlIfreq(socket, unix.SIOCGIFNAME, name) != nil {
		return false
	}
	arp := arpRequest{protocol: unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: host.As4()}}
	copy(arp.device[:unix.IFNAMSIZ-1], name.Name())
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCGARP, uintptr(unsafe.Pointer(&arp))) //nolint:gosec // x/sys has no function for it
	return errno == 0 && arp.flags&arpComplete == 0
}
