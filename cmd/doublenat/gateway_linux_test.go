package main

import (
	"net/netip"
	"testing"
)

const routeTitles = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

func TestParseDefaultGateway(t *testing.T) {
	t.Parallel()
	const (
		lan    = "eth0\t0058A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
		slow   = "wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
		fast   = "eth0\t00000000\t0158A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
		tunnel = "wg0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n"
		half   = "wg0\t00000000\t0100020A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n"
		down   = "eth1\t00000000\t0159A8C0\t0002\t0\t0\t0\t00000000\t0\t0\t0\n"
		broken = "eth2\t00000000\tnowhere\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
	)
	for name, tt := range map[string]struct{ table, want string }{
		"one":                     {fast + lan, "192.168.88.1"},
		"two, the better counts":  {slow + fast + lan, "192.168.88.1"},
		"without a gateway":       {tunnel + slow, "192.168.2.1"},
		"half of the Internet":    {half + fast, "192.168.88.1"},
		"down and unreadable":     {down + broken + fast, "192.168.88.1"},
		"none":                    {lan, ""},
		"a file that is cut off":  {"eth0\t00000000\t0158", ""},
		"nothing but the titles":  {"", ""},
		"the tunnel has no other": {tunnel, ""},
	} {
		got, err := parseDefaultGateway(routeTitles + tt.table)
		want, _ := netip.ParseAddr(tt.want)
		if got != want || err == nil != (tt.want != "") {
			t.Errorf("%s: got %v, error %v; want %q", name, got, err, tt.want)
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"192.168.88.1": "192.168.88.1:5351", "192.168.88.1:5352": "192.168.88.1:5352",
		"home": "", "fd00::1": "", "192.168.88.1:0": "", "192.168.88.1:x": "",
	} {
		got, err := (&clientFlags{gateway: text}).find()
		if err == nil != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: got %v, error %v", text, got, err)
		}
	}
	// With or without a default route on this host, the answer is one or the other.
	if got, err := (&clientFlags{}).find(); err == nil != got.IsValid() {
		t.Errorf("default route: got %v, error %v", got, err)
	}
}
