package daemon

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A question that is not answered is asked once, and answers late ones count.
func TestProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p probe
		asked := 0
		free := make(chan struct{})
		stuck := func() {
			asked++
			<-free
		}
		if err := p.run(func() {}); err != nil {
			t.Error(err)
		}
		for range 3 {
			began := time.Now()
			err := p.run(stuck)
			if err == nil || !strings.Contains(err.Error(), "does not say how it is") || time.Since(began) > probeTime {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		}
		synctest.Wait()
		if asked != 1 {
			t.Errorf("asked %d times: each question that waits is a goroutine", asked)
		}
		close(free)
		synctest.Wait()
		if err := p.run(func() {}); err != nil {
			t.Error(err)
		}
	})
}
