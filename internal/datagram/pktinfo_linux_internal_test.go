//go:build linux

package datagram

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// pktinfo is a control message of the kernel.
func pktinfo(index int, local, destination string) []byte {
	return unix.PktInfo4(&unix.Inet4Pktinfo{
		Ifindex:  int32(index),
		Spec_dst: netip.MustParseAddr(local).As4(),
		Addr:     netip.MustParseAddr(destination).As4(),
	})
}

func TestArrivals(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr
	for name, tt := range map[string]struct {
		oob  []byte
		want Arrival
	}{
		"to us":             {pktinfo(2, "192.168.88.1", "192.168.88.1"), Arrival{Destination: addr("192.168.88.1"), Local: addr("192.168.88.1"), Interface: 2}},
		"to the subnet":     {pktinfo(2, "192.168.88.1", "192.168.88.255"), Arrival{Destination: addr("192.168.88.255"), Local: addr("192.168.88.1"), Interface: 2, Broadcast: true}},
		"to every host":     {pktinfo(2, "0.0.0.0", "255.255.255.255"), Arrival{Destination: addr("255.255.255.255"), Interface: 2, Broadcast: true}},
		"multicast":         {pktinfo(2, "192.168.88.1", "224.0.0.1"), Arrival{Destination: addr("224.0.0.1"), Local: addr("192.168.88.1"), Interface: 2}},
		"no local address":  {pktinfo(2, "0.0.0.0", "192.168.88.255"), Arrival{Destination: addr("192.168.88.255"), Interface: 2}},
		"nothing":           {nil, Arrival{}},
		"behind another":    {append(unix.PktInfo6(&unix.Inet6Pktinfo{}), pktinfo(3, "10.0.0.1", "10.0.0.1")...), Arrival{Destination: addr("10.0.0.1"), Local: addr("10.0.0.1"), Interface: 3}},
		"cut off":           {pktinfo(2, "192.168.88.1", "192.168.88.1")[:20], Arrival{}},
		"that was not told": {pktinfo(2, "0.0.0.0", "0.0.0.0"), Arrival{Interface: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got Arrival
			if (arrivals{}).read(tt.oob, &got); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

// FuzzArrivals: control messages come from the kernel, and are parsed as if they did not.
func FuzzArrivals(f *testing.F) {
	f.Add(pktinfo(2, "192.168.88.1", "192.168.88.255"))
	f.Add(append(unix.PktInfo6(&unix.Inet6Pktinfo{}), pktinfo(3, "10.0.0.1", "10.0.0.1")...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, oob []byte) {
		var a Arrival
		(arrivals{}).read(oob, &a)
		if a.Broadcast && (!a.Destination.Is4() || a.Destination.IsMulticast() || a.Destination.IsUnspecified()) {
			t.Errorf("%x: %+v", oob, a)
		}
	})
}
