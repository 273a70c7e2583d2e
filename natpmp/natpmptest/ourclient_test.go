package natpmptest_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// startClient runs the client of package natpmp against the bench's gateway.
func (b *bench) startClient(t *testing.T) *natpmp.Client {
	t.Helper()
	c, err := natpmp.NewClient(natpmp.ClientConfig{
		Dial: func(context.Context) (net.Conn, error) {
			return b.net.Dial(netip.AddrPortFrom(routerAddr, 0), gatewayAddr)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return c
}

// How a real client fares with each gateway: what it gets for a TCP port, and when.
func TestOurClientAgainstEachProfile(t *testing.T) {
	t.Parallel()
	const delay = 30 * time.Millisecond
	lie := func(l natpmptest.Lie) natpmptest.Profile {
		p := natpmptest.Liar()
		p.Name, p.Lies = "liar "+l.String(), []natpmptest.Lie{l}
		return p
	}
	ok := func(port uint16, seconds uint32) natpmp.Mapping {
		return natpmp.Mapping{ExternalPort: port, Lifetime: seconds}
	}
	for _, tt := range []struct {
		profile natpmptest.Profile
		want    natpmp.Mapping
		result  natpmp.ResultCode // of the error
		took    time.Duration
	}{
		{profile: natpmptest.RFC(), want: ok(20000, 3600), took: delay},
		{profile: natpmptest.Miniupnpd(), want: ok(20000, 3600), took: delay},
		{profile: natpmptest.Proton(), want: ok(40000, 60), took: delay},
		{profile: natpmptest.ProtonExternal(), want: ok(40000, 60), took: delay},
		{profile: natpmptest.Split(), want: ok(40000, 60), took: delay},
		{profile: natpmptest.Short(time.Second), want: ok(20000, 1), took: delay},
		{profile: natpmptest.NoAddress(), result: natpmp.ResultNetworkFailure, took: delay},
		{profile: natpmptest.Unauthorized(), result: natpmp.ResultNotAuthorized, took: delay},
		{profile: natpmptest.Slow(), want: ok(20000, 3600), took: 2*time.Second + delay},
		{profile: lie(natpmptest.LieElsewhere), want: ok(20000, 3600), took: delay},
		{profile: lie(natpmptest.LieOpcode), want: ok(20000, 3600), took: delay},
		{profile: lie(natpmptest.LieVersion), want: ok(20000, 3600), took: delay},
		{profile: lie(natpmptest.LieTruncated), want: ok(20000, 3600), took: delay},
		{profile: lie(natpmptest.LiePadded), want: ok(20000, 3600), took: delay},
		{profile: lie(natpmptest.LieShortError), result: natpmp.ResultNetworkFailure, took: delay},
	} {
		t.Run(tt.profile.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
				b := newBenchOn(t, n, natpmptest.Config{Profile: tt.profile, Elsewhere: listen(t, n, "10.2.0.9:5351")})
				b.Adjust(func(p *natpmptest.Profile) { p.ReplyDelay = delay })
				if tt.profile.Ports == natpmptest.PortsRandom {
					b.GrantNext(40000)
				}
				c := b.startClient(t)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				start := time.Now()
				got, err := c.Map(ctx, natpmp.MapRequest{
					Opcode: natpmp.OpMapTCP, InternalPort: 20000, SuggestedExternalPort: 20000, Lifetime: 3600,
				})
				took := time.Since(start)
				var code natpmp.ResultCode
				if e, ok := errors.AsType[*natpmp.ResultError](err); ok {
					code = e.Result
				} else if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" || code != tt.result || took != tt.took {
					t.Errorf("got %+v, %v after %v, want %+v, %v after %v", got, code, took, tt.want, tt.result, tt.took)
				}
			})
		})
	}
}

// A reply that names another port answers nothing.
func TestOurClientIgnoresAWrongInternalPort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newBench(t, natpmptest.Config{Profile: natpmptest.WrongInternal()}).startClient(t)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		got, err := c.Map(ctx, natpmp.MapRequest{Opcode: natpmp.OpMapTCP, InternalPort: 20000, Lifetime: 60})
		if _, ok := errors.AsType[*natpmp.TimeoutError](err); !ok {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

// A gateway that closed its port is told apart from one that says nothing.
func TestOurClientIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, natpmptest.Config{Profile: natpmptest.Proton()})
		b.Refuse(true)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := b.startClient(t).ExternalAddress(ctx)
		if _, ok := errors.AsType[*natpmp.RefusedError](err); !ok {
			t.Errorf("got %v", err)
		}
	})
}

// The reply to a create is lost: the gateway has the lease, the client does not
// know. What its retransmission gets is what stands, also on a gateway that takes
// the retransmission for a wish for another port.
func TestOurClientAdoptsWhatItsLostReplyGranted(t *testing.T) {
	t.Parallel()
	for _, p := range []natpmptest.Profile{
		natpmptest.RFC(), natpmptest.Proton(), natpmptest.ProtonDuplicate(), natpmptest.Miniupnpd(),
	} {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, natpmptest.Config{Profile: p, Seed: 1})
				replies := natpmptest.Between(gatewayAddr.Addr(), routerAddr)
				b.net.SetFaults(replies, natpmptest.Faults{Blackhole: true})
				time.AfterFunc(time.Second, func() { b.net.SetFaults(replies, natpmptest.Faults{}) })
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				got, err := b.startClient(t).Map(ctx, natpmp.MapRequest{Opcode: natpmp.OpMapUDP, InternalPort: 20000, Lifetime: 60})
				if err != nil {
					t.Fatal(err)
				}
				m := b.Mappings()
				if len(m) != 1 || m[0].ExternalPort != got.ExternalPort {
					t.Errorf("the client was told %d, the gateway has %v", got.ExternalPort, m)
				}
				if s := b.Stats(); s.Creates != 1 || s.Renewals != 3 {
					t.Errorf("%d creates and %d renewals, want 1 and 3", s.Creates, s.Renewals)
				}
			})
		})
	}
}
