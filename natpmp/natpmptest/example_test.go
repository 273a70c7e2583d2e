package natpmptest_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// A test starts a gateway on a network in memory, asks it for a port, and looks at
// what the gateway made of it.
func ExampleGateway() {
	network := natpmptest.NewNetwork(natpmptest.NetworkConfig{Seed: 1})
	defer network.Close()
	gateway, err := natpmptest.New(natpmptest.Config{Profile: natpmptest.Proton()})
	if err != nil {
		fmt.Println(err)
		return
	}
	gateway.GrantNext(40000)
	addr := netip.MustParseAddrPort("10.2.0.1:5351")
	conn, err := network.Listen(addr)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { _ = gateway.Serve(ctx, conn) })
	defer serving.Wait()
	defer cancel()

	client, err := network.Dial(netip.MustParseAddrPort("10.2.0.2:0"), addr)
	if err != nil {
		fmt.Println(err)
		return
	}
	req := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 20000, Lifetime: 3600}
	if _, err := client.Write(req.Append(nil)); err != nil {
		fmt.Println(err)
		return
	}
	reply := make([]byte, 16)
	if _, err := client.Read(reply); err != nil {
		fmt.Println(err)
		return
	}
	resp, err := natpmp.ParseResponse(reply)
	fmt.Printf("external port %d for %d seconds, %v\n", resp.ExternalPort, resp.Lifetime, err)
	m, ok := gateway.Lookup(natpmp.OpMapTCP, 40000)
	fmt.Println(m.Target, ok)

	// Output:
	// external port 40000 for 60 seconds, <nil>
	// 10.2.0.2:20000 true
}
