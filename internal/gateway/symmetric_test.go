package gateway_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

func symmetric(_ *rig, cfg *gateway.Config) { cfg.Symmetric = true }

// mapRequests returns all map requests that were sent, as (internal, suggested, lifetime).
func (r *rig) mapRequests(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, p := range r.network.Packets(natpmptest.PacketSent) {
		if p.To != gatewayAddr {
			continue
		}
		req, err := natpmp.ParseRequest(p.Payload)
		if err != nil {
			t.Errorf("sent %v: %v", p, err)
		}
		if req.Opcode != natpmp.OpExternalAddress {
			all = append(all, fmt.Sprintf("%v (%d,%d,%d)", req.Opcode, req.InternalPort, req.SuggestedExternalPort, req.Lifetime))
		}
	}
	return all
}

// TestSymmetric: one port for the tunnel whatever the core names and wishes, the same
// one at each renewal and for both protocols, and no deletion ever.
func TestSymmetric(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.Proton(), symmetric)
		r.remote.GrantNext(40000)
		want := nat.Lease{ExternalPort: 40000, Lifetime: time.Minute}
		renewal := nat.LeaseRequest{Protocol: nat.TCP, InnerPort: 20000, ExternalPort: 40000, Lifetime: time.Hour, Renewal: true}
		other := nat.LeaseRequest{Protocol: nat.UDP, InnerPort: 20001, Lifetime: time.Hour}
		for _, req := range []nat.LeaseRequest{request(), renewal, other} {
			if got, err := r.lease(t, req, 8*time.Second); err != nil || got != want {
				t.Errorf("%+v: got %+v, %v; want %+v", req, got, err, want)
			}
		}
		for _, p := range nat.Protocols() {
			if err := r.Release(t.Context(), p, 20000); err != nil {
				t.Errorf("release: %v", err)
			}
		}
		sent := []string{"tcp (0,1,3600)", "tcp (0,1,3600)", "udp (0,1,3600)"}
		if diff := cmp.Diff(sent, r.mapRequests(t)); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		if n := len(r.remote.Mappings()); n != 2 {
			t.Errorf("%d leases on the gateway, want one for each protocol", n)
		}
	})
}

// TestSymmetricRefused: a gateway that says no to internal port 0 is asked for named
// ports from then on, and the log says so once (facts C8).
func TestSymmetricRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.Miniupnpd(), symmetric)
		for range 2 {
			if got, err := r.lease(t, request(), 8*time.Second); err != nil || got.ExternalPort != 6881 {
				t.Errorf("got %+v, %v", got, err)
			}
		}
		if err := r.Release(t.Context(), nat.TCP, 20000); err != nil {
			t.Errorf("release: %v", err)
		}
		sent := []string{"tcp (0,1,3600)", "tcp (20000,6881,3600)", "tcp (20000,6881,3600)", "tcp (20000,0,0)"}
		if diff := cmp.Diff(sent, r.mapRequests(t)); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		if n := r.logged("unset GATEWAY_SYMMETRIC"); n != 1 {
			t.Errorf("the remedy was logged %d times", n)
		}
		if stats := r.Stats(); stats.LeaseError != nil || stats.State != gateway.StateOK {
			t.Errorf("stats %+v", stats)
		}
	})
}

// TestSymmetricNotAuthorized: a gateway that allows nothing at all says so twice.
func TestSymmetricNotAuthorized(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.Unauthorized(), symmetric)
		_, err := r.lease(t, request(), 8*time.Second)
		if e, ok := errors.AsType[*nat.Error](err); !ok || e.Reason != nat.ReasonDenied {
			t.Errorf("got %v", err)
		}
		if sent := r.mapRequests(t); len(sent) != 2 {
			t.Errorf("sent %v", sent)
		}
	})
}

// TestSymmetricProfiles: whatever the gateway does, nothing with internal port 0 is
// sent that could delete, and nothing else than the symmetric request.
func TestSymmetricProfiles(t *testing.T) {
	t.Parallel()
	for _, profile := range natpmptest.Profiles() {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, profile, symmetric)
				for i := range 20 {
					p := nat.Protocols()[i%2]
					_, err := r.lease(t, nat.LeaseRequest{Protocol: p, InnerPort: 20000, Lifetime: time.Hour, Renewal: i > 1}, 8*time.Second)
					r.check(t, err)
					time.Sleep(20 * time.Second)
					if i%5 == 4 {
						r.check(t, r.Release(t.Context(), p, 20000))
					}
				}
				for _, p := range r.network.Packets(natpmptest.PacketSent) {
					req, err := natpmp.ParseRequest(p.Payload)
					if p.To == gatewayAddr && (err != nil || req.Opcode != natpmp.OpExternalAddress && req.InternalPort == 0 &&
						(req.SuggestedExternalPort != 1 || req.Lifetime == 0)) {
						t.Errorf("sent %v", p)
					}
				}
			})
		})
	}
}
