package daemon_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"

	"doublenat/natpmp"
)

// The flood on a real socket. It is what a machine does in a second or two.
const (
	socketSources    = 10_000
	socketPerSource  = 10
	socketSenders    = 2
	socketAllocs     = 10  // for each packet, those of its sender included
	socketGoroutines = 400 // more than before
)

// TestFloodOnASocket is the flood against the kernel's socket, from 10,000 addresses of
// the loopback network: what [TestFlood] has in memory and in virtual time cannot show
// what packets cost, nor what becomes of those for which the socket has no room. An
// honest client with a mapping is answered all the same. What is judged are counts; how
// fast it is, natpmp.BenchmarkFlood tells. It prints its figures; run it with -v.
//
// It is not parallel to others, because it counts the allocations of the process.
func TestFloodOnASocket(t *testing.T) { //nolint:paralleltest // see above
	listen, honest := loopback(t), loopback(t)
	b, at := onSocket(t, netip.AddrPortFrom(listen, 0).String(), map[string]string{"NEW_CLIENT_RATE": "1"})
	await(t, honest, at)
	client, ask := honestClient(t, honest, at)
	first := ask()

	var before, after runtime.MemStats
	routines, most := runtime.NumGoroutine(), 0
	runtime.ReadMemStats(&before)
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		floodSocket(t, at)
	}()
	renewals := 0
	for over := false; !over || renewals < 10; renewals++ {
		if again := ask(); again.ExternalPort != first.ExternalPort {
			t.Errorf("renewal %d was answered %+v", renewals, again)
		}
		most = max(most, runtime.NumGoroutine()-routines)
		select {
		case <-flooded:
			over = true
		default:
		}
	}
	runtime.ReadMemStats(&after)

	const packets = socketSources * socketPerSource
	server, clients := b.Daemon().PacketStats()
	allocs := (after.Mallocs - before.Mallocs) / packets
	t.Logf("%d packets from %d sources: %d read, %d not let in, %d clients remembered; %d renewals, %d packets of them repeated; %d allocations for each packet, goroutines +%d",
		packets, socketSources, server.Received, server.NotAdmitted, clients.Visitors, renewals, client.Stats().Retransmitted, allocs, most)
	if server.Received < packets/50 || server.NotAdmitted < server.Received/2 {
		t.Errorf("that was no flood: %+v", server)
	}
	if allocs > socketAllocs || most > socketGoroutines {
		t.Errorf("%d allocations for each packet and %d goroutines, want at most %d and %d", allocs, most, socketAllocs, socketGoroutines)
	}
	if got := len(b.Daemon().Mappings()); got > clients.Visitors*socketPerSource+1 || clients.Visitors > socketSources/10 {
		t.Errorf("%d mappings of %d clients", got, clients.Visitors)
	}
}

// honestClient returns a client and what maps and renews one port of it, repeating as
// RFC 6886 §3.1 has it.
func honestClient(t *testing.T, from netip.Addr, to netip.AddrPort) (*natpmp.Client, func() natpmp.Mapping) {
	t.Helper()
	client := clientBy(t, func() (net.Conn, error) {
		return net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(to))
	})
	req := natpmp.MapRequest{Opcode: natpmp.OpMapTCP, InternalPort: 6881, Lifetime: 3600}
	return client, func() natpmp.Mapping {
		t.Helper()
		m, err := client.Map(t.Context(), req)
		if err != nil {
			t.Fatalf("the honest client: %v", err)
		}
		req.SuggestedExternalPort = m.ExternalPort
		return m
	}
}

// clientBy returns a client over a socket of its own, which runs until the test ends.
func clientBy(t *testing.T, dial func() (net.Conn, error)) *natpmp.Client {
	t.Helper()
	client, err := natpmp.NewClient(natpmp.ClientConfig{Dial: func(context.Context) (net.Conn, error) { return dial() }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return client
}

// floodSocket sends from each source in turn, as fast as the senders can.
func floodSocket(t *testing.T, to netip.AddrPort) {
	t.Helper()
	var senders sync.WaitGroup
	for first := range socketSenders {
		senders.Go(func() {
			for i := first; i < socketSources; i += socketSenders {
				if err := sendFrom(i, to); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	senders.Wait()
}

// sendFrom sends the packets of one source, each for another mapping.
func sendFrom(source int, to netip.AddrPort) error {
	from := netip.AddrFrom4([4]byte{127, 100, byte(source >> 8), byte(source)})
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
	if err != nil {
		return err
	}
	defer conn.Close()
	packet := natpmp.Request{Opcode: natpmp.OpMapTCP, Lifetime: 7200}.Append(nil)
	for port := range uint16(socketPerSource) {
		binary.BigEndian.PutUint16(packet[4:], 1+port)
		if _, err := conn.WriteToUDPAddrPort(packet, to); err != nil {
			return err
		}
	}
	return nil
}
