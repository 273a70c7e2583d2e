package daemon

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// hexAddress writes an address as /proc/net/route has it on this machine.
func hexAddress(a, b, c, d byte) string {
	return fmt.Sprintf("%08X", binary.NativeEndian.Uint32([]byte{a, b, c, d}))
}

func TestDefaultGateway(t *testing.T) {
	t.Parallel()
	const header = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
	route := func(destination, gateway, mask string) string {
		return "eth0\t" + destination + "\t" + gateway + "\t0003\t0\t0\t0\t" + mask + "\t0\t0\t0\n"
	}
	docker := route("00000000", hexAddress(172, 17, 0, 1), "00000000")
	lan := route(hexAddress(172, 17, 0, 0), "00000000", hexAddress(255, 255, 0, 0))
	for name, tt := range map[string]struct{ routes, want string }{
		"docker":           {header + lan + docker, "172.17.0.1"},
		"none":             {header + lan, ""},
		"on link":          {header + route("00000000", "00000000", "00000000"), ""},
		"half of the net":  {header + route("00000000", hexAddress(10, 0, 0, 1), hexAddress(128, 0, 0, 0)), ""},
		"garbage":          {"x\n" + route("00000000", "XX", "00000000") + docker, "172.17.0.1"},
		"empty":            {"", ""},
		"longer than that": {route("00000000", "010203040506", "00000000"), ""},
	} {
		got, ok := defaultGateway([]byte(tt.routes))
		if ok != (tt.want != "") || ok && got.String() != tt.want {
			t.Errorf("%s: got %v, %v, want %q", name, got, ok, tt.want)
		}
	}
}

func FuzzDefaultGateway(f *testing.F) {
	f.Add([]byte("eth0\t00000000\t0111A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"))
	f.Fuzz(func(t *testing.T, routes []byte) {
		if a, ok := defaultGateway(routes); ok && (!a.Is4() || a.IsUnspecified()) {
			t.Errorf("%q has the gateway %v", routes, a)
		}
	})
}

func TestBridges(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"docker0": true, "br-1a2b3c": true, "virbr0": true, "podman0": true, "eth0": false, "br0": false, "wlan0": false} {
		if isBridge(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
