package natpmp_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"doublenat/natpmp"
)

func ExampleParseRequest() {
	req, err := natpmp.ParseRequest([]byte{0, 2, 0, 0, 0x1a, 0xe1, 0, 0, 0, 0, 0x0e, 0x10})
	fmt.Printf("%v %d for %d s, %v\n", req.Opcode, req.InternalPort, req.Lifetime, err)

	_, err = natpmp.ParseRequest([]byte{2, 1}) // a PCP client asks
	fmt.Println(err)
	fmt.Printf("%x\n", natpmp.AppendVersionError(nil, 1, 60))
	// Output:
	// tcp 6881 for 3600 s, <nil>
	// natpmp: unsupported version
	// 008100010000003c
}

// A gateway that knows its address and maps nothing.
func ExampleServer() {
	handler := natpmp.HandlerFunc(func(_ context.Context, _ natpmp.Arrival, req natpmp.Request) natpmp.Reply {
		if req.Opcode == natpmp.OpExternalAddress {
			return natpmp.Address(netip.MustParseAddr("5.6.7.8"))
		}
		return natpmp.Failure(natpmp.ResultNotAuthorized)
	})
	server, err := natpmp.NewServer(natpmp.ServerConfig{Handler: handler, Epoch: natpmp.NewEpoch()})
	if err != nil {
		fmt.Println(err)
		return
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	client, err := natpmp.NewClient(natpmp.ClientConfig{Dial: func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp4", conn.LocalAddr().String())
	}})
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	served, ran := make(chan error, 1), make(chan error, 1)
	go func() { served <- server.Serve(ctx, conn) }()
	go func() { ran <- client.Run(ctx) }()

	fmt.Println(client.ExternalAddress(ctx))
	_, err = client.Map(ctx, natpmp.MapRequest{Opcode: natpmp.OpMapTCP, InternalPort: 6881, Lifetime: 3600})
	fmt.Println(err)

	stop()
	fmt.Println(<-served, <-ran)
	// Output:
	// 5.6.7.8 <nil>
	// natpmp: gateway answered the tcp request: not authorized
	// <nil> <nil>
}
