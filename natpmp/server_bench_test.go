package natpmp_test

import (
	"context"
	"net"
	"testing"
	"time"

	"doublenat/natpmp"
)

// BenchmarkServer is one client that asks and waits, over the loopback interface.
func BenchmarkServer(b *testing.B) {
	server, err := natpmp.NewServer(natpmp.ServerConfig{Handler: natpmp.HandlerFunc(grant), Epoch: natpmp.NewEpoch()})
	if err != nil {
		b.Fatal(err)
	}
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer socket.Close()
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, socket) }()
	client, err := net.Dial("udp4", socket.LocalAddr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	if err := client.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		b.Fatal(err)
	}

	request := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 4000, Lifetime: 60}.Append(nil)
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := client.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}
