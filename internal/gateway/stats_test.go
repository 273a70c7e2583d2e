package gateway_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// refusal is the result that the gateway answered with, success if err is none such.
func refusal(err error) natpmp.ResultCode {
	if answer, ok := errors.AsType[*natpmp.ResultError](err); ok {
		return answer.Result
	}
	return natpmp.ResultSuccess
}

// A refused lease is remembered until a new one is granted, whatever renewals say, and
// a request that its caller gave up is no failure of the gateway.
func TestLeaseErrorIsRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.Full(1), nil)
		time.Sleep(time.Second)
		lease := func(ctx context.Context, port uint16, renewal bool) {
			// What became of it is what the stats are asked for.
			_, _ = r.Lease(ctx, nat.LeaseRequest{Protocol: nat.TCP, InnerPort: port, Lifetime: time.Minute, Renewal: renewal})
		}
		lease(t.Context(), 1, false)
		if s := r.Stats(); s.LeaseError != nil || !s.LeaseErrorAt.Equal(time.Now()) && !s.LeaseErrorAt.IsZero() {
			t.Errorf("after a grant: %v at %v", s.LeaseError, s.LeaseErrorAt)
		}
		lease(t.Context(), 2, false)
		if got := refusal(r.Stats().LeaseError); got != natpmp.ResultOutOfResources {
			t.Errorf("after a refusal: %v", got)
		}
		refused := time.Now()
		time.Sleep(time.Second)
		lease(t.Context(), 1, true)
		if s := r.Stats(); refusal(s.LeaseError) != natpmp.ResultOutOfResources || s.LeaseErrorAt != refused {
			t.Errorf("after another one's renewal: %v at %v", s.LeaseError, s.LeaseErrorAt)
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		lease(canceled, 3, false)
		time.Sleep(time.Second) // a packet of it may be on its way
		if got := refusal(r.Stats().LeaseError); got != natpmp.ResultOutOfResources {
			t.Errorf("after a request that was given up: %v", got)
		}
		if err := r.Release(t.Context(), nat.TCP, 1); err != nil {
			t.Fatal(err)
		}
		lease(t.Context(), 2, false)
		if err := r.Stats().LeaseError; err != nil {
			t.Errorf("after a grant again: %v", err)
		}
	})
}

// The observer hears how long the gateway takes to answer, with a failure too.
func TestGatewayObserve(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		profile := natpmptest.Full(0)
		profile.ReplyDelay = 30 * time.Millisecond
		took := make(chan time.Duration, 100)
		r := newRig(t, profile, func(_ *rig, cfg *gateway.Config) { cfg.Observe = func(d time.Duration) { took <- d } })
		time.Sleep(time.Second)
		if _, err := r.Lease(t.Context(), nat.LeaseRequest{Protocol: nat.TCP, InnerPort: 1, Lifetime: time.Minute}); err != nil {
			t.Log(err) // a refusal is an answer
		}
		if n := len(took); n != 2 {
			t.Errorf("heard %d times, want of the address and of the lease", n)
		}
		for len(took) > 0 {
			if d := <-took; d != 50*time.Millisecond { // there, 30 ms, and back
				t.Errorf("heard %v", d)
			}
		}
		r.swallow(true)
		time.Sleep(3 * time.Minute)
		if n := len(took); n != 0 {
			t.Errorf("heard %d times of silence", n)
		}
	})
}
