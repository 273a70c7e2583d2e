package check

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/natpmp"
)

// onGateway is embedded in probes of the VPN gateway.
type onGateway struct{}

// Hop returns the gateway.
func (onGateway) Hop() nat.Hop { return nat.HopGateway }

// answers asks the gateway for its public address.
type answers struct{ onGateway }

// Name implements Probe.
func (answers) Name() string { return "gateway" }

// Run implements Probe.
func (answers) Run(ctx context.Context, v *visit) ([]Finding, error) {
	var external netip.Addr
	err := asking(ctx, v.cfg.DialGateway, func(ctx context.Context, client *natpmp.Client) (err error) {
		ctx, cancel := context.WithTimeout(ctx, v.cfg.Patience)
		defer cancel()
		external, err = client.ExternalAddress(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	if external.IsUnspecified() {
		return []Finding{{Level: Fail, Seen: "the gateway has no public address", Advice: remedy.ForResult(natpmp.ResultNetworkFailure)}}, nil
	}
	v.external = external
	return []Finding{good("%v answers NAT-PMP", v.cfg.Gateway)}, nil
}

// asking runs f with a client that is connected, and ends the client.
func asking(ctx context.Context, dial func(context.Context) (net.Conn, error), f func(context.Context, *natpmp.Client) error) error {
	client, err := natpmp.NewClient(natpmp.ClientConfig{Dial: dial})
	if err != nil {
		return err
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	running, stop := context.WithCancel(ctx)
	defer stop()
	serving.Go(func() { _ = client.Run(running) }) // it returns nil when it is stopped
	return f(ctx, client)
}

// address compares the public address with the router's own.
type address struct{ onGateway }

// The kinds of trouble with the public address.
const (
	// KindPrivate is a gateway behind another NAT.
	KindPrivate remedy.Kind = "private address"
	// KindOwnAddress is a gateway whose public address the router itself has.
	KindOwnAddress remedy.Kind = "own address"
)

// Name implements Probe.
func (address) Name() string { return "address" }

// Run implements Probe.
func (address) Run(ctx context.Context, v *visit) ([]Finding, error) {
	if !v.external.IsValid() {
		return nil, nil
	}
	if notPublic(v.external) {
		return []Finding{bad(Warn, KindPrivate,
			fmt.Sprintf("the gateway's address %v is not one of the Internet: it is behind another NAT", v.external),
			"nothing on the Internet reaches these ports; choose another VPN server")}, nil
	}
	if v.api == nil || v.survey.InInterface == "" {
		return []Finding{good("the public address is %v", v.external)}, nil
	}
	// From here on the router only helps; what it does not say is not the gateway's fault.
	exits, err := v.exits(ctx, mainTable)
	for _, name := range exits {
		own, errOwn := v.addresses(ctx, name)
		if err == nil && errOwn == nil && name != v.survey.InInterface && slices.Contains(own, v.external) {
			return []Finding{bad(Fail, KindOwnAddress,
				fmt.Sprintf("%v is the router's own address on %s: what answers is not at the far end of the tunnel", v.external, name),
				"check VPN_GATEWAY, and the route to it")}, nil
		}
	}
	inside, err := v.addresses(ctx, v.survey.InInterface)
	if err != nil || len(inside) == 0 {
		return []Finding{good("the public address is %v", v.external)}, nil //nolint:nilerr // the router only helps here
	}
	return []Finding{good("the public address is %v, that of the tunnel %v", v.external, inside[0])}, nil
}

// notPublic reports whether an address cannot be reached from the Internet.
func notPublic(a netip.Addr) bool {
	return !a.IsGlobalUnicast() || a.IsPrivate() || netip.MustParsePrefix("100.64.0.0/10").Contains(a)
}
