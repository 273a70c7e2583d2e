package igd_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"doublenat/igd"
)

// A server shows a gateway to clients, and has a handler map what they ask for. This one is
// asked by the client of this package, which knows where its description is.
func ExampleServer() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	at := netip.MustParseAddrPort(ln.Addr().String())
	server, err := igd.NewServer(igd.ServerConfig{
		Handler:  newPorts(), // a table in memory
		UUID:     [16]byte{1},
		Boot:     func() uint32 { return 1 },
		Location: func(igd.Arrival) netip.AddrPort { return at },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	done := make(chan error)
	go func() { done <- server.Serve(ctx, ln) }()

	client, err := igd.NewClient(igd.Config{Description: "http://" + at.String() + "/igd2.xml"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(client.AddAny(ctx, igd.Mapping{Protocol: igd.UDP, External: 6881, Client: netip.MustParseAddr("127.0.0.1"), Internal: 6881}))
	fmt.Println(client.ExternalAddress(ctx))
	client.Close()
	stop()
	fmt.Println(<-done)
	// Output:
	// 6881 <nil>
	// 5.6.7.8 <nil>
	// <nil>
}
