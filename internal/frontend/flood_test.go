package frontend_test

import (
	"net/netip"
	"testing"

	"doublenat/internal/frontend"
	"doublenat/natpmp"
)

// refusing returns what sends packets that are not let in, by why they are not.
func refusing(tb testing.TB) map[string]func() {
	tb.Helper()
	f, err := frontend.New(frontend.Config{
		Core: &fakeCore{}, External: func() (netip.Addr, bool) { return publicAddr, true },
		ClientRate: 1, NewClientRate: 1, Exclude: func(a netip.Addr) bool { return a == routerAddr.Addr() },
	})
	if err != nil {
		tb.Fatal(err)
	}
	for i := range 100 {
		f.Admit(natpmp.Arrival{Client: netip.AddrPortFrom(clientA, 1)})
		f.Admit(natpmp.Arrival{Client: netip.AddrPortFrom(lanHost(60000+i), 1)})
	}
	source := 0
	return map[string]func(){
		"too fast": func() { f.Admit(natpmp.Arrival{Client: netip.AddrPortFrom(clientA, 1)}) },
		"too many new": func() {
			source = (source + 1) % 50000
			f.Admit(natpmp.Arrival{Client: netip.AddrPortFrom(lanHost(source), 1)})
		},
		"no client":    func() { f.Admit(natpmp.Arrival{Client: netip.MustParseAddrPort("5.6.7.9:1")}) },
		"the router's": func() { f.Admit(natpmp.Arrival{Client: routerAddr}) },
	}
}

// TestRefusalsDoNotAllocate runs alone: other goroutines' allocations would count. One
// packet a second is let in here, which allocates.
func TestRefusalsDoNotAllocate(t *testing.T) { //nolint:paralleltest // see above
	for name, refuse := range refusing(t) {
		if n := testing.AllocsPerRun(1000, refuse); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

func BenchmarkFlood(b *testing.B) {
	for name, refuse := range refusing(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				refuse()
			}
		})
	}
}
