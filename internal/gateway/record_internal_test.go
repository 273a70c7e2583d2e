package gateway

import (
	"testing"
	"time"

	"doublenat/natpmp"
)

// TestRecord has what requests tell one after the other, a minute apart, how the
// gateway is doing after each of them, and when it is back.
func TestRecord(t *testing.T) {
	t.Parallel()
	var (
		ok, refused, silent = health{state: StateOK}, health{state: StateRefused}, health{state: StateSilent}
		denied              = health{state: StateFailing, result: natpmp.ResultNotAuthorized}
		network             = health{state: StateFailing, result: natpmp.ResultNetworkFailure}
	)
	type step struct {
		p    purpose
		told health
		want health
		back bool
	}
	for name, steps := range map[string][]step{
		"well from the start":       {{forAddress, ok, ok, false}, {forLease, ok, ok, false}},
		"no address":                {{forAddress, denied, denied, false}, {forLease, ok, ok, false}, {forAddress, network, ok, false}, {forLease, ok, ok, false}},
		"refused and silent":        {{forAddress, refused, refused, false}, {forLease, silent, silent, false}, {forAddress, ok, ok, true}},
		"silent, then no address":   {{forAddress, silent, silent, false}, {forAddress, network, network, false}, {forLease, ok, ok, true}},
		"leases fail":               {{forAddress, ok, ok, false}, {forLease, network, network, false}, {forAddress, ok, network, false}, {forLease, ok, ok, true}},
		"both fail":                 {{forAddress, network, network, false}, {forLease, network, network, false}, {forAddress, ok, ok, true}},
		"a release is no lease":     {{forLease, network, network, false}, {forRelease, ok, network, false}, {forRelease, network, network, false}},
		"a release after silence":   {{forAddress, silent, silent, false}, {forRelease, ok, ok, true}},
		"silence takes all with it": {{forLease, network, network, false}, {forLease, silent, silent, false}, {forAddress, ok, ok, true}},
		"leases failed long ago": {
			{forLease, network, network, false},
			{forAddress, ok, network, false},
			{forAddress, ok, network, false},
			{forAddress, ok, network, false},
			{forAddress, ok, network, false},
			{forAddress, ok, network, false},
			{forAddress, ok, network, false},
			{forAddress, ok, network, false},
			{forAddress, ok, network, false},
			{forAddress, ok, network, false},
			{forAddress, ok, ok, true},
			{forAddress, ok, ok, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r record
			now := time.Now()
			for i, s := range steps {
				r.take(s.p, s.told, now)
				if got, back := r.health(), r.recovered(); got != s.want || back != s.back {
					t.Errorf("after step %d: %+v, back %v; want %+v, %v", i, got, back, s.want, s.back)
				}
				now = now.Add(time.Minute)
			}
		})
	}
}
