package gateway_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// anyPort is a request that leaves the external port to the gateway.
func anyPort(inner uint16) nat.LeaseRequest {
	return nat.LeaseRequest{Protocol: nat.TCP, InnerPort: inner, Lifetime: time.Hour}
}

// TestZeroSuggestion: a gateway that refuses port 0 is asked once more with a port, and
// from then on with a port at once.
func TestZeroSuggestion(t *testing.T) {
	t.Parallel()
	for _, code := range []natpmp.ResultCode{natpmp.ResultNotAuthorized, natpmp.ResultNetworkFailure, natpmp.ResultOutOfResources} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, natpmptest.RefusesZero(code), nil)
				time.Sleep(time.Second)
				for i, packets := range []int{2, 3, 4} {
					inner := 20000 + uint16(i)
					start := time.Now()
					lease, err := r.lease(t, anyPort(inner), 8*time.Second)
					if err != nil || lease.ExternalPort != inner {
						t.Errorf("lease %+v, %v", lease, err)
					}
					if n, d := len(r.asked(natpmp.OpMapTCP)), time.Since(start); n != packets || d > 40*time.Millisecond {
						t.Errorf("%d packets so far after %v, want %d", n, d, packets)
					}
				}
				udp := anyPort(20000)
				udp.Protocol = nat.UDP
				if lease, err := r.lease(t, udp, time.Second); err != nil || lease.ExternalPort != 20000 {
					t.Errorf("the other protocol: %+v, %v", lease, err)
				}
				if n := r.logged("refuses to choose ports"); n != 1 || r.logged("level=WARN") != 0 || r.Stats().LeaseError != nil {
					t.Errorf("told %d times; stats %+v, log:\n%s", n, r.Stats(), r.logs.String())
				}
			})
		})
	}
}

// TestZeroSuggestionInVain: a gateway that refuses everything is asked once more in ten
// minutes and not each time; who suggests a port is not asked again at all.
func TestZeroSuggestionInVain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.Unauthorized(), nil)
		time.Sleep(time.Second)
		asks := func(req nat.LeaseRequest, want int) {
			t.Helper()
			before := len(r.asked(natpmp.OpMapTCP))
			if _, err := r.lease(t, req, 8*time.Second); err == nil {
				t.Error("no error")
			}
			if n := len(r.asked(natpmp.OpMapTCP)) - before; n != want {
				t.Errorf("%d packets, want %d", n, want)
			}
		}
		asks(request(), 1)
		asks(anyPort(20000), 2)
		for range 5 {
			asks(anyPort(20000), 1)
		}
		time.Sleep(10 * time.Minute)
		asks(anyPort(20000), 2)
		asks(anyPort(20000), 1)
	})
}

// TestPCPOnly: a gateway that speaks PCP only is told apart from a silent one.
func TestPCPOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.PCPOnly(), nil)
		time.Sleep(time.Hour)
		s := r.Stats()
		if s.State != gateway.StateFailing || s.Result != natpmp.ResultUnsupportedVersion || r.logged("PCP only") != 1 || r.logged("level=WARN") != 1 {
			t.Errorf("stats %+v, log:\n%s", s, r.logs.String())
		}
		start := time.Now()
		if _, err := r.lease(t, request(), 8*time.Second); err == nil || time.Since(start) > 20*time.Millisecond {
			t.Errorf("a lease failed with %v after %v", err, time.Since(start))
		}
		r.remote.Adjust(func(p *natpmptest.Profile) { *p = natpmptest.RFC() })
		time.Sleep(10 * time.Second)
		if _, err := r.lease(t, request(), time.Second); err != nil || r.Stats().State != gateway.StateOK {
			t.Errorf("after NAT-PMP was switched on: %v, %+v", err, r.Stats())
		}
	})
}

