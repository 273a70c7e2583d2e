package datagram

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// pktinfoSize is the size of struct in_pktinfo: interface, local address, and the
// destination in the header of the packet (ip(7)).
const pktinfoSize = 12

// arrivals reads control messages. Linux tells a local address beside the destination:
// it is another one for packets to a broadcast address.
type arrivals struct{}

// read takes what the control messages tell into the arrival.
func (arrivals) read(oob []byte, a *Arrival) {
	for len(oob) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return
		}
		oob = rest
		if header.Level != unix.IPPROTO_IP || header.Type != unix.IP_PKTINFO || len(data) < pktinfoSize {
			continue
		}
		a.Interface = int(int32(binary.NativeEndian.Uint32(data))) //nolint:gosec // it is a C int
		local := netip.AddrFrom4([4]byte(data[4:8]))
		if local.IsUnspecified() {
			local = netip.Addr{}
		}
		if dst := netip.AddrFrom4([4]byte(data[8:12])); !dst.IsUnspecified() {
			a.Destination, a.Local = dst, local
			a.Broadcast = isBroadcast(dst) || local.IsValid() && local != dst && !dst.IsMulticast()
		}
	}
}
