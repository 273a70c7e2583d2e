package pcp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/pcp"
	"doublenat/pcp/pcptest"
)

// TestClientHeedsErrorLifetimes: the same request is not made again while a failure lasts
// (RFC 6887 §8.3), for half an hour at most; another one is.
func TestClientHeedsErrorLifetimes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		says, lasts time.Duration
	}{
		{0, 30 * time.Second}, {time.Minute, time.Minute}, {1000 * time.Hour, 30 * time.Minute}, {-1, 0},
	} {
		t.Run(fmt.Sprint(tt.says), func(t *testing.T) {
			t.Parallel()
			profile := pcptest.Failing(pcp.ResultNoResources)
			profile.ErrorLifetime = tt.says
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, profile, nil)
				packets := func(ask pcp.MapRequest) (n int, held bool) {
					t.Helper()
					before, _ := r.asked(t)
					_, err := r.Map(t.Context(), ask)
					result, ok := errors.AsType[*pcp.ResultError](err)
					if !ok || result.Result != pcp.ResultNoResources {
						t.Fatal(err)
					}
					after, _ := r.asked(t)
					return len(after) - len(before), result.Held
				}
				if n, held := packets(want()); n != 1 || held {
					t.Errorf("the first: %d packets, held: %v", n, held)
				}
				other := want()
				other.ExternalPort = 0
				if n, _ := packets(other); n != 1 {
					t.Errorf("another request: %d packets", n)
				}
				if tt.lasts > 0 {
					time.Sleep(tt.lasts - 100*time.Millisecond)
					if n, held := packets(want()); n != 0 || !held {
						t.Errorf("while it lasts: %d packets, held: %v", n, held)
					}
					time.Sleep(100 * time.Millisecond)
				}
				if n, held := packets(want()); n != 1 || held {
					t.Errorf("when it is over: %d packets, held: %v", n, held)
				}
				if err := r.Unmap(t.Context(), pcp.TCP, 6881); err != nil {
					t.Errorf("a deletion is held: %v", err)
				}
			})
		})
	}
}

// TestClientForgivesAfterARestart of the gateway, which may have changed its mind.
func TestClientForgivesAfterARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pcptest.Failing(pcp.ResultNotAuthorized), nil)
		if _, err := r.Map(t.Context(), want()); err == nil {
			t.Fatal("granted")
		}
		time.Sleep(time.Minute)
		r.remote.Adjust(func(p *pcptest.Profile) { p.Result = pcp.ResultSuccess })
		r.remote.Restart(false)
		if err := r.Announce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Map(t.Context(), want()); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]pcp.EpochNews{pcp.EpochLost}, r.told().news); diff != "" {
			t.Errorf("news (-want +got):\n%s", diff)
		}
	})
}

// TestClientOfOtherGateways: what does not speak PCP ends requests at once, with an error
// that says what it speaks.
func TestClientOfOtherGateways(t *testing.T) {
	t.Parallel()
	t.Run("NAT-PMP", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, pcptest.NATPMPOnly(), nil)
			_, err := r.Map(t.Context(), want())
			version, ok := errors.AsType[*pcp.VersionError](err)
			if !ok || !version.NATPMP() || time.Since(r.start) > 50*time.Millisecond {
				t.Errorf("%v after %v", err, time.Since(r.start))
			}
			if err := r.Announce(t.Context()); !errors.As(err, &version) {
				t.Error(err)
			}
		})
	})
	t.Run("flipping", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, pcptest.Flipping(), nil)
			for i := range 4 {
				_, err := r.Map(t.Context(), want())
				if _, version := errors.AsType[*pcp.VersionError](err); version != (i%2 == 1) || !version && err != nil {
					t.Errorf("request %d: %v", i, err)
				}
			}
		})
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, pcptest.RFC(), nil)
			r.remote.Refuse(true)
			time.Sleep(time.Second)
			_, err := r.Map(t.Context(), want())
			if refused, ok := errors.AsType[*pcp.RefusedError](err); !ok || refused.Tries != 1 || !errors.Is(err, syscall.ECONNREFUSED) {
				t.Error(err)
			}
		})
	})
}

// TestClientRefusesWhatIsWrong without a packet.
func TestClientRefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pcptest.RFC(), nil)
		for name, change := range map[string]func(m *pcp.MapRequest){
			"all ports":          func(m *pcp.MapRequest) { m.InternalPort = 0 },
			"no protocol":        func(m *pcp.MapRequest) { m.Protocol = pcp.AllProtocols },
			"no lifetime":        func(m *pcp.MapRequest) { m.Lifetime = 0 },
			"no port to prefer":  func(m *pcp.MapRequest) { m.ExternalPort, m.PreferFailure = 0, true },
			"protocol with none": func(m *pcp.MapRequest) { m.Protocol = 1 },
		} {
			ask := want()
			change(&ask)
			if _, err := r.Map(t.Context(), ask); err == nil {
				t.Errorf("%s: granted", name)
			}
		}
		if err := r.Unmap(t.Context(), pcp.TCP, 0); err == nil {
			t.Error("ends all mappings")
		}
		if sent, _ := r.asked(t); len(sent) != 0 {
			t.Errorf("sent %+v", sent)
		}
		r.stop()
		if _, err := r.Map(t.Context(), want()); !errors.Is(err, pcp.ErrClientStopped) {
			t.Errorf("after the end: %v", err)
		}
		if err := r.Run(t.Context()); err == nil {
			t.Error("runs twice")
		}
	})
	for name, cfg := range map[string]pcp.ClientConfig{
		"no way to dial":  {Address: func() netip.Addr { return ownAddr }},
		"no address":      {Dial: func(context.Context) (net.Conn, error) { return nil, net.ErrClosed }},
		"negative window": {Dial: func(context.Context) (net.Conn, error) { return nil, net.ErrClosed }, Address: func() netip.Addr { return ownAddr }, Window: -1},
	} {
		if _, err := pcp.NewClient(cfg); err == nil {
			t.Errorf("%s: made", name)
		}
	}
}

// TestErrors has what they say.
func TestErrors(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"pcp: gateway answered the map request: no resources":                  &pcp.ResultError{Opcode: pcp.OpMap, Result: pcp.ResultNoResources},
		"pcp: gateway answered the map request: no resources, for another 20s": &pcp.ResultError{Opcode: pcp.OpMap, Result: pcp.ResultNoResources, Lifetime: 20 * time.Second, Held: true},
		"pcp: gateway speaks NAT-PMP only":                                     &pcp.VersionError{},
		"pcp: gateway does not speak version 2, but 1":                         &pcp.VersionError{Version: 1},
		"no reply after 3 tries: context canceled (broken)":                    &pcp.TimeoutError{Tries: 3, Err: context.Canceled, Send: errors.New("broken")},
		"gateway refused (port unreachable) at try 1":                          &pcp.RefusedError{Tries: 1},
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}
