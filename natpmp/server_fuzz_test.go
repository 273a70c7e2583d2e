package natpmp_test

import (
	"context"
	"testing"

	"doublenat/natpmp"
)

// FuzzServer lets the server eat any sequence of packets, with a handler that
// decides anything: no panic, at most one reply to a request, none to anything
// else, and every reply is one that a client can read.
//
// Each byte that is the length of a packet is followed by that packet.
func FuzzServer(f *testing.F) {
	f.Add(unhex(f, "02 0000  0c 0001 0000 1234 5678 00000e10  02 0200  02 0003  04 0080 0000  00"))
	f.Add(unhex(f, "0c 0002 0000 0000 0000 00000000  01 00  0b 0001 0000 1234 5678 00000e"))
	f.Fuzz(func(t *testing.T, script []byte) {
		s, err := natpmp.NewServer(natpmp.ServerConfig{Epoch: natpmp.NewEpoch(), Handler: natpmp.HandlerFunc(anyReply)})
		if err != nil {
			t.Fatal(err)
		}
		conn := newMemPacketConn()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, conn) }()

		answerable := 0
		for n := 0; len(script) > 0 && n < 256; n++ {
			size := min(int(script[0]), len(script)-1)
			packet := script[1 : 1+size]
			script = script[1+size:]
			if len(packet) >= 2 && packet[1] < 128 {
				answerable++
			}
			conn.in <- datagram{data: packet, addr: lanClient()}
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatalf("Serve: %v", err)
		}
		if len(conn.out) > answerable {
			t.Errorf("%d replies to %d requests", len(conn.out), answerable)
		}
		for range len(conn.out) {
			reply := (<-conn.out).data
			if _, err := natpmp.ParseResponse(reply); err != nil {
				t.Errorf("reply %x: %v", reply, err)
			}
		}
	})
}

// anyReply is a handler whose decision depends on the request, and often does not fit it.
func anyReply(_ context.Context, _ natpmp.Arrival, req natpmp.Request) natpmp.Reply {
	switch req.SuggestedExternalPort % 6 {
	case 0:
		return natpmp.Address(address5678())
	case 1:
		return natpmp.Mapped(req.InternalPort, req.Lifetime)
	case 2:
		return natpmp.Deleted()
	case 3:
		return natpmp.Failure(natpmp.ResultCode(req.InternalPort))
	case 4:
		return natpmp.Silence()
	default:
		panic("a bug")
	}
}
