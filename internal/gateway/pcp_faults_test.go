package gateway_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/pcp"
	"doublenat/pcp/pcptest"
)

// TestPCPResults has what each result is to the core.
func TestPCPResults(t *testing.T) {
	t.Parallel()
	for code := pcp.ResultUnsupportedVersion; code <= pcp.ResultExcessiveRemotePeers+1; code++ {
		want := nat.ReasonUnreachable
		switch code {
		case pcp.ResultNotAuthorized, pcp.ResultUnsupportedProtocol, pcp.ResultCannotProvideExternal:
			want = nat.ReasonDenied
		case pcp.ResultNoResources, pcp.ResultUserExceededQuota:
			want = nat.ReasonResources
		default:
		}
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newPCPRig(t, pcptest.Failing(code), nil)
				start := time.Now()
				_, err := r.lease(t, request(), 8*time.Second)
				e, ok := errors.AsType[*nat.Error](err)
				if !ok || e.Hop != nat.HopGateway || e.Reason != want || e.Ambiguous || time.Since(start) > 2*time.Second {
					t.Errorf("%v after %v, want %v", err, time.Since(start), want)
				}
				if _, ok := errors.AsType[*pcp.ResultError](err); !ok && code != pcp.ResultUnsupportedVersion {
					t.Errorf("%v does not say what PCP said", err)
				}
			})
		})
	}
}

// TestPCPFailureOver: a gateway without a network is asked again when it said that it
// might have one, and then it is told that it is back.
func TestPCPFailureOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPCPRig(t, pcptest.Failing(pcp.ResultNetworkFailure), nil)
		if _, err := r.lease(t, request(), 8*time.Second); err == nil {
			t.Fatal("granted")
		}
		r.far.Adjust(func(p *pcptest.Profile) { p.Result = pcp.ResultSuccess })
		if _, err := r.lease(t, request(), 8*time.Second); err == nil {
			t.Error("asked while the failure lasts")
		}
		time.Sleep(40 * time.Second)
		if n := r.backs.Load(); n != 1 {
			t.Errorf("back %d times", n)
		}
		if _, err := r.lease(t, request(), 8*time.Second); err != nil {
			t.Error(err)
		}
	})
}

// TestPCPHeldRefusals: what the gateway was not asked, because it said before how long a refusal lasts,
// says nothing of how it is. One mapping's failure and another's refusal, asked for in turns, are not a
// gateway that comes back again and again.
func TestPCPHeldRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPCPRig(t, pcptest.Failing(pcp.ResultNetworkFailure), nil)
		failing, denied := request(), request()
		denied.InnerPort++
		ask := func(req nat.LeaseRequest) {
			if _, err := r.lease(t, req, 8*time.Second); err == nil {
				t.Errorf("%+v is granted", req)
			}
		}
		ask(failing)
		r.far.Adjust(func(p *pcptest.Profile) { p.Result = pcp.ResultNotAuthorized })
		ask(denied)
		backs := r.backs.Load()
		for range 5 {
			ask(failing)
			ask(denied)
		}
		if n := r.backs.Load(); n != backs {
			t.Errorf("back %d times without a packet", n-backs)
		}
	})
}

// TestPCPAmbiguous: what went out without an answer may stand.
func TestPCPAmbiguous(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil     func(r *pcpRig)
		ambiguous bool
		state     gateway.State
	}{
		"silent":  {func(r *pcpRig) { r.swallow(true) }, true, gateway.StateSilent},
		"refused": {func(r *pcpRig) { r.far.Refuse(true) }, false, gateway.StateRefused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newPCPRig(t, pcptest.RFC(), nil)
				time.Sleep(time.Second)
				tt.spoil(r)
				time.Sleep(time.Second)
				_, err := r.lease(t, request(), 8*time.Second)
				e, ok := errors.AsType[*nat.Error](err)
				if !ok || e.Reason != nat.ReasonUnreachable || e.Ambiguous != tt.ambiguous || r.Stats().State != tt.state {
					t.Errorf("%v, %v", err, r.Stats().State)
				}
			})
		})
	}
}

// TestPCPOfNATPMP: a gateway that has NAT-PMP alone is told apart, so that it can be asked
// by that.
func TestPCPOfNATPMP(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPCPRig(t, pcptest.NATPMPOnly(), nil)
		time.Sleep(time.Second)
		_, err := r.lease(t, request(), 8*time.Second)
		version, ok := errors.AsType[*pcp.VersionError](err)
		if e, isNat := errors.AsType[*nat.Error](err); !ok || !version.NATPMP() || !isNat || e.Reason != nat.ReasonUnreachable || e.Ambiguous {
			t.Error(err)
		}
		if s := r.Stats(); s.State != gateway.StateFailing || !errors.As(s.LookError, &version) {
			t.Errorf("%+v", s)
		}
	})
}

// TestPCPProfiles goes through the life of some leases with every gateway that pcptest
// knows. A success is true, and what is given back does not stand.
func TestPCPProfiles(t *testing.T) {
	t.Parallel()
	profiles := pcptest.Profiles()
	for _, n := range pcptest.Nonsenses() {
		p := pcptest.Senseless(n)
		p.Name = fmt.Sprintf("senseless %d", n)
		profiles = append(profiles, p)
	}
	for _, profile := range profiles {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newPCPRig(t, profile, nil)
				granted := 0
				for i := range 28 {
					req := nat.LeaseRequest{
						Protocol: nat.Protocols()[i%2], InnerPort: 20000 + uint16(i/2%7),
						ExternalPort: 6881, Lifetime: time.Hour, Renewal: i >= 14,
					}
					lease, err := r.lease(t, req, 8*time.Second)
					if r.check(t, err) {
						granted++
						r.holds(t, req, lease)
					}
					time.Sleep(20 * time.Second)
				}
				for i := range 14 {
					r.check(t, r.Release(t.Context(), nat.Protocols()[i%2], 20000+uint16(i/2)))
				}
				t.Logf("%d of 28 granted, state %v, %+v", granted, r.Stats().State, r.Stats().Client)
			})
		})
	}
}

// holds says whether the gateway has the lease that it granted.
func (r *pcpRig) holds(t *testing.T, req nat.LeaseRequest, lease nat.Lease) {
	t.Helper()
	for _, m := range r.far.Mappings() {
		if nat.Protocol(m.Protocol) == req.Protocol && m.InternalPort == req.InnerPort && m.ExternalPort == lease.ExternalPort {
			return
		}
	}
	t.Errorf("%+v was granted for %+v, and does not stand", lease, req)
}
