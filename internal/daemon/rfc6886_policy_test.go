package daemon_test

import (
	"net/netip"
	"testing"

	"doublenat/routeros/routerostest"
)

// TestRFC6886Policy: what the operator forbids is answered with result 2 and costs
// neither hop anything; reading and deleting stay allowed (RFC 6886 §3.5, §5).
func TestRFC6886Policy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		env          map[string]string
		packet, want string
	}{
		{"port not allowed", map[string]string{"ALLOWED_PORTS": "5000-6000"}, mapTCP, "0082 0002 00000005 1234 0000 00000000"},
		{"port denied", map[string]string{"DENIED_PORTS": "4660"}, mapTCP, "0082 0002 00000005 1234 0000 00000000"},
		{"delete of a denied port", map[string]string{"DENIED_PORTS": "4660"}, unmapTCP, unmapped},
		{"read only", map[string]string{"READ_ONLY": "true"}, mapTCP, "0082 0002 00000005 1234 0000 00000000"},
		{"read only, address", map[string]string{"READ_ONLY": "true"}, "0000", "0080 0000 00000005 05060708"},
		{"client denied", map[string]string{"DENIED_CLIENTS": alice.String()}, mapTCP, ""},
		{"client not allowed", map[string]string{"ALLOWED_CLIENTS": "10.0.0.0/8"}, "0200", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := asRFC()
			cfg.Environ = tt.env
			onBench(t, cfg, func(r *rig) {
				r.expect(alice, tt.packet, tt.want)
				r.empty()
			})
		})
	}
}

// TestRFC6886NoClients: neither the VPN gateway nor the router asks for ports.
func TestRFC6886NoClients(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"10.2.0.1", routerostest.TunnelAddress, routerostest.LANAddress, "9.9.9.9"} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			onBench(t, asRFC(), func(r *rig) {
				for _, packet := range []string{"0000", "0200", "0003", mapTCP, unmapTCP} {
					r.expect(netip.MustParseAddr(address), packet, "")
				}
				r.empty()
			})
		})
	}
}

// TestRFC6886Rate: a client that floods loses its own requests and nobody else's.
func TestRFC6886Rate(t *testing.T) {
	t.Parallel()
	onBench(t, asRFC(), func(r *rig) {
		flood := r.mouth(alice)
		for range 1000 {
			flood.send("0000")
		}
		r.expect(bob, "0000", "0080 0000 00000005 05060708")
		if n := len(flood.replies()); n == 0 || n > 200 {
			r.t.Errorf("%d of 1000 requests at once were answered, want at most four seconds' worth", n)
		}
	})
}
