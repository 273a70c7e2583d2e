package daemon_test

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/config"
	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// TestLinksThatComeLate: the LAN comes up after doublenat, and its address changes
// later. What is announced goes out on the links that there are, and each change of
// them is told once.
func TestLinksThatComeLate(t *testing.T) {
	t.Parallel()
	var log logBuffer
	first, second := new(loudspeaker), new(loudspeaker)
	var found atomic.Pointer[loudspeaker]
	cfg := lab.BenchConfig{
		Profile: natpmptest.RFC(), Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Options: func(o *daemon.Options) {
			o.Network.Announcements = func(net.PacketConn, config.Config) (natpmp.AnnouncementSender, string) {
				switch found.Load() {
				case first:
					return first, "on eth0"
				case second:
					return second, "on br0"
				default:
					return nil, "no interface of this host is on a LAN with clients"
				}
			}
		},
	}
	onBench(t, cfg, func(r *rig) {
		told := func(off, eth, br int) {
			t.Helper()
			for text, want := range map[string]int{"announcements are off": off, "on eth0": eth, "on br0": br} {
				if n := strings.Count(log.String(), text); n != want {
					t.Errorf("told %d times %q, want %d:\n%s", n, text, want, log.String())
				}
			}
		}
		heard := func(wantFirst, wantSecond int) {
			t.Helper()
			got := []int{len(first.take()), len(second.take())}
			if diff := cmp.Diff([]int{wantFirst, wantSecond}, got); diff != "" {
				t.Errorf("packets on the first and the second link (-want +got):\n%s", diff)
			}
		}
		time.Sleep(10 * time.Minute)
		heard(0, 0)
		told(1, 0, 0)

		found.Store(first)
		time.Sleep(10 * time.Minute)
		heard(10, 0)
		told(1, 1, 0)

		found.Store(second)
		r.Gateway.SetAddress(netip.MustParseAddr("9.9.9.9"))
		time.Sleep(10 * time.Minute)
		heard(0, 10)
		told(1, 1, 1)

		found.Store(nil)
		r.Gateway.SetAddress(netip.MustParseAddr("9.9.9.8"))
		time.Sleep(10 * time.Minute)
		heard(0, 0)
		told(2, 1, 1)
	})
}
