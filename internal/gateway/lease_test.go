package gateway_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// request is the lease that most tests ask for.
func request() nat.LeaseRequest {
	return nat.LeaseRequest{Protocol: nat.TCP, InnerPort: 20000, ExternalPort: 6881, Lifetime: time.Hour}
}

// lease asks with a limit, as the core does.
func (r *rig) lease(t *testing.T, req nat.LeaseRequest, limit time.Duration) (nat.Lease, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return r.Lease(ctx, req)
}

func TestLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.Proton(), nil)
		r.remote.GrantNext(40000)
		start := time.Now()
		got, err := r.lease(t, request(), 8*time.Second)
		want := nat.Lease{ExternalPort: 40000, Lifetime: time.Minute}
		if err != nil || got != want {
			t.Errorf("lease = %+v, %v; want %+v", got, err, want)
		}
		if d := time.Since(start); d != 20*time.Millisecond {
			t.Errorf("took %v, want one round trip", d)
		}

		renewal := request()
		renewal.ExternalPort, renewal.Renewal = 40000, true
		if got, err = r.lease(t, renewal, 8*time.Second); err != nil || got != want {
			t.Errorf("renewal = %+v, %v; want %+v", got, err, want)
		}
		if n := len(r.remote.Mappings()); n != 1 {
			t.Errorf("%d leases on the gateway, want 1", n)
		}

		if err := r.Release(t.Context(), nat.TCP, 20000); err != nil {
			t.Errorf("release: %v", err)
		}
		if err := r.Release(t.Context(), nat.TCP, 20000); err != nil {
			t.Errorf("release of what is not there: %v", err)
		}
		if n := len(r.remote.Mappings()); n != 0 {
			t.Errorf("%d leases left", n)
		}
		if n := len(r.asked(natpmp.OpMapTCP)); n != 4 {
			t.Errorf("%d packets for four requests", n)
		}
	})
}

// TestLeaseFailures has the gateway's verdicts and what the core hears of them.
func TestLeaseFailures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		profile natpmptest.Profile
		request nat.LeaseRequest
		took    time.Duration
		want    nat.Error
		text    string
	}{
		{
			name: "denied", profile: natpmptest.Unauthorized(), request: request(), took: 20 * time.Millisecond,
			want: nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonDenied}, text: "not authorized",
		},
		{
			name: "full", profile: failing(natpmp.ResultOutOfResources), request: request(), took: 20 * time.Millisecond,
			want: nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonResources}, text: "out of resources",
		},
		{
			name: "no network, asked again each second", profile: natpmptest.NoAddress(), request: request(), took: 8 * time.Second,
			want: nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonUnreachable}, text: "network failure",
		},
		{
			name: "unsupported version", profile: failing(natpmp.ResultUnsupportedVersion), request: request(), took: 20 * time.Millisecond,
			want: nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonUnreachable}, text: "does not speak NAT-PMP",
		},
		{
			name: "unsupported opcode", profile: failing(natpmp.ResultUnsupportedOpcode), request: request(), took: 20 * time.Millisecond,
			want: nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonUnreachable}, text: "does not speak NAT-PMP",
		},
		{
			name: "unknown code", profile: failing(77), request: request(), took: 20 * time.Millisecond,
			want: nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonUnreachable}, text: "result code 77",
		},
		{
			name: "silent", profile: silent(), request: request(), took: 8 * time.Second,
			want: nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonUnreachable, Ambiguous: true}, text: "no reply after 6 tries",
		},
		{
			name: "answers for another port", profile: natpmptest.WrongInternal(), request: request(), took: 8 * time.Second,
			want: nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonUnreachable, Ambiguous: true}, text: "another port than it was asked for",
		},
		{
			name: "lifetime 0", profile: natpmptest.Short(0), request: request(), took: 20 * time.Millisecond,
			want: nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonUnreachable}, text: "no port or no time",
		},
		{
			name: "all ports", profile: natpmptest.RFC(), request: nat.LeaseRequest{Protocol: nat.UDP, Lifetime: time.Minute},
			want: nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonUnreachable}, text: "internal port 0",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tt.profile, nil)
				time.Sleep(time.Second)
				start := time.Now()
				_, err := r.lease(t, tt.request, 8*time.Second)
				var got *nat.Error
				if !errors.As(err, &got) {
					t.Fatalf("error = %v", err)
				}
				if diff := cmp.Diff(tt.want, *got, cmpopts.IgnoreFields(nat.Error{}, "Err")); diff != "" {
					t.Errorf("error (-want +got):\n%s", diff)
				}
				if !strings.Contains(got.Error(), tt.text) {
					t.Errorf("%q does not say %q", got, tt.text)
				}
				if d := time.Since(start); d != tt.took {
					t.Errorf("took %v, want %v", d, tt.took)
				}
			})
		})
	}
}

