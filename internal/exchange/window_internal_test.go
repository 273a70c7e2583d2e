package exchange

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestWindowTurnMeetsEnd: a turn that comes in the very moment in which the caller
// gives up is neither lost nor given twice, whoever wins.
func TestWindowTurnMeetsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWindow[int](1)
		held, key := 1, 2
		for range 200 {
			first, err := w.acquire(t.Context(), held, false)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			var wg sync.WaitGroup
			wg.Go(func() {
				if mine, err := w.acquire(ctx, key, true); err == nil {
					w.release(mine)
				}
			})
			time.Sleep(time.Second)
			w.release(first)
			wg.Wait()
			cancel()
			if w.flying.Len() != 0 || len(w.busy) != 0 || len(w.urgent) != 0 {
				t.Fatalf("left: %d in flight, %d busy, %d waiting", w.flying.Len(), len(w.busy), len(w.urgent))
			}
		}
	})
}