// TestOddReplies: a line for each kind of replies that cannot be right, however many
// there are, and what to do about it.
func TestOddReplies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		garble natpmptest.Garble
		odd    natpmp.Oddity
		text   string
	}{
		{natpmptest.GarbleCut, natpmp.OddCut, "8 bits"},
		{natpmptest.GarbleSwap, natpmp.OddSwapped, "swaps internal and external"},
		{natpmptest.GarbleBytes, natpmp.OddBytes, "byte order"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				profile := natpmptest.RFC()
				profile.Garble = tt.garble
				r := newRig(t, profile, nil)
				for i := range uint16(50) {
					req := request()
					req.InnerPort += 100 + i // the same bytes twice look right in any order
					if _, err := r.lease(t, req, 8*time.Second); err == nil {
						t.Error("a reply that cannot be right was believed")
					}
					time.Sleep(time.Second)
				}
				s := r.Stats()
				if s.State != gateway.StateFailing || s.Odd != tt.odd || s.Advice.String() == "" || s.Client.Odd < 50 {
					t.Errorf("stats %+v", s)
				}
				if n := r.logged("level=WARN"); n != 1 || r.logged(tt.text) == 0 {
					t.Errorf("%d warnings:\n%s", n, r.logs.String())
				}
				time.Sleep(time.Hour)
				if _, err := r.lease(t, anyPort(20999), 8*time.Second); err == nil || r.logged("reply cannot be right") != 2 {
					t.Errorf("an hour later: %v, log:\n%s", err, r.logs.String())
				}
			})
		})
	}
}

// TestEpochOfTwoMachines: what a gateway whose epoch jumps can cause is bounded.
func TestEpochOfTwoMachines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.EpochFlipper(2), nil)
		renewal := request()
		renewal.Renewal = true
		for range 24 * 60 * 2 {
			if _, err := r.lease(t, renewal, time.Second); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
		}
		s := r.Stats()
		if n := len(r.stateLosses()); n > 1 || s.StateLosses+s.ClockStops > 1 || !s.EpochUnreliable {
			t.Errorf("%d losses told in a day; stats %+v", n, s)
		}
		if n := r.logged("level="); n > 5 {
			t.Errorf("%d lines:\n%s", n, r.logs.String())
		}
		if n, most := len(r.asked(natpmp.OpExternalAddress)), 24*180+5; n > most {
			t.Errorf("%d looks at the address, want at most %d", n, most)
		}
		// One of the machines goes away: the epoch is steady, and trusted again.
		before := len(r.stateLosses())
		r.remote.Adjust(func(p *natpmptest.Profile) { p.FlipEvery = 0 })
		time.Sleep(5 * time.Minute)
		told := len(r.stateLosses())
		if r.Stats().EpochUnreliable || told != before+1 {
			t.Errorf("a steady epoch is not trusted, or %d losses told for what nobody saw meanwhile, want 1", told-before)
		}
		r.remote.Restart(false)
		time.Sleep(time.Minute)
		if n := len(r.stateLosses()); n != told+1 {
			t.Errorf("%d losses told after a restart, want one more than %d", n, told)
		}
	})
}

// TestClockStood: more time passed for the gateway than for us.
func TestClockStood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var stood []time.Duration
		start := time.Now()
		r := newRig(t, natpmptest.Proton(), func(_ *rig, cfg *gateway.Config) {
			cfg.OnClockStood = func() { stood = append(stood, time.Since(start)) }
		})
		time.Sleep(time.Hour)
		r.remote.Skip(time.Minute)
		time.Sleep(time.Hour)
		r.remote.Skip(8 * time.Hour)
		time.Sleep(time.Hour)
		if len(stood) != 2 || stood[0]-time.Hour > 21*time.Second || stood[1]-2*time.Hour > 21*time.Second || len(r.stateLosses()) != 0 {
			t.Errorf("told at %v, losses at %v", stood, r.stateLosses())
		}
		if s := r.Stats(); s.ClockStops != 2 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestAddressThatAgesOut: that an address is not told any more is a change, and that it
// is told again is another, though it is the same one.
func TestAddressThatAgesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.RFC(), nil)
		time.Sleep(time.Minute)
		r.swallow(true)
		time.Sleep(9 * time.Minute)
		if n := len(r.addressChanges()); n != 1 {
			t.Errorf("%d changes after nine minutes of silence", n)
		}
		time.Sleep(2 * time.Hour)
		r.swallow(false)
		time.Sleep(time.Minute)
		r.remote.SetAddress(netip.MustParseAddr("5.6.7.9"))
		time.Sleep(time.Minute)
		want := []change{
			{"invalid IP", "5.6.7.8"}, {"5.6.7.8", "invalid IP"}, {"invalid IP", "5.6.7.8"}, {"5.6.7.8", "5.6.7.9"},
		}
		if diff := cmp.Diff(want, r.addressChanges()); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		if s := r.Stats(); s.AddressChanges != 4 {
			t.Errorf("%d changes counted", s.AddressChanges)
		}
	})
}