// failing is a gateway that answers everything with the code.
func failing(code natpmp.ResultCode) natpmptest.Profile {
	p := natpmptest.RFC()
	p.Result = code
	return p
}

// silent is a gateway that answers nothing.
func silent() natpmptest.Profile {
	p := natpmptest.RFC()
	p.Silent = true
	return p
}

// TestLeaseOutlastsARefusal: the gateway's port is closed and opens again.
func TestLeaseOutlastsARefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.RFC(), nil)
		r.remote.Refuse(true)
		time.Sleep(time.Second)
		start := time.Now()
		_, err := r.lease(t, request(), 8*time.Second)
		var got *nat.Error
		if !errors.As(err, &got) || got.Reason != nat.ReasonUnreachable || got.Ambiguous || time.Since(start) != 8*time.Second {
			t.Errorf("error = %v after %v", err, time.Since(start))
		}
		if n := len(r.asked(natpmp.OpMapTCP)); n != 8 {
			t.Errorf("%d packets in 8 s, want one each second", n)
		}
		go func() {
			time.Sleep(3500 * time.Millisecond)
			r.remote.Refuse(false)
		}()
		if _, err := r.lease(t, request(), 8*time.Second); err != nil {
			t.Errorf("after the gateway opened its port: %v", err)
		}
	})
}

// TestLeaseOutlastsSilence: also longer than the nine tries of RFC 6886 §3.1.
func TestLeaseOutlastsSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.RFC(), nil)
		r.swallow(true)
		go func() {
			time.Sleep(5 * time.Minute)
			r.swallow(false)
		}()
		start := time.Now()
		if _, err := r.lease(t, request(), time.Hour); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d < 5*time.Minute || d > 7*time.Minute {
			t.Errorf("took %v", d)
		}
	})
}

// TestLeaseRefusedAfterSilence: of a packet that went unanswered nobody knows what
// became of it, whatever the gateway says to a later one. Only a grant tells.
func TestLeaseRefusedAfterSilence(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		silent func(r *rig) // goes on while packets are lost
		result natpmp.ResultCode
		want   nat.Reason
	}{
		{"refused by the host in between", silenceThenRefusal, natpmp.ResultOutOfResources, nat.ReasonResources},
		{"a whole request without an answer", func(r *rig) {
			time.Sleep(3 * time.Minute)
			r.swallow(false)
		}, natpmp.ResultNotAuthorized, nat.ReasonDenied},
		{"granted", silenceThenRefusal, natpmp.ResultSuccess, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, natpmptest.RFC(), nil)
				time.Sleep(time.Second)
				r.swallow(true)
				go func() {
					tt.silent(r)
					r.remote.Adjust(func(p *natpmptest.Profile) { p.Result = tt.result })
					r.remote.Refuse(false)
				}()
				_, err := r.lease(t, request(), time.Hour)
				var got *nat.Error
				switch {
				case tt.result == natpmp.ResultSuccess && err != nil:
					t.Error(err)
				case tt.result == natpmp.ResultSuccess:
				case !errors.As(err, &got) || got.Reason != tt.want || !got.Ambiguous:
					t.Errorf("error = %+v, want reason %v and ambiguous", err, tt.want)
				}
			})
		})
	}
}

// silenceThenRefusal loses the first packet, and has the host refuse the second.
func silenceThenRefusal(r *rig) {
	time.Sleep(100 * time.Millisecond)
	r.swallow(false)
	r.remote.Refuse(true)
	time.Sleep(500 * time.Millisecond)
}

