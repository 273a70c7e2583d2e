package pcp_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/pcp"
	"doublenat/pcp/pcptest"
)

// TestClientMaps: a mapping is made, renewed and ended with one nonce, and what comes after
// it has another one.
func TestClientMaps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pcptest.RFC(), nil)
		granted := pcp.Mapping{ExternalPort: 51413, ExternalAddress: publicAddr, Lifetime: 3600}
		renewal := want()
		renewal.Renewal, renewal.Lifetime = true, 20
		for i, step := range []pcp.MapRequest{want(), renewal} {
			got, err := r.Map(t.Context(), step)
			expected := granted
			if step.Renewal {
				expected.Lifetime = 120 // raised (RFC 6887 §15)
			}
			if err != nil || got != expected {
				t.Errorf("step %d: %+v, %v, want %+v", i, got, err, expected)
			}
		}
		if err := r.Unmap(t.Context(), pcp.TCP, 6881); err != nil {
			t.Error(err)
		}
		if left := r.remote.Mappings(); len(left) != 0 {
			t.Errorf("left: %+v", left)
		}
		if _, err := r.Map(t.Context(), want()); err != nil {
			t.Error(err)
		}
		if err := r.Announce(t.Context()); err != nil {
			t.Error(err)
		}
		sent, _ := r.asked(t)
		for i, req := range sent {
			if i > 0 && i < 3 != (req.Map.Nonce == sent[0].Map.Nonce) {
				t.Errorf("request %d has nonce %v, the first has %v", i, req.Map.Nonce, sent[0].Map.Nonce)
			}
			req.Map.Nonce = pcp.Nonce{}
			base := pcp.Request{Opcode: pcp.OpMap, Client: ownAddr, Lifetime: 3600, Map: pcp.Map{
				Protocol: pcp.TCP, InternalPort: 6881, ExternalPort: 51413, ExternalAddress: netip.IPv4Unspecified(),
			}}
			switch i {
			case 1:
				base.Lifetime = 20
			case 2: // RFC 6887 §15.1: a deletion suggests nothing.
				base.Lifetime, base.Map.ExternalPort = 0, 0
			case 4:
				base = pcp.Request{Opcode: pcp.OpAnnounce, Client: ownAddr}
			}
			if diff := cmp.Diff(base, req, addresses); diff != "" {
				t.Errorf("request %d (-want +got):\n%s", i, diff)
			}
		}
		if len(sent) != 5 {
			t.Errorf("%d requests", len(sent))
		}
	})
}

// TestClientRepeats: after 250 ms, 1 s for a renewal, and twice as long each time, with a
// jitter of a tenth (RFC 6887 §8.1.1), until the caller gives up.
func TestClientRepeats(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ask   func(ctx context.Context, r *rig) error
		first time.Duration
		tries int
	}{
		"create":   {func(ctx context.Context, r *rig) error { _, err := r.Map(ctx, want()); return err }, 250 * time.Millisecond, 6},
		"announce": {func(ctx context.Context, r *rig) error { return r.Announce(ctx) }, 250 * time.Millisecond, 6},
		"renewal": {func(ctx context.Context, r *rig) error {
			renewal := want()
			renewal.Renewal = true
			_, err := r.Map(ctx, renewal)
			return err
		}, time.Second, 4},
		"deletion": {func(ctx context.Context, r *rig) error { return r.Unmap(ctx, pcp.TCP, 6881) }, 250 * time.Millisecond, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, pcptest.RFC(), func(cfg *pcp.ClientConfig) { cfg.Random = seeded() })
				r.remote.Adjust(func(p *pcptest.Profile) { p.Silent = true })
				err := tt.ask(within(t, 10*time.Second), r)
				timeout, ok := errors.AsType[*pcp.TimeoutError](err)
				if !ok || timeout.Tries != tt.tries {
					t.Fatalf("%v, want a timeout after %d tries", err, tt.tries)
				}
				sent, at := r.asked(t)
				jitter := false
				for i := 1; i < len(at); i++ {
					gap, expected := at[i]-at[i-1], tt.first
					if i > 1 {
						expected = 2 * (at[i-1] - at[i-2])
					}
					if gap < expected*9/10-time.Millisecond || gap > expected*11/10+time.Millisecond {
						t.Errorf("try %d after %v, want about %v", i, gap, expected)
					}
					jitter = jitter || gap != expected
					if sent[i] != sent[0] {
						t.Errorf("try %d differs: %+v", i, sent[i])
					}
				}
				if !jitter {
					t.Error("there is no jitter")
				}
			})
		})
	}
}

// TestClientWatchesTheEpoch: a gateway that was restarted, and our own clock that stood,
// are told of once.
func TestClientWatchesTheEpoch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pcptest.RFC(), nil)
		look := func() {
			t.Helper()
			time.Sleep(time.Minute)
			if err := r.Announce(t.Context()); err != nil {
				t.Error(err)
			}
		}
		look()
		if r.SuspectEpoch(r.remote.Epoch(), time.Now()) || !r.SuspectEpoch(0, time.Now()) {
			t.Error("does not know what is suspect")
		}
		r.remote.Restart(true)
		look()
		look()
		r.remote.Skip(time.Hour)
		look()
		look()
		if diff := cmp.Diff([]pcp.EpochNews{pcp.EpochLost, pcp.EpochAhead}, r.told().news); diff != "" {
			t.Errorf("news (-want +got):\n%s", diff)
		}
	})
}

// TestClientWindow: a hundred requests are in flight together as the window allows, and
// those for one port go one after the other.
func TestClientWindow(t *testing.T) {
	t.Parallel()
	for window, want := range map[int]time.Duration{1: 100 * 20 * time.Millisecond, 100: 20 * time.Millisecond} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, pcptest.RFC(), func(cfg *pcp.ClientConfig) { cfg.Window = window })
				var wg sync.WaitGroup
				for port := range uint16(100) {
					wg.Go(func() {
						if _, err := r.Map(t.Context(), pcp.MapRequest{Protocol: pcp.UDP, InternalPort: 1000 + port, Lifetime: 600}); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if took := time.Since(r.start); took != want {
					t.Errorf("took %v, want %v", took, want)
				}
			})
		})
	}
	t.Run("one port", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, pcptest.RFC(), nil)
			var wg sync.WaitGroup
			for lifetime := range uint32(10) {
				wg.Go(func() {
					got, err := r.Map(t.Context(), pcp.MapRequest{Protocol: pcp.UDP, InternalPort: 1000, Lifetime: 600 + lifetime})
					if err != nil || got.Lifetime != 600+lifetime {
						t.Errorf("%+v, %v, want lifetime %d", got, err, 600+lifetime)
					}
				})
			}
			wg.Wait()
			if took := time.Since(r.start); took != 200*time.Millisecond {
				t.Errorf("took %v", took)
			}
		})
	})
}

// TestClientPrefersFailure: the very port or none.
func TestClientPrefersFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pcptest.RFC(), nil)
		if _, err := r.Map(t.Context(), want()); err != nil {
			t.Fatal(err)
		}
		other := want()
		other.InternalPort, other.PreferFailure = 7000, true
		_, err := r.Map(t.Context(), other)
		if result, ok := errors.AsType[*pcp.ResultError](err); !ok || result.Result != pcp.ResultCannotProvideExternal {
			t.Error(err)
		}
		other.ExternalPort++
		if got, err := r.Map(t.Context(), other); err != nil || got.ExternalPort != 51414 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
