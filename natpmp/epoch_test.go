package natpmp_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/natpmp"
)

func TestEpoch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := natpmp.NewEpoch()
		for _, step := range []struct {
			wait  time.Duration
			reset bool
			want  uint32
		}{
			{want: 0},
			{wait: 999 * time.Millisecond, want: 0},
			{wait: time.Millisecond, want: 1},
			{wait: 400 * 24 * time.Hour, want: 400*86400 + 1},
			{reset: true, want: 0},
			{wait: 1500 * time.Millisecond, want: 1},
			{reset: true, want: 0},
			{wait: 999 * time.Millisecond, want: 0},
		} {
			time.Sleep(step.wait)
			if step.reset {
				e.Reset()
			}
			if got := e.Seconds(); got != step.want {
				t.Errorf("after %v more, reset %t: %d, want %d", step.wait, step.reset, got, step.want)
			}
		}
	})
}

func TestEpochConcurrently(t *testing.T) {
	t.Parallel()
	e := natpmp.NewEpoch()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				e.Reset()
				if s := e.Seconds(); s > 60 {
					t.Errorf("epoch is %d seconds, a moment after a reset", s)
				}
			}
		})
	}
	wg.Wait()
}

// TestEpochWatch has the limits of RFC 6886 §3.6: 7/8 of the time, less 2 seconds.
func TestEpochWatch(t *testing.T) {
	t.Parallel()
	type packet struct {
		after time.Duration
		epoch uint32
		lost  bool
	}
	tests := []struct {
		name    string
		packets []packet
	}{
		{name: "first packet", packets: []packet{{epoch: 0}}},
		{name: "exactly on time", packets: []packet{{epoch: 1000}, {after: 80 * time.Second, epoch: 1080}}},
		{name: "slowest clock that is allowed", packets: []packet{{epoch: 1000}, {after: 80 * time.Second, epoch: 1068}}},
		{name: "one below", packets: []packet{{epoch: 1000}, {after: 80 * time.Second, epoch: 1067, lost: true}}},
		{name: "fast clock", packets: []packet{{epoch: 1000}, {after: time.Second, epoch: 5000}}},
		{
			name: "one loss is reported once",
			packets: []packet{
				{epoch: 4000000},
				{after: 30 * time.Second, epoch: 3, lost: true},
				{after: time.Second, epoch: 4},
				{after: time.Second, epoch: 0, lost: true},
			},
		},
		{name: "reordered by two seconds", packets: []packet{{epoch: 10}, {epoch: 8}}},
		{name: "reordered by three seconds", packets: []packet{{epoch: 10}, {epoch: 7, lost: true}}},
		{name: "packet with an older time", packets: []packet{{epoch: 10}, {after: -time.Hour, epoch: 10}}},
		{name: "a century", packets: []packet{{epoch: 0}, {after: 100 * 365 * 24 * time.Hour, epoch: 100 * 365 * 86400}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var w natpmp.EpochWatch
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			for i, p := range tt.packets {
				now = now.Add(p.after)
				if lost := w.Observe(p.epoch, now); lost != p.lost {
					t.Errorf("packet %d: lost = %t, want %t", i+1, lost, p.lost)
				}
			}
		})
	}
}

// Suspecting a packet takes in nothing of it.
func TestEpochWatchSuspect(t *testing.T) {
	t.Parallel()
	var w natpmp.EpochWatch
	at := time.Unix(1_800_000_000, 0)
	if w.Suspect(0, at) {
		t.Error("a packet is suspected without one to compare with")
	}
	w.Observe(1000, at)
	for range 2 {
		if !w.Suspect(0, at) || w.Suspect(4_000_000, at) || w.Suspect(1000, at) {
			t.Error("want a loss to be suspected at 0 only, again and again")
		}
	}
	if w.Observe(1001, at.Add(time.Second)) {
		t.Error("what was suspected was taken in")
	}
}
