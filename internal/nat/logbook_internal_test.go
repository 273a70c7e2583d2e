package nat

import (
	"testing"
	"time"
)

// Lines whose times are out of order get no time twice.
func TestLineBudgetOutOfOrder(t *testing.T) {
	t.Parallel()
	var b lineBudget
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	written := 0
	for i := range 1000 {
		at := begin
		if i%2 == 0 {
			at = begin.Add(time.Second)
		}
		if b.take(at, clientLines()) {
			written++
		}
	}
	if want := int(clientLines().burst + clientLines().perSecond); written > want {
		t.Errorf("%d lines in a second, want %d at most", written, want)
	}
}

// As many lines at once as the budget says, and not one more.
func TestLineBudgetBurst(t *testing.T) {
	t.Parallel()
	var b lineBudget
	written := 0
	burst := int(clientLines().burst)
	for range 10 * burst {
		if b.take(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), clientLines()) {
			written++
		}
	}
	if written != burst {
		t.Errorf("%d lines at once, want %d", written, burst)
	}
}
