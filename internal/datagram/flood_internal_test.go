package datagram

import (
	"context"
	"net"
	"testing"
)

// flooded is a server on a real socket, and who sends to it.
// It has no goroutines of its own, so that what is measured is the packets' alone.
type flooded struct {
	server *Server
	reader *reader
	sender net.Conn
	buf    []byte
}

func newFlooded(tb testing.TB, admits bool) *flooded {
	tb.Helper()
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	sender, err := net.Dial("udp4", socket.LocalAddr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _, _ = sender.Close(), socket.Close() })
	r := &flooded{reader: &reader{transport: newTransport(socket)}, sender: sender, buf: make([]byte, MaxPacket+1)}
	r.server = serving(tb, &plain{handle: func() []byte { return nil }}, Config{Admit: func(Arrival) bool { return admits }})
	return r
}

// take sends a packet and has the server read it, and drop or answer it.
func (r *flooded) take(ctx context.Context, packet []byte) error {
	if _, err := r.sender.Write(packet); err != nil {
		return err
	}
	n, from, err := r.reader.read(r.buf)
	if err != nil {
		return err
	}
	r.server.receive(ctx, r.reader, r.buf[:n], from)
	return nil
}

// TestRejectedPacketsAllocateLittle: a flood costs one allocation for each packet, in
// package ipv4, and no reply. It runs alone: others' allocations would count.
func TestRejectedPacketsAllocateLittle(t *testing.T) { //nolint:paralleltest // see above
	r := newFlooded(t, false)
	for name, packet := range map[string][]byte{
		"request": []byte("x"), "version": []byte("v"), "response": []byte("r"), "short": []byte("s"), "oversize": make([]byte, MaxPacket+100),
	} {
		n := testing.AllocsPerRun(500, func() {
			if err := r.take(t.Context(), packet); err != nil {
				t.Fatal(err)
			}
		})
		if n > 1 {
			t.Errorf("%s: %v allocations for each packet, want one at most", name, n)
		}
	}
	if got := r.server.Stats(); got.Replies != 0 || got.NotAdmitted < 1000 {
		t.Errorf("stats %+v", got)
	}
}

// TestAnswersAtOnceAllocateNothing: nor does a flood of what is answered without work cost
// memory. It runs alone: others' allocations would count.
func TestAnswersAtOnceAllocateNothing(t *testing.T) { //nolint:paralleltest // see above
	r, packet := newFlooded(t, true), []byte("v")
	n := testing.AllocsPerRun(500, func() {
		if err := r.take(t.Context(), packet); err != nil {
			t.Fatal(err)
		}
	})
	if got := r.server.Stats(); n > 0 || got.Replies < 500 {
		t.Errorf("%v allocations for each packet, want none; stats %+v", n, got)
	}
}

// BenchmarkFlood is what a packet costs that is not let in, its sender's part included.
func BenchmarkFlood(b *testing.B) {
	r := newFlooded(b, false)
	request := make([]byte, 12)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.take(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
}
