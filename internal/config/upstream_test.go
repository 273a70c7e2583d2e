package config_test

import (
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/config"
	"doublenat/internal/nat"
)

// What a pool's ports look like: every one of them, in the order of the public address.
func TestParsePool(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want []nat.PoolPort
	}{
		{"", nil},
		{"51413", []nat.PoolPort{{External: 51413, Inner: 51413}}},
		{"6881:51413", []nat.PoolPort{{External: 6881, Inner: 51413}}},
		{"27015/udp, 27015/TCP", []nat.PoolPort{{External: 27015, Inner: 27015, Protocol: nat.UDP}, {External: 27015, Inner: 27015, Protocol: nat.TCP}}},
		{"20000-20001:30000-30001/tcp", []nat.PoolPort{{External: 20000, Inner: 30000, Protocol: nat.TCP}, {External: 20001, Inner: 30001, Protocol: nat.TCP}}},
		{"\ufeff# of the provider\r\n1 2\t3,,4 # and so on\n\n65535", []nat.PoolPort{
			{External: 1, Inner: 1}, {External: 2, Inner: 2}, {External: 3, Inner: 3}, {External: 4, Inner: 4}, {External: 65535, Inner: 65535},
		}},
	} {
		got, err := config.ParsePool(tt.text)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.text, diff)
		}
	}
}

// A pool, from the variable and from a file.
func TestPool(t *testing.T) {
	t.Parallel()
	files := func(name string) ([]byte, error) {
		text, ok := map[string]string{"/ports": "6881\n51413 # mine\n", "/empty": "", "/bad": "6881\nx\n"}[name]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return []byte(text), nil
	}
	for _, tt := range []struct {
		pairs []string
		ports int
		iface string
		err   string
	}{
		{pairs: []string{"VPN_GATEWAY", "pool:51413,6881:51414,20000-20099,27015/udp%ether1"}, ports: 103, iface: "ether1"},
		{pairs: []string{"VPN_GATEWAY", "pool:51413", "MIKROTIK_IN_INTERFACE", "wg 1"}, ports: 1, iface: "wg 1"},
		{pairs: []string{"VPN_GATEWAY", "pool:%ether1", "GATEWAY_POOL_FILE", "/ports", "PUBLIC_ADDRESS", "198.51.100.7"}, ports: 2, iface: "ether1"},
		{pairs: []string{"VPN_GATEWAY", "pool:%ether1", "GATEWAY_POOL_FILE", "/empty"}, iface: "ether1"},
		{pairs: []string{"VPN_GATEWAY", "pool:%ether1", "GATEWAY_POOL_FILE", "/none"}, err: `GATEWAY_POOL_FILE="/none" cannot be read`},
		{pairs: []string{"VPN_GATEWAY", "pool:%ether1", "GATEWAY_POOL_FILE", "/bad"}, err: `GATEWAY_POOL_FILE="/bad" is a file that has "x" in it`},
		{pairs: []string{"VPN_GATEWAY", "pool:1%ether1", "GATEWAY_POOL_FILE", "/ports"}, err: "leave pool: alone there"},
		{pairs: []string{"VPN_GATEWAY", "pool:1"}, err: "MIKROTIK_IN_INTERFACE is not set: no route shows"},
		{pairs: []string{"VPN_GATEWAY", "pool:1%ether1", "MIKROTIK_IN_INTERFACE", "wg1"}, err: "is not the interface that VPN_GATEWAY names"},
		{pairs: []string{"VPN_GATEWAY", "pool:1%ether1", "GATEWAY_SYMMETRIC", "on"}, err: "GATEWAY_SYMMETRIC"},
		{pairs: []string{"VPN_GATEWAY", "pool:1%ether1", "GATEWAY_DELIVERY", "both"}, err: "GATEWAY_DELIVERY"},
	} {
		cfg, err := config.Parse(minimal(tt.pairs...), files)
		switch {
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: got %v, want %s", tt.pairs, err, tt.err)
			}
		case err != nil:
			t.Errorf("%q: %v", tt.pairs, err)
		case cfg.GatewayKind != config.GatewayPool || cfg.Gateway.IsValid() || cfg.Pool.Len() != tt.ports || cfg.InInterface != tt.iface:
			t.Errorf("%q: %v, %v, %d ports, %q", tt.pairs, cfg.GatewayKind, cfg.Gateway, cfg.Pool.Len(), cfg.InInterface)
		}
	}
}

