package gateway_test

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/gateway"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// A gateway that maps ports and does not tell its address works. It says so once,
// and renewals cause nothing but themselves.
func TestHealthWithoutAnAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var back atomic.Int32
		r := newRig(t, natpmptest.RFC(), func(_ *rig, cfg *gateway.Config) { cfg.OnBack = func() { back.Add(1) } })
		r.remote.SetAddress(netip.Addr{})
		renewal := request()
		renewal.Renewal = true
		for range 600 {
			time.Sleep(time.Minute)
			if _, err := r.lease(t, renewal, time.Second); err != nil {
				t.Fatal(err)
			}
			if got := r.Stats().State; got != gateway.StateOK {
				t.Fatalf("state %v, want ok", got)
			}
		}
		looks := len(r.asked(natpmp.OpExternalAddress))
		if most := int(10 * time.Hour / (5 * time.Second)); looks > most+1 {
			t.Errorf("%d looks, want %d", looks, most)
		}
		if n := r.logged("level="); n > 5 || back.Load() != 0 {
			t.Errorf("%d lines, back %d times:\n%s", n, back.Load(), r.logs.String())
		}
		if got := refusal(r.Stats().LookError); got != natpmp.ResultNetworkFailure {
			t.Errorf("the look's error is %v", got)
		}
		r.remote.SetAddress(publicAddr)
		time.Sleep(time.Minute)
		if n := r.logged("gateway reports its address again"); n != 1 {
			t.Errorf("told %d times that the address is there again", n)
		}
	})
}

// What maps failed with is over when the address comes back: what was asked in vain
// is asked again then.
func TestHealthWhenTheAddressComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var back atomic.Int32
		r := newRig(t, natpmptest.NoAddress(), func(_ *rig, cfg *gateway.Config) { cfg.OnBack = func() { back.Add(1) } })
		time.Sleep(time.Second)
		if _, err := r.lease(t, request(), 8*time.Second); err == nil {
			t.Fatal("no error")
		}
		if s := r.Stats(); s.State != gateway.StateFailing || s.Result != natpmp.ResultNetworkFailure {
			t.Errorf("state %v, %v", s.State, s.Result)
		}
		r.remote.Adjust(func(p *natpmptest.Profile) { *p = natpmptest.RFC() })
		r.remote.SetAddress(publicAddr)
		time.Sleep(6 * time.Second)
		if got := r.Stats().State; got != gateway.StateOK || back.Load() != 1 {
			t.Errorf("state %v, back %d times", got, back.Load())
		}
	})
}

// Recovery from silence is told once, although the address is not there yet.
func TestHealthAfterSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var back atomic.Int32
		r := newRig(t, natpmptest.RFC(), func(_ *rig, cfg *gateway.Config) { cfg.OnBack = func() { back.Add(1) } })
		time.Sleep(time.Second)
		r.swallow(true)
		time.Sleep(5 * time.Minute)
		r.remote.SetAddress(netip.Addr{})
		r.swallow(false)
		time.Sleep(time.Minute)
		if n := back.Load(); n != 0 {
			t.Errorf("back %d times before it did anything", n)
		}
		for range 10 {
			if _, err := r.lease(t, request(), time.Second); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if n := back.Load(); n != 1 || r.Stats().State != gateway.StateOK {
			t.Errorf("back %d times, state %v; want once", n, r.Stats().State)
		}
	})
}

// A gateway whose epoch falls and falls loses its state with each reply, and a loss
// is a reason to look: once a second and not as fast as it answers.
func TestLooksAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		liar := netip.MustParseAddrPort("10.2.0.9:5351")
		var looks atomic.Int32
		newRig(t, natpmptest.RFC(), func(r *rig, cfg *gateway.Config) {
			cfg.Dial = func(context.Context) (net.Conn, error) { return r.network.Dial(tunnelAddr, liar) }
			conn, err := r.network.Listen(liar)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				buf := make([]byte, 64)
				for {
					_, from, err := conn.ReadFrom(buf)
					if err != nil {
						return // the network is closed
					}
					resp := natpmp.Response{Epoch: 1_000_000 - 100*uint32(looks.Add(1)), Address: publicAddr}
					_, _ = conn.WriteTo(resp.Append(nil), from)
				}
			}()
		})
		time.Sleep(time.Minute + 10*time.Second) // the second look is the first to tell
		if n := looks.Load(); n < 5 || n > 13 {
			t.Errorf("%d looks in ten seconds, want one in each", n)
		}
	})
}
