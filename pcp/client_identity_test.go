package pcp_test

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
	"doublenat/pcp/pcptest"
)

// TestClientAfterRestart: a client that has lost its nonces is refused by a strict gateway
// as long as the mapping lasts, and served by a lax one. One whose nonces come from a
// secret goes on.
func TestClientAfterRestart(t *testing.T) {
	t.Parallel()
	secret := func(cfg *pcp.ClientConfig) {
		cfg.Nonce = func(p pcp.Protocol, port uint16) pcp.Nonce { return pcp.Nonce{byte(p), byte(port), byte(port >> 8)} }
	}
	for name, tt := range map[string]struct {
		profile   pcptest.Profile
		configure func(cfg *pcp.ClientConfig)
		refused   bool
	}{
		"strict":           {pcptest.RFC(), nil, true},
		"lax":              {pcptest.Miniupnpd(), nil, false},
		"strict, a secret": {pcptest.RFC(), secret, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tt.profile, tt.configure)
				if _, err := r.Map(t.Context(), want()); err != nil {
					t.Fatal(err)
				}
				r.stop()
				again, stop := r.another(t, tt.configure)
				defer stop()
				time.Sleep(10 * time.Minute)
				got, err := again.Map(t.Context(), want())
				result, _ := errors.AsType[*pcp.ResultError](err)
				switch {
				case !tt.refused && (err != nil || got.ExternalPort != 51413):
					t.Errorf("%+v, %v", got, err)
				case tt.refused && (result == nil || result.Result != pcp.ResultNotAuthorized || result.Lifetime > 50*time.Minute || result.Lifetime < 49*time.Minute):
					t.Errorf("%+v, %v", got, err)
				}
				if n := len(r.remote.Mappings()); n != 1 {
					t.Errorf("%d mappings", n)
				}
			})
		})
	}
}

// TestClientDrawsAnotherNonceAfterTheEnd of a mapping that was not renewed.
func TestClientDrawsAnotherNonceAfterTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pcptest.RFC(), nil)
		for _, wait := range []time.Duration{3500 * time.Second, 3601 * time.Second, 0} {
			if _, err := r.Map(t.Context(), want()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(wait)
		}
		sent, _ := r.asked(t)
		if sent[0].Map.Nonce != sent[1].Map.Nonce || sent[1].Map.Nonce == sent[2].Map.Nonce {
			t.Errorf("nonces %v, %v, %v", sent[0].Map.Nonce, sent[1].Map.Nonce, sent[2].Map.Nonce)
		}
	})
}

// TestClientKeepsTheNonceOfWhatMayStand: a gateway grants two minutes to who asks for
// seconds, also if the answer is lost.
func TestClientKeepsTheNonceOfWhatMayStand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pcptest.RFC(), nil)
		ask := want()
		ask.Lifetime = 10
		r.remote.Adjust(func(p *pcptest.Profile) { p.Replies = natpmptest.Faults{Loss: 1} })
		if _, err := r.Map(within(t, time.Second), ask); err == nil {
			t.Fatal("nothing was lost")
		}
		r.remote.Adjust(func(p *pcptest.Profile) { p.Replies = natpmptest.Faults{} })
		time.Sleep(time.Minute)
		if _, err := r.Map(t.Context(), ask); err != nil {
			t.Error(err)
		}
	})
}

// TestClientIdentity: nothing is asked without an own address, the gateway refuses a wrong
// one, and another one is told of; what was refused is asked for again with it at once.
func TestClientIdentity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pcptest.RFC(), nil)
		r.note(func() { r.own = netip.Addr{} })
		if _, err := r.Map(t.Context(), want()); !errors.Is(err, pcp.ErrNoAddress) {
			t.Errorf("without an address: %v", err)
		}
		inside := netip.MustParseAddr("172.30.254.2")
		r.note(func() { r.own = inside })
		_, err := r.Map(t.Context(), want())
		if result, ok := errors.AsType[*pcp.ResultError](err); !ok || result.Result != pcp.ResultAddressMismatch {
			t.Errorf("with another address: %v", err)
		}
		r.note(func() { r.own = ownAddr })
		if _, err := r.Map(t.Context(), want()); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]netip.Addr{inside}, r.told().identities, addresses); diff != "" {
			t.Errorf("identities before (-want +got):\n%s", diff)
		}
		if sent, _ := r.asked(t); len(sent) != 2 {
			t.Errorf("%d packets", len(sent))
		}
	})
}

// TestClientIdentityEpoch: the epoch may differ for each client (RFC 6887 §8.5), so that
// another one tells nothing to whom it is the first.
func TestClientIdentityEpoch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pcptest.RFC(), nil)
		time.Sleep(time.Hour)
		if err := r.Announce(t.Context()); err != nil {
			t.Fatal(err)
		}
		other := netip.MustParseAddr("192.168.1.77")
		r.note(func() { r.own = other })
		r.remote.Adjust(func(p *pcptest.Profile) { p.Client = other })
		r.remote.Restart(true)
		if err := r.Announce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if told := r.told(); len(told.news) != 0 || len(told.identities) != 1 {
			t.Errorf("told of %+v", told)
		}
	})
}
