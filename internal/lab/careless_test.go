package lab_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"doublenat/internal/daemon"
	"doublenat/natpmp"
	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

// careless is a daemon that does the least that makes a demo pass, or less. The
// lab is tested with it as scales are tested with weights.
type careless struct {
	// forgetsRule leaves the router alone and says that all is well.
	forgetsRule bool
	// wrongClient makes rules that lead to another port.
	wrongClient bool
	// writesAtRenewal makes a change on the router at every request.
	writesAtRenewal bool
	// keepsRule and keepsLease are deletions that stop halfway.
	keepsRule, keepsLease bool
	// leavesAll leaves rules and leases behind when it stops, and leavesRules rules only.
	leavesAll, leavesRules bool
	// wrongAddress answers with another public address.
	wrongAddress bool
	// ends makes it end by itself at the first request.
	ends bool

	gateway *natpmp.Client
	router  *routeros.Client
	stop    context.CancelCauseFunc

	mu    sync.Mutex
	rules map[ask]string
}

// ask is what a client asks for.
type ask struct {
	opcode natpmp.Opcode
	port   uint16
}

// inner is the inner port of a client's port.
func (a ask) inner() uint16 { return 20000 + a.port%1000 }

// run is the daemon; it fits Options.Daemon.
func (c *careless) run(ctx context.Context, o daemon.Options) error {
	cfg := o.Config
	ctx, c.stop = context.WithCancelCause(ctx)
	defer c.stop(nil)
	c.rules = make(map[ask]string)
	var err error
	if c.gateway, err = natpmp.NewClient(natpmp.ClientConfig{
		Dial: func(ctx context.Context) (net.Conn, error) { return o.Network.DialGateway(ctx, cfg.Gateway) },
	}); err != nil {
		return err
	}
	if c.router, err = routeros.New(routeros.Config{Address: cfg.Router.String(), User: cfg.RouterUser, Password: cfg.RouterPassword}); err != nil {
		return err
	}
	server, err := natpmp.NewServer(natpmp.ServerConfig{Handler: natpmp.HandlerFunc(c.answer), Epoch: natpmp.NewEpoch()})
	if err != nil {
		return err
	}
	conn, err := net.ListenPacket("udp4", cfg.Listen.String())
	if err != nil {
		return err
	}
	defer conn.Close()

	clients, stopClients := context.WithCancel(context.WithoutCancel(ctx))
	var working sync.WaitGroup
	working.Go(func() { _ = c.gateway.Run(clients) })
	working.Go(func() { _ = c.router.Run(clients) })
	err = server.Serve(ctx, conn)
	if !c.leavesAll {
		err = errors.Join(err, c.forgetAll(clients))
	}
	stopClients()
	working.Wait()
	if cause := context.Cause(ctx); c.ends {
		return cause
	}
	return err
}

// answer does what a client asks for.
func (c *careless) answer(ctx context.Context, from natpmp.Arrival, req natpmp.Request) natpmp.Reply {
	reply, err := c.decide(ctx, from.Client, req)
	if err != nil {
		return natpmp.Failure(natpmp.ResultNetworkFailure)
	}
	return reply
}

func (c *careless) decide(ctx context.Context, client netip.AddrPort, req natpmp.Request) (natpmp.Reply, error) {
	switch {
	case c.ends:
		c.stop(fmt.Errorf("had enough"))
		return natpmp.Reply{}, fmt.Errorf("had enough")
	case c.wrongAddress:
		return natpmp.Address(netip.MustParseAddr("9.9.9.9")), nil
	case req.Opcode == natpmp.OpExternalAddress:
		address, err := c.gateway.ExternalAddress(ctx)
		return natpmp.Address(address), err
	case req.Lifetime == 0:
		return natpmp.Deleted(), c.forget(ctx, ask{req.Opcode, req.InternalPort})
	}
	asked := ask{req.Opcode, req.InternalPort}
	lease, err := c.gateway.Map(ctx, natpmp.MapRequest{
		Opcode: req.Opcode, InternalPort: asked.inner(), SuggestedExternalPort: req.SuggestedExternalPort, Lifetime: req.Lifetime,
	})
	if err == nil {
		err = c.addRule(ctx, asked, netip.AddrPortFrom(client.Addr(), req.InternalPort))
	}
	return natpmp.Mapped(lease.ExternalPort, lease.Lifetime), err
}

// forgetAll takes everything down.
func (c *careless) forgetAll(ctx context.Context) error {
	c.mu.Lock()
	asked := slices.Collect(maps.Keys(c.rules))
	c.mu.Unlock()
	var err error
	for _, a := range asked {
		c.keepsRule = c.leavesRules
		err = errors.Join(err, c.forget(ctx, a))
	}
	return err
}

// forget takes both layers down, or one of them.
func (c *careless) forget(ctx context.Context, a ask) error {
	c.mu.Lock()
	id := c.rules[a]
	delete(c.rules, a)
	c.mu.Unlock()
	if !c.keepsRule && id != "" {
		remove := routeros.Command{Path: "/ip/firewall/nat/remove", Args: []routeros.Attr{{Name: ".id", Value: id}}}
		if _, err := c.router.Do(ctx, remove); err != nil {
			return err
		}
	}
	if c.keepsLease {
		return nil
	}
	return c.gateway.Unmap(ctx, a.opcode, a.inner())
}

// addRule makes a rule, once for each protocol.
func (c *careless) addRule(ctx context.Context, a ask, to netip.AddrPort) error {
	c.mu.Lock()
	id := c.rules[a]
	c.mu.Unlock()
	if c.forgetsRule || id != "" && !c.writesAtRenewal {
		return nil
	}
	if c.wrongClient {
		to = netip.AddrPortFrom(to.Addr(), to.Port()+1)
	}
	protocol := "tcp"
	if a.opcode == natpmp.OpMapUDP {
		protocol = "udp"
	}
	reply, err := c.router.Do(ctx, routeros.Command{Path: "/ip/firewall/nat/add", Args: []routeros.Attr{
		{Name: "chain", Value: "dstnat"},
		{Name: "action", Value: "dst-nat"},
		{Name: "protocol", Value: protocol},
		{Name: "in-interface", Value: routerostest.TunnelInterface},
		{Name: "dst-port", Value: strconv.Itoa(int(a.inner()))},
		{Name: "to-addresses", Value: to.Addr().String()},
		{Name: "to-ports", Value: strconv.Itoa(int(to.Port()))},
	}})
	if err != nil {
		return err
	}
	id = reply.Done.Value("ret")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rules[a] = id
	return nil
}
