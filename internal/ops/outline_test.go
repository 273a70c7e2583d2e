package ops_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/ops"
)

// TestNobodyWatches: the table is not copied when nobody looks at it, and the parts are
// looked at once in ten seconds. What is remembered for who looks later is the same.
func TestNobodyWatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var whole, outlines atomic.Int64
		m, err := ops.NewMonitor(ops.MonitorConfig{
			About: ops.About{MaxMappings: 2},
			Parts: func() ops.Parts { whole.Add(1); return fine().Parts },
			Outline: func() ops.Parts {
				outlines.Add(1)
				p := fine().Parts
				p.Core.Mappings, p.Mappings = 2, nil
				return p
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var runs sync.WaitGroup
		runs.Go(func() { _ = m.Run(ctx) })
		time.Sleep(time.Minute)
		if n := outlines.Load(); whole.Load() != 0 || n > 7 {
			t.Errorf("the parts were asked %d times with and %d times without mappings", whole.Load(), n)
		}
		s := m.Status()
		if len(s.Series.Mappings) == 0 || s.Series.Mappings[0] != 2 {
			t.Errorf("the chart has %v", s.Series.Mappings)
		}
		if len(s.Events) == 0 || s.Events[0].Text == "" {
			t.Errorf("the events are %v", s.Events)
		}
		cancel()
		runs.Wait()
	})
}
