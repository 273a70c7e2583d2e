package natpmp_test

import (
	"maps"
	"slices"
	"testing"

	"doublenat/natpmp"
)

// messageWork has every operation on messages, the failing ones included.
func messageWork(tb testing.TB) map[string]func() {
	tb.Helper()
	request := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 1, SuggestedExternalPort: 2, Lifetime: 3}
	response := natpmp.Response{Opcode: natpmp.OpMapTCP, Epoch: 1, InternalPort: 2, ExternalPort: 3, Lifetime: 4}
	address := natpmp.Response{Address: address5678()}
	requestWire, responseWire, addressWire := request.Append(nil), response.Append(nil), address.Append(nil)
	unknown := unhex(tb, "0003 0102030405060708090a")
	buf := make([]byte, 0, 64)
	return map[string]func(){
		"ParseRequest":            func() { _, _ = natpmp.ParseRequest(requestWire) },
		"ParseRequest/refused":    func() { _, _ = natpmp.ParseRequest(unknown) },
		"ParseResponse/map":       func() { _, _ = natpmp.ParseResponse(responseWire) },
		"ParseResponse/address":   func() { _, _ = natpmp.ParseResponse(addressWire) },
		"ParseResponse/refused":   func() { _, _ = natpmp.ParseResponse(requestWire) },
		"Request.Append":          func() { buf = request.Append(buf[:0]) },
		"Response.Append/map":     func() { buf = response.Append(buf[:0]) },
		"Response.Append/address": func() { buf = address.Append(buf[:0]) },
		"AppendVersionError":      func() { buf = natpmp.AppendVersionError(buf[:0], 1, 2) },
		"AppendOpcodeError":       func() { buf = natpmp.AppendOpcodeError(buf[:0], unknown, 2) },
	}
}

// TestMessagesDoNotAllocate runs alone: other goroutines' allocations would count.
func TestMessagesDoNotAllocate(t *testing.T) {
	for name, work := range messageWork(t) {
		if n := testing.AllocsPerRun(100, work); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

// TestAnswersAtOnceDoNotAllocate runs alone, too.
func TestAnswersAtOnceDoNotAllocate(t *testing.T) {
	p, err := natpmp.NewResponder(natpmp.ResponderConfig{
		Handler: natpmp.HandlerFunc(grant), Epoch: natpmp.NewEpoch(),
		AtOnce: func(natpmp.Arrival, natpmp.Request) (natpmp.Reply, bool) { return natpmp.Address(address5678()), true },
	})
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 0, 64)
	for name, packet := range map[string]string{"address": "0000", "version": "0100", "opcode": "0003"} {
		wire := unhex(t, packet)
		if n := testing.AllocsPerRun(100, func() { buf, _ = p.AtOnce(buf[:0], wire, natpmp.Arrival{}) }); n != 0 || len(buf) < 8 {
			t.Errorf("%s: %v allocations, want 0; reply %x", name, n, buf)
		}
	}
}

func BenchmarkMessages(b *testing.B) {
	all := messageWork(b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		work := all[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				work()
			}
		})
	}
}
