package natpmp_test

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp"
)

// TestAnnouncerWaitsForLinks: a series for which there is nowhere to send is owed, and
// begins within a minute of when there is. What goes wrong is a reason to look again.
func TestAnnouncerWaitsForLinks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sender := &recordingSender{start: time.Now()}
		var prepared atomic.Int32
		var links atomic.Bool
		a := startAnnouncer(t, natpmp.AnnouncerConfig{
			Sender: sender, Epoch: natpmp.NewEpoch(),
			Address: func() (netip.Addr, bool) { return address5678(), true },
			Prepare: func() bool { prepared.Add(1); return links.Load() },
		})
		turn := func(up bool, err error) {
			links.Store(up)
			sender.mu.Lock()
			defer sender.mu.Unlock()
			sender.err = err
		}
		after := func(d time.Duration, calls int32, sent ...time.Duration) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			var got []time.Duration
			for _, s := range sender.take() {
				got = append(got, s.At)
			}
			looks := prepared.Swap(0)
			if diff := cmp.Diff(sent, got); diff != "" || looks != calls {
				t.Errorf("%d looks for links, want %d; sent at (-want +got):\n%s", looks, calls, diff)
			}
			sender.mu.Lock()
			defer sender.mu.Unlock()
			sender.start = time.Now()
		}
		after(10*time.Minute+time.Second, 11)
		a.Announce()
		after(30*time.Second, 1)
		turn(true, nil)
		after(31*time.Second, 1, 30*time.Second, 30*time.Second+250*time.Millisecond, 30*time.Second+750*time.Millisecond)
		after(time.Hour, 0, 750*time.Millisecond, 2750*time.Millisecond, 6750*time.Millisecond, 14750*time.Millisecond,
			30750*time.Millisecond, 62750*time.Millisecond, 126750*time.Millisecond)

		// The link goes away in the middle of a series, and comes back.
		a.Announce()
		after(time.Second, 1, 0, 250*time.Millisecond, 750*time.Millisecond)
		turn(false, errNoRoute)
		after(10*time.Second, 1, 750*time.Millisecond)
		turn(true, nil)
		after(50900*time.Millisecond, 1, 50750*time.Millisecond)
	})
}
