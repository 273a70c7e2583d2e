package pcp_test

import (
	"testing"

	"doublenat/pcp"
)

// TestMessagesDoNotAllocate runs alone: other goroutines' allocations would count.
func TestMessagesDoNotAllocate(t *testing.T) {
	wire := unhex(t, mapBytes+third+failure+filter)
	refused := unhex(t, mapBytes+failure+failure)
	request, err := pcp.ParseRequest(wire)
	if err != nil {
		t.Fatal(err)
	}
	response := pcp.Response{Opcode: pcp.OpMap, Map: request.Map}
	answer := response.Append(nil)
	buf := make([]byte, 0, 2*pcp.MaxPacket)
	for name, work := range map[string]func(){
		"ParseRequest":         func() { _, _ = pcp.ParseRequest(wire) },
		"ParseRequest/refused": func() { _, err := pcp.ParseRequest(refused); pcp.ResultOf(err) },
		"ParseResponse":        func() { _, _ = pcp.ParseResponse(answer) },
		"VersionOf":            func() { pcp.VersionOf(answer) },
		"Request.Append":       func() { buf = request.Append(buf[:0]) },
		"Response.Append":      func() { buf = response.Append(buf[:0]) },
		"AppendError":          func() { buf = pcp.AppendError(buf[:0], refused, 6, 1, 2) },
	} {
		if n := testing.AllocsPerRun(100, work); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}
