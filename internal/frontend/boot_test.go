package frontend_test

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/frontend"
	"doublenat/internal/nat"
	"doublenat/natpmp"
)

const (
	addressRequest = "0000"
	mapRequest     = "0001 0000 1234 0000 00000e10"
)

// Until the gateway has answered since the start, its clients wait or hear nothing.
func TestBoot(t *testing.T) {
	t.Parallel()
	away := &nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonUnreachable}
	for _, tt := range []struct {
		name    string
		packet  string
		err     error         // the core's answer, which takes 8 s
		settled time.Duration // when the gateway has spoken, 0 for never
		known   bool          // whether it told an address
		repeats int           // copies of the packet, a second apart
		want    []string      // the replies within a minute
	}{
		{name: "the address comes", packet: addressRequest, settled: 20 * time.Second, known: true, repeats: 5, want: []string{"008000000000001405060708"}},
		{name: "there is none", packet: addressRequest, settled: 20 * time.Second, want: []string{"008000030000001400000000"}},
		{name: "it does not come", packet: addressRequest, repeats: 5},
		{name: "a mapping", packet: mapRequest, err: away, repeats: 5},
		{name: "a mapping, and it spoke", packet: mapRequest, err: away, settled: time.Second, want: []string{"00810003000000081234000000000000"}},
		{
			name: "a mapping that the router refuses", packet: mapRequest, err: &nat.Error{Hop: nat.HopRouter, Reason: nat.ReasonUnreachable},
			want: []string{"00810003000000081234000000000000"},
		},
		{
			name: "a mapping that the gateway refuses", packet: mapRequest, err: &nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonResources},
			want: []string{"00810004000000081234000000000000"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				settled := make(chan struct{})
				external := func() (netip.Addr, bool) {
					select {
					case <-settled:
						return publicAddr, tt.known
					default:
						return netip.Addr{}, false
					}
				}
				core := &fakeCore{takes: 8 * time.Second, err: tt.err}
				r := newRig(t, core, func(cfg *frontend.Config, _ *natpmp.ServerConfig) { cfg.Settled, cfg.External = settled, external })
				if tt.settled > 0 {
					time.AfterFunc(tt.settled, func() { close(settled) })
				}
				h := r.host(t, clientA)
				for range 1 + tt.repeats {
					h.send(tt.packet)
					time.Sleep(time.Second)
				}
				time.Sleep(time.Minute)
				if got := h.replies(); !slices.Equal(got, tt.want) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if tt.settled > 0 {
					return
				}
				time.Sleep(10 * time.Minute) // This is no gateway.
				h.send(tt.packet)
				time.Sleep(time.Minute)
				if got := h.replies(); len(got) != 1 {
					t.Errorf("after ten minutes %q, want a reply", got)
				}
			})
		})
	}
}
