package natpmp_test

import (
	"net/netip"
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
		prepared, links := 0, false // synctest.Wait orders the accesses
		a := startAnnouncer(t, natpmp.AnnouncerConfig{
			Sender: sender, Epoch: natpmp.NewEpoch(),
			Address: func() (netip.Addr, bool) { return address5678(), true },
			Prepare: func() bool { prepared++; return links },
		})
		after := func(d time.Duration, calls int, sent ...time.Duration) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			var got []time.Duration
			for _, s := range sender.take() {
				got = append(got, s.At)
			}
			if diff := cmp.Diff(sent, got); diff != "" || prepared != calls {
				t.Errorf("%d looks for links, want %d; sent at (-want +got):\n%s", prepared, calls, diff)
			}
			prepared, sender.start = 0, time.Now()
		}
		after(10*time.Minute+time.Second, 11)
		a.Announce()
		after(30*time.Second, 1)
		links = true
		after(31*time.Second, 1, 30*time.Second, 30*time.Second+250*time.Millisecond, 30*time.Second+750*time.Millisecond)
		after(time.Hour, 0, 750*time.Millisecond, 2750*time.Millisecond, 6750*time.Millisecond, 14750*time.Millisecond,
			30750*time.Millisecond, 62750*time.Millisecond, 126750*time.Millisecond)

		// The link goes away in the middle of a series, and comes back.
		a.Announce()
		after(time.Second, 1, 0, 250*time.Millisecond, 750*time.Millisecond)
		links, sender.err = false, errNoRoute
		after(10*time.Second, 1, 750*time.Millisecond)
		links, sender.err = true, nil
		after(50900*time.Millisecond, 1, 50750*time.Millisecond)
	})
}
