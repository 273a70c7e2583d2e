package gateway_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// TestProfiles goes through the life of some leases with every gateway that
// natpmptest knows. Whatever the gateway does: a success has a port and a time,
// an error is one that the core understands, and nothing is asked for all ports.
func TestProfiles(t *testing.T) {
	t.Parallel()
	for _, profile := range natpmptest.Profiles() {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, profile, nil)
				granted := 0
				for i := range 40 {
					req := nat.LeaseRequest{
						Protocol: nat.Protocols()[i%2], InnerPort: 20000 + uint16(i/2%7),
						ExternalPort: 6881, Lifetime: time.Hour, Renewal: i >= 14,
					}
					if lease, err := r.lease(t, req, 8*time.Second); r.check(t, err) {
						granted++
						if lease.ExternalPort == 0 || lease.Lifetime < time.Second {
							t.Errorf("lease %+v", lease)
						}
					}
					time.Sleep(20 * time.Second)
				}
				for i := range 14 {
					r.check(t, r.Release(t.Context(), nat.Protocols()[i%2], 20000+uint16(i/2)))
				}
				stats := r.Stats()
				t.Logf("%d of 40 granted, state %v, %+v", granted, stats.State, stats.Client)
				for _, p := range r.network.Packets(natpmptest.PacketSent) {
					req, err := natpmp.ParseRequest(p.Payload)
					if p.To == gatewayAddr && (err != nil || req.Opcode != natpmp.OpExternalAddress && req.InternalPort == 0) {
						t.Errorf("sent %v", p)
					}
				}
			})
		})
	}
}

// check says whether there is no error, and sees to it that an error is one of the gateway's.
func (r *rig) check(t *testing.T, err error) bool {
	t.Helper()
	if err == nil {
		return true
	}
	var e *nat.Error
	if !errors.As(err, &e) || e.Hop != nat.HopGateway {
		t.Errorf("error %v", err)
	}
	return false
}
