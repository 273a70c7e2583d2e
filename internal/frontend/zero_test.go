package frontend_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/frontend"
	"doublenat/internal/nat"
	"doublenat/natpmp"
)

// wishes is a fakeCore that notes what port its clients would like.
type wishes struct {
	*fakeCore
	suggested []uint16 // one request after the other
}

func (w *wishes) Map(ctx context.Context, req nat.MapRequest) (nat.Grant, error) {
	w.suggested = append(w.suggested, req.SuggestedPort)
	return w.fakeCore.Map(ctx, req)
}

// TestZeroPort: with the setting, internal port 0 is a port like others, answered as
// ProtonVPN's gateways do, whatever ports may be mapped by name; a deletion of port 0
// still is one of everything (RFC 6886 §3.4).
func TestZeroPort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core := &wishes{fakeCore: &fakeCore{grant: grant4001()}}
		r := newRig(t, core.fakeCore, func(cfg *frontend.Config, _ *natpmp.ServerConfig) {
			cfg.Core, cfg.ZeroPort = core, true
			cfg.Ports = func(port uint16) bool { return port == 0x1234 }
		})
		h := r.host(t, clientA)
		for _, tt := range []struct{ packet, want string }{
			{"0001 0000 0000 0001 0000003c", "008100000000000000000fa10000003c"}, // natpmpc -a 1 0 udp 60
			{"0002 0000 0000 0000 0000003c", "008200000000000000000fa10000003c"},
			{"0002 0000 0000 1388 0000003c", "008200000000000000000fa10000003c"},
			{mapTCP, "008200000000000012340fa10000003c"},
			{"0002 0000 1235 0000 0000003c", "00820002000000001235000000000000"},
			{unmapAll, "00820000000000000000000000000000"},
		} {
			h.send(tt.packet)
			if diff := cmp.Diff([]string{tt.want}, h.replies()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.packet, diff)
			}
		}
		if diff := cmp.Diff([]uint16{0, 0, 5000, 0x5678}, core.suggested); diff != "" {
			t.Errorf("suggestions (-want +got):\n%s", diff)
		}
		want := []string{
			"map udp 192.168.88.10:0 for 1m0s", "map tcp 192.168.88.10:0 for 1m0s", "map tcp 192.168.88.10:0 for 1m0s",
			"map tcp 192.168.88.10:4660 for 1h0m0s", "unmap all tcp of 192.168.88.10",
		}
		if diff := cmp.Diff(want, core.asked()); diff != "" {
			t.Errorf("calls of the core (-want +got):\n%s", diff)
		}
	})
}

// TestZeroPortIsOnePort: a deletion of another port ends nothing of port 0.
func TestZeroPortIsOnePort(t *testing.T) {
	t.Parallel()
	const mapZero = "0002 0000 0000 0001 0000003c"
	for name, tt := range map[string]struct {
		packets []string
		works   int
	}{
		"another port is deleted": {[]string{mapZero, unmapTCP, mapZero}, 2},
		"all ports are deleted":   {[]string{mapZero, unmapAll, mapZero}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, &fakeCore{grant: grant4001(), takes: time.Second}, func(cfg *frontend.Config, _ *natpmp.ServerConfig) { cfg.ZeroPort = true })
				for _, p := range tt.packets {
					r.host(t, clientA).send(p)
					synctest.Wait()
				}
				time.Sleep(time.Minute)
				if calls := r.core.asked(); len(calls) != tt.works {
					t.Errorf("the core was asked %q, want %d", calls, tt.works)
				}
			})
		})
	}
}