// The kind before an address, and the port that is usual for it.
func TestGatewayKind(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text, kind, address, description string
	}{
		{"10.2.0.1", "natpmp", "10.2.0.1:5351", ""},
		{"natpmp://10.2.0.1", "natpmp", "10.2.0.1:5351", ""},
		{"pcp://192.168.1.1", "pcp", "192.168.1.1:5351", ""},
		{"pcp://192.168.1.1:15351", "pcp", "192.168.1.1:15351", ""},
		{"auto://192.168.1.1", "auto", "192.168.1.1:5351", ""},
		{"auto:", "auto", netip.AddrPort{}.String(), ""},
		{"auto://", "auto", netip.AddrPort{}.String(), ""},
		{"igd://192.168.1.1", "igd", "192.168.1.1:1900", ""},
		{"igd+http://192.168.1.1/desc.xml?a=b", "igd", "192.168.1.1:80", "http://192.168.1.1:80/desc.xml?a=b"},
		{"igd+http://192.168.1.1:5000/rootDesc.xml", "igd", "192.168.1.1:5000", "http://192.168.1.1:5000/rootDesc.xml"},
	} {
		cfg, err := config.Parse(minimal("VPN_GATEWAY", tt.text), noFile)
		if err != nil || cfg.GatewayKind.String() != tt.kind || cfg.Gateway.String() != tt.address || cfg.Description != tt.description || cfg.Pool != nil {
			t.Errorf("%s: got %v, %v, %q, %v", tt.text, cfg.GatewayKind, cfg.Gateway, cfg.Description, err)
		}
		if tunneled := cfg.GatewayKind.Tunneled(); tunneled != (tt.kind == "natpmp") {
			t.Errorf("%s: tunneled %v", tt.text, tunneled)
		}
		if found := cfg.FindsGateway(); found == cfg.Gateway.IsValid() {
			t.Errorf("%s: found by the default route: %v", tt.text, found)
		}
		at := cfg.At(netip.MustParseAddr("192.168.5.1")).Gateway.String()
		if want := cfg.Gateway.String(); cfg.FindsGateway() && at != "192.168.5.1:5351" || !cfg.FindsGateway() && at != want {
			t.Errorf("%s: at the gateway that was found it is %s", tt.text, at)
		}
	}
}

// The STUN server of a pool has the usual port, and is not asked where the address is known.
func TestSTUNServer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text, more, want string
		warnings         int
	}{
		{"", "", "", 0},
		{"203.0.113.7", "", "203.0.113.7:3478", 0},
		{"stun.example.com:19302", "", "stun.example.com:19302", 0},
		{"203.0.113.7", "9.8.7.6", "203.0.113.7:3478", 1},
	} {
		cfg, err := config.Parse(minimal("VPN_GATEWAY", "pool:1%wg1", "STUN_SERVER", tt.text, "PUBLIC_ADDRESS", tt.more), noFile)
		got := cfg.STUNServer.String()
		if tt.want == "" && cfg.STUNServer == (config.Endpoint{}) {
			got = ""
		}
		if err != nil || got != tt.want || len(cfg.Warnings) != tt.warnings {
			t.Errorf("%q: got %q, %q, %v", tt.text, got, cfg.Warnings, err)
		}
	}
	if cfg, err := config.Parse(minimal("STUN_SERVER", "203.0.113.7"), noFile); err != nil || len(cfg.Warnings) != 1 {
		t.Errorf("without a pool: %q, %v", cfg.Warnings, err)
	}
}

// What is set for a pool where there is none is said.
func TestIdlePool(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse(minimal("GATEWAY_POOL_FILE", "/ports", "PUBLIC_ADDRESS", "198.51.100.7"), noFile)
	if err != nil || len(cfg.Warnings) != 2 {
		t.Errorf("got %q, %v, want two warnings", cfg.Warnings, err)
	}
}
