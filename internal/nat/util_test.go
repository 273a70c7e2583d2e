package nat_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

var cmpAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func wantReason(t *testing.T, err error, want nat.Reason) {
	t.Helper()
	var e *nat.Error
	if !errors.As(err, &e) || e.Reason != want {
		t.Errorf("got error %v, want reason %v", err, want)
	}
}

func contextFor(w *world, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(w.t.Context(), d)
}
