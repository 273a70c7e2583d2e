package pcp_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
	"doublenat/pcp/pcptest"
)

// TestClientIsNotFooled: answers that cannot be meant for the request are none, and those
// that say nonsense about it are handed on.
func TestClientIsNotFooled(t *testing.T) {
	t.Parallel()
	for _, nonsense := range pcptest.Nonsenses() {
		t.Run(fmt.Sprint(nonsense), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, pcptest.Senseless(nonsense), nil)
				got, err := r.Map(within(t, 5*time.Second), want())
				switch nonsense {
				case pcptest.NonsenseNoPort:
					if err != nil || got.ExternalPort != 0 || got.Lifetime != 3600 {
						t.Errorf("%+v, %v", got, err)
					}
				case pcptest.NonsenseNoLifetime:
					if err != nil || got.ExternalPort != 51413 || got.Lifetime != 0 {
						t.Errorf("%+v, %v", got, err)
					}
				default:
					if timeout, ok := errors.AsType[*pcp.TimeoutError](err); !ok || timeout.Tries < 4 {
						t.Errorf("%+v, %v", got, err)
					}
				}
			})
		})
	}
	t.Run("lies", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, pcptest.Liar(), nil)
			for port := range uint16(20) {
				ask := want()
				ask.InternalPort, ask.ExternalPort = 1000+port, 50000+port
				if got, err := r.Map(within(t, 5*time.Second), ask); err != nil || got.ExternalPort != 50000+port {
					t.Errorf("port %d: %+v, %v", port, got, err)
				}
			}
			if n := r.remote.Stats().Lies; n < 15 {
				t.Errorf("%d lies", n)
			}
		})
	})
}

// TestClientTellsOfUpdates: a Mapping Update (RFC 6887 §14.2) is told apart from a reply
// that came twice, and from one with another nonce.
func TestClientTellsOfUpdates(t *testing.T) {
	t.Parallel()
	profile := pcptest.RFC()
	profile.Replies = natpmptest.Faults{Duplicate: 1}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, profile, nil)
		if _, err := r.Map(t.Context(), want()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if told := r.told(); len(told.updates) != 0 || len(told.strays) != 1 {
			t.Errorf("a copy is %d updates and %d strays", len(told.updates), len(told.strays))
		}
		var client netip.AddrPort
		for _, p := range r.network.Packets(natpmptest.PacketSent) {
			if p.To == gatewayAddr {
				client = p.From
			}
		}
		r.remote.MovePorts()
		moved := r.remote.Mappings()[0].ExternalPort
		update := r.remote.Update(pcp.TCP, moved)
		forged := slices.Clone(update)
		forged[24]++
		r.network.Inject(gatewayAddr, client, forged)
		r.network.Inject(gatewayAddr, client, update)
		time.Sleep(time.Second)
		if told := r.told(); len(told.updates) != 1 || told.updates[0].Map.ExternalPort != moved ||
			told.updates[0].Map.Nonce != pcp.Nonce(update[24:36]) || len(told.strays) != 2 {
			t.Errorf("told of %+v", told)
		}
	})
}

// TestClientIgnoresLateAnswers of a deletion when the port is asked for again.
func TestClientIgnoresLateAnswers(t *testing.T) {
	t.Parallel()
	same := func(cfg *pcp.ClientConfig) { cfg.Nonce = func(pcp.Protocol, uint16) pcp.Nonce { return pcp.Nonce{1} } }
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pcptest.RFC(), same)
		r.remote.Adjust(func(p *pcptest.Profile) { p.ReplyDelay = 3 * time.Second })
		if err := r.Unmap(within(t, 2*time.Second), pcp.TCP, 6881); err == nil {
			t.Fatal("the answer was not late")
		}
		r.remote.Adjust(func(p *pcptest.Profile) { p.ReplyDelay = 2 * time.Second })
		if got, err := r.Map(t.Context(), want()); err != nil || got.ExternalPort != 51413 {
			t.Errorf("%+v, %v", got, err)
		}
		r.remote.Adjust(func(p *pcptest.Profile) { p.ReplyDelay = 100 * time.Millisecond })
		time.Sleep(5 * time.Second) // An answer to the first deletion would be one to the next.
		if err := r.Unmap(t.Context(), pcp.TCP, 6881); err != nil {
			t.Error(err)
		}
		if left := r.remote.Mappings(); len(left) != 0 {
			t.Errorf("left: %+v", left)
		}
	})
}

// TestClientIgnoresLateGrants: a grant that was asked for before is no answer to a deletion.
func TestClientIgnoresLateGrants(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pcptest.RFC(), nil)
		r.remote.Adjust(func(p *pcptest.Profile) { p.ReplyDelay = 1200 * time.Millisecond })
		if _, err := r.Map(within(t, time.Second), want()); err == nil {
			t.Fatal("the answer was not late")
		}
		r.remote.Adjust(func(p *pcptest.Profile) { p.Silent = true })
		err := r.Unmap(t.Context(), pcp.TCP, 6881)
		if _, ok := errors.AsType[*pcp.TimeoutError](err); !ok || r.Stats().Ignored == 0 {
			t.Errorf("%v, %+v", err, r.Stats())
		}
	})
}
