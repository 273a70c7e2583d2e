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
