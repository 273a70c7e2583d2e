package daemon

import (
	"context"
	"net/netip"
	"sync"

	"doublenat/internal/config"
	"doublenat/internal/gateway/upnp"
	"doublenat/natpmp"
	"doublenat/pcp"
	"doublenat/routeros"
)

// RouterAPI returns how the daemon reaches the router's API, for commands that look
// at the same router. The caller may complete it.
func RouterAPI(cfg config.Config) routeros.Config {
	return routeros.Config{
		Address: cfg.Router.String(), TLS: tlsFor(cfg), User: cfg.RouterUser, Password: cfg.RouterPassword,
	}
}

// AskGateway returns what asks the gateway once, in the language that VPN_GATEWAY says, for
// commands that look at the same gateway: for its public address, which is the zero Addr by
// PCP, which tells it with mappings only. Self is the router's address towards it. Nil is a
// pool, and a gateway whose language is not known.
func AskGateway(cfg config.Config, net Network) func(ctx context.Context, self netip.Addr) (netip.Addr, error) {
	net = net.withDefaults()
	switch cfg.GatewayKind {
	case config.GatewayNATPMP:
		return func(ctx context.Context, _ netip.Addr) (netip.Addr, error) {
			return asking(ctx, natpmp.ClientConfig{Dial: net.dialer(cfg)})
		}
	case config.GatewayPCP:
		return func(ctx context.Context, self netip.Addr) (netip.Addr, error) {
			return netip.Addr{}, announce(ctx, pcp.ClientConfig{Dial: net.dialer(cfg), Address: func() netip.Addr { return self }})
		}
	case config.GatewayIGD:
		return func(ctx context.Context, _ netip.Addr) (netip.Addr, error) { return upnp.Ask(ctx, device(cfg, net)) }
	case config.GatewayPool, config.GatewayAuto:
	}
	return nil
}

// asking asks by NAT-PMP for the public address.
func asking(ctx context.Context, cfg natpmp.ClientConfig) (addr netip.Addr, err error) {
	client, err := natpmp.NewClient(cfg)
	if err != nil {
		return netip.Addr{}, err
	}
	during(ctx, client.Run, func(ctx context.Context) { addr, err = client.ExternalAddress(ctx) })
	return addr, err
}

// announce asks by PCP whether somebody is there (RFC 6887 §14.1).
func announce(ctx context.Context, cfg pcp.ClientConfig) error {
	client, err := pcp.NewClient(cfg)
	if err != nil {
		return err
	}
	during(ctx, client.Run, func(ctx context.Context) { err = client.Announce(ctx) })
	return err
}

// during runs a client while something is done with it.
func during(ctx context.Context, run func(context.Context) error, do func(context.Context)) {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	running.Go(func() { _ = run(ctx) }) // it returns nil when it is stopped
	do(ctx)
}
