package nat_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"doublenat/internal/nat"
)

// full returns an engine with so many mappings, whose layers are all well, and the time at
// which the last was made.
func full(tb testing.TB, mappings int) (*nat.Engine, time.Time) {
	tb.Helper()
	e, err := nat.NewEngine(nat.Config{
		MaxMappings: 65000, MaxMappingsPerClient: 65000, FirstInnerPort: 5352, LastInnerPort: 65535,
		Random: func() float64 { return 0 }, AnswerBudget: time.Hour,
	})
	if err != nil {
		tb.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e.Step(now, nat.Start)
	e.Step(now, nat.ReadDone{})
	for i := range mappings {
		if !renewed(e, now, keyOf(i)) {
			tb.Fatalf("mapping %d was not made", i)
		}
	}
	return e, now
}

func keyOf(i int) nat.Key {
	return nat.Key{Client: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Protocol: nat.TCP, InternalPort: 6881}
}

// renewed has a mapping made or renewed, by a gateway and a router that do all that they
// are asked, and says whether its client was told so.
func renewed(e *nat.Engine, now time.Time, key nat.Key) bool {
	told := false
	var todo [1]nat.Input
	todo[0] = nat.Ask{Ticket: 1, Request: nat.MapRequest{Key: key, Lifetime: time.Hour}}
	for todo[0] != nil {
		in := todo[0]
		todo[0] = nil
		for _, a := range e.Step(now, in) {
			switch a := a.(type) {
			case nat.LeaseAction:
				todo[0] = nat.LeaseDone{Op: a.Op, Lease: nat.Lease{ExternalPort: a.Request.InnerPort, Lifetime: time.Hour}}
			case nat.AddAction:
				todo[0] = nat.RuleDone{Op: a.Op, Rule: a.Rule}
			case nat.AnswerAction:
				told = a.Err == nil
			}
		}
	}
	return told
}

// BenchmarkStep renews mappings, one after the other.
func BenchmarkStep(b *testing.B) {
	for _, n := range []int{100, 10000, 60000} {
		b.Run(fmt.Sprintf("renewal/%d", n), func(b *testing.B) {
			e, now := full(b, n)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				now = now.Add(time.Millisecond)
				if !renewed(e, now, keyOf(i%n)) {
					b.Fatal("not renewed")
				}
			}
		})
	}
}