// TestLeaseWithALostReply: the gateway has the lease; the repeated request finds it.
func TestLeaseWithALostReply(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.Proton(), nil)
		back := natpmptest.Between(gatewayAddr.Addr(), tunnelAddr.Addr())
		r.network.SetFaults(back, natpmptest.Faults{Blackhole: true})
		go func() {
			time.Sleep(100 * time.Millisecond)
			r.network.SetFaults(back, natpmptest.Faults{})
		}()
		got, err := r.lease(t, request(), 8*time.Second)
		mappings := r.remote.Mappings()
		if err != nil || len(mappings) != 1 || mappings[0].ExternalPort != got.ExternalPort {
			t.Errorf("lease = %+v, %v; gateway has %+v", got, err, mappings)
		}
	})
}

// TestRenewalIsGentle: it is repeated after a second and not after 250 ms, since
// some gateways assign another port to what they take for a second request.
func TestRenewalIsGentle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, silent(), nil)
		for _, renewal := range []bool{false, true} {
			req := request()
			req.Renewal = renewal
			if _, err := r.lease(t, req, 4*time.Second); err == nil {
				t.Error("no error")
			}
		}
		var got []int64 // in milliseconds
		for _, at := range r.asked(natpmp.OpMapTCP) {
			got = append(got, at.Milliseconds())
		}
		if diff := cmp.Diff([]int64{0, 250, 750, 1750, 3750, 4000, 5000, 7000}, got); diff != "" {
			t.Errorf("packets of a create and of a renewal (-want +got):\n%s", diff)
		}
	})
}

// TestWindow: with a window of one, requests go one after the other.
func TestWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.RFC(), func(_ *rig, cfg *gateway.Config) { cfg.Window = 1 })
		time.Sleep(time.Second)
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				req := request()
				req.InnerPort += uint16(i)
				if _, err := r.lease(t, req, time.Second); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d != 100*time.Millisecond {
			t.Errorf("five leases took %v, want five round trips of 20ms", d)
		}
	})
}

// TestLifetimes: the whole range goes out and comes in without overflow.
func TestLifetimes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		asked time.Duration
		wire  string
		want  time.Duration
	}{
		{asked: time.Millisecond, wire: "00000001", want: time.Second},
		{asked: 90*time.Second + 999*time.Millisecond, wire: "0000005a", want: 90 * time.Second},
		{asked: (1<<32 - 1) * time.Second, wire: "7fffffff", want: (1<<31 - 1) * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.wire, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, natpmptest.Miniupnpd(), nil)
				req := request()
				req.Lifetime = tt.asked
				got, err := r.lease(t, req, time.Second)
				if err != nil || got.Lifetime != tt.want {
					t.Errorf("lease = %+v, %v", got, err)
				}
				for _, p := range r.network.Packets(natpmptest.PacketSent) {
					if p.To == gatewayAddr && len(p.Payload) == 12 && !strings.HasSuffix(p.String(), tt.wire) {
						t.Errorf("sent %v, want lifetime %s", p, tt.wire)
					}
				}
			})
		})
	}
}

// TestReleaseGivesUp: a mapping that is not deleted expires.
func TestReleaseGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, silent(), nil)
		start := time.Now()
		err := r.Release(t.Context(), nat.UDP, 20000)
		var got *nat.Error
		if !errors.As(err, &got) || got.Reason != nat.ReasonUnreachable || !got.Ambiguous {
			t.Errorf("error = %v", err)
		}
		if d := time.Since(start); d != 1750*time.Millisecond || len(r.asked(natpmp.OpMapUDP)) != 3 {
			t.Errorf("gave up after %v and %d packets", d, len(r.asked(natpmp.OpMapUDP)))
		}
	})
}

// TestLeaseAfterStop: nobody is there any more to send it.
func TestLeaseAfterStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.RFC(), nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := r.Lease(ctx, request())
		var got *nat.Error
		if !errors.As(err, &got) || got.Ambiguous || !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v", err)
		}
	})
}
