package gateway

import (
	"errors"
	"testing"
	"time"

	"doublenat/internal/nat"
	"doublenat/natpmp"
)

// A success without a port or a time is a failure. One with a time may have made a
// lease, which has to be given back.
func TestGranted(t *testing.T) {
	t.Parallel()
	for m, ambiguous := range map[natpmp.Mapping]bool{
		{}:                    false,
		{ExternalPort: 40000}: false,
		{Lifetime: 60}:        true,
	} {
		lease, err := granted(m)
		e, ok := errors.AsType[*nat.Error](err)
		if !ok || e.Ambiguous != ambiguous || lease != (nat.Lease{}) {
			t.Errorf("%+v: %+v, %+v, want an error with Ambiguous %v", m, lease, err, ambiguous)
		}
	}
	want := nat.Lease{ExternalPort: 40000, Lifetime: maxLifetime * time.Second}
	if got, err := granted(natpmp.Mapping{ExternalPort: 40000, Lifetime: 1<<32 - 1}); got != want || err != nil {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}
