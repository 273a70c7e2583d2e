package natpmp_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	wire "doublenat/internal/datagram"
	"doublenat/natpmp"
)

// diary is a handler that takes a second for a mapping and a tenth for a deletion, and
// notes when each began and ended.
type diary struct {
	mu    sync.Mutex
	lines []string // guarded by mu
	began time.Time
}

func (d *diary) note(what string, req natpmp.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	verb := "map"
	if req.Lifetime == 0 {
		verb = "delete"
	}
	d.lines = append(d.lines, fmt.Sprintf("%v %s %s %d", time.Since(d.began), what, verb, req.InternalPort))
}

func (d *diary) ServeNATPMP(_ context.Context, _ natpmp.Arrival, req natpmp.Request) natpmp.Reply {
	d.note("begin", req)
	defer d.note("end", req)
	if req.Lifetime == 0 {
		time.Sleep(100 * time.Millisecond)
		return natpmp.Deleted()
	}
	time.Sleep(time.Second)
	return natpmp.Mapped(req.InternalPort, req.Lifetime)
}

// A deletion never overtakes the renewal that was sent before it, nor a request for a
// mapping the deletion before it: neither one in work nor one that waits. What has
// nothing to do with it is not held up.
func TestDeletionDoesNotOvertake(t *testing.T) {
	t.Parallel()
	renewal := func(port uint16) natpmp.Request {
		return natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: port, Lifetime: 60}
	}
	deletion := func(port uint16) natpmp.Request {
		return natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: port}
	}
	for _, tt := range []struct {
		name      string
		perClient int
		sent      []natpmp.Request
		want      []string
	}{
		{
			"in work", 64,
			[]natpmp.Request{renewal(3), deletion(3), deletion(4)},
			[]string{"0s begin map 3", "0s begin delete 4", "100ms end delete 4", "1s end map 3", "1s begin delete 3", "1.1s end delete 3"},
		},
		{
			"waiting", 1,
			[]natpmp.Request{renewal(1), renewal(3), deletion(3)},
			[]string{
				"0s begin map 1", "1s end map 1", "1s begin map 3", "2s end map 3",
				"2s begin delete 3", "2.1s end delete 3",
			},
		},
		{
			"all", 64,
			[]natpmp.Request{renewal(3), deletion(0)},
			[]string{"0s begin map 3", "1s end map 3", "1s begin delete 0", "1.1s end delete 0"},
		},
		{
			"behind one that waits, when something else ends", 64,
			[]natpmp.Request{renewal(3), deletion(3), renewal(3), deletion(4)},
			[]string{
				"0s begin map 3", "0s begin delete 4", "100ms end delete 4", "1s end map 3",
				"1s begin delete 3", "1.1s end delete 3", "1.1s begin map 3", "2.1s end map 3",
			},
		},
		{
			"and back again", 64,
			[]natpmp.Request{deletion(3), renewal(3), deletion(3)},
			[]string{
				"0s begin delete 3", "100ms end delete 3", "100ms begin map 3", "1.1s end map 3",
				"1.1s begin delete 3", "1.2s end delete 3",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := &diary{began: time.Now()}
				_, conn := serve(t, natpmp.ServerConfig{
					Handler: d, MaxPerClient: tt.perClient,
					Rank: func(_ netip.Addr, about natpmp.Subject) natpmp.Rank {
						if about.Effect != wire.Ends {
							return natpmp.RankRenewal
						}
						return natpmp.RankHolder
					},
				})
				for i, req := range tt.sent {
					// Each from a port of its own, so that none is a copy.
					from := netip.AddrPortFrom(lanHost(1).Addr(), 40000+uint16(i))
					conn.in <- datagram{data: req.Append(nil), addr: from}
					synctest.Wait()
				}
				time.Sleep(5 * time.Second)
				synctest.Wait() // sleeping does not order what others wrote
				if diff := cmp.Diff(tt.want, d.lines); diff != "" {
					t.Errorf("served (-want +got):\n%s", diff)
				}
			})
		})
	}
}
