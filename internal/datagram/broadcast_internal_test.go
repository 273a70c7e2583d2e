package datagram

import (
	"net/netip"
	"testing"
)

func TestBroadcastOf(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{
		"192.168.88.1/24": "192.168.88.255", "10.1.2.3/8": "10.255.255.255", "192.168.88.5/30": "192.168.88.7",
		"1.2.3.4/0": "255.255.255.255", "192.168.88.1/31": "", "192.168.88.1/32": "", "fe80::1/64": "",
	} {
		got, ok := broadcastOf(netip.MustParsePrefix(prefix))
		if ok != (want != "") || ok && got != netip.MustParseAddr(want) {
			t.Errorf("%s has %v, %v", prefix, got, ok)
		}
	}
	if !isBroadcast(netip.MustParseAddr("255.255.255.255")) || isBroadcast(netip.MustParseAddr("192.168.88.255")) {
		t.Error("the broadcast address of every link is not known")
	}
}
