package pcp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
	"doublenat/pcp/pcptest"
)

// A program that wants to be reached asks its gateway for a port. The gateway of this
// example is one for tests, on a socket of this host.
func ExampleClient() {
	gateway, err := pcptest.New(pcptest.RFC(), natpmptest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer socket.Close()
	client, err := pcp.NewClient(pcp.ClientConfig{
		Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "udp4", socket.LocalAddr().String())
		},
		Address: func() netip.Addr { return netip.MustParseAddr("127.0.0.1") },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- gateway.Serve(ctx, socket) }()
	go func() { ended <- client.Run(ctx) }()

	m, err := client.Map(ctx, pcp.MapRequest{Protocol: pcp.TCP, InternalPort: 6881, ExternalPort: 51413, Lifetime: 60})
	fmt.Println(m.ExternalAddress, m.ExternalPort, m.Lifetime, err)
	fmt.Println(client.Unmap(ctx, pcp.TCP, 6881))
	stop()
	fmt.Println(errors.Join(<-ended, <-ended))
	// Output:
	// 5.6.7.8 51413 120 <nil>
	// <nil>
	// <nil>
}
