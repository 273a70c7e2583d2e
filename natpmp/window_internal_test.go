package natpmp

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
		w := newWindow(1)
		held, key := callKey{internalPort: 1}, callKey{internalPort: 2}
		for range 200 {
			if err := w.acquire(t.Context(), held, false); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			var wg sync.WaitGroup
			wg.Go(func() {
				if w.acquire(ctx, key, true) == nil {
					w.release(key)
				}
			})
			time.Sleep(time.Second)
			w.release(held)
			wg.Wait()
			cancel()
			if w.free != 1 || len(w.busy) != 0 || len(w.urgent) != 0 {
				t.Fatalf("left: %d free, %d busy, %d waiting", w.free, len(w.busy), len(w.urgent))
			}
		}
	})
}
