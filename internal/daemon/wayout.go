package daemon

import (
	"bytes"
	"cmp"
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"doublenat/igd"
	"doublenat/internal/config"
	"doublenat/internal/gateway"
	"doublenat/internal/gateway/pool"
	"doublenat/internal/gateway/upnp"
	"doublenat/internal/nat"
	"doublenat/internal/ops"
	"doublenat/internal/realm"
	"doublenat/internal/remedy"
)

// wayOut is how ports come from beyond the router.
type wayOut interface {
	nat.Gateway
	// Run does what goes on beside leases until the context ends.
	Run(ctx context.Context) error
	// External returns the public address from memory, false while it is not known.
	External() (netip.Addr, bool)
	// Settled is closed once it is certain whether there is a public address.
	Settled() <-chan struct{}
	// Stats returns how the way out is doing.
	Stats() gateway.Stats
}

// adopter is a way out that wants to know when the core has adopted what it found.
type adopter interface{ Adopted() }

// makeGateway makes the way out that VPN_GATEWAY says.
func (d *Daemon) makeGateway(Options) (err error) {
	switch d.cfg.GatewayKind {
	case config.GatewayAuto:
		d.gateway = newAuto(autoConfig{
			gateway: d.router.Gateway, languages: d.languages, describe: d.foundGateway, held: d.held,
			onMoved: d.gatewayReplaced, onAddressChange: d.addressChanged, log: d.log.With("component", "gateway"),
		})
	case config.GatewayPool:
		d.pool = d.newPool()
		d.gateway = d.pool
	case config.GatewayNATPMP, config.GatewayPCP, config.GatewayIGD:
		d.gateway, err = d.newGateway(d.cfg)
	}
	return err
}

// foundGateway says which gateway the router's default route has; "" where one is configured,
// and while it is not known.
func (d *Daemon) foundGateway(at netip.Addr) string {
	if !d.cfg.FindsGateway() || !at.IsValid() {
		return ""
	}
	return upstream(d.cfg.At(at), nil) + ", by the router's default route"
}

// held returns the mappings for which this run may have leases.
func (d *Daemon) held() []nat.Mapping {
	if d.notebook != nil {
		return nil
	}
	return d.service.Mappings()
}

// gatewayMoved is told by the router that the gateway of its default route is another one.
func (d *Daemon) gatewayMoved() {
	if way, ok := d.gateway.(*auto); ok {
		way.Moved()
	}
}

// gatewayReplaced asks another gateway for all leases, as one that has restarted: it has
// none of them. What failed before is tried at once.
func (d *Daemon) gatewayReplaced() {
	d.monitor.GatewayReplaced()
	d.service.GatewayLost()
	d.service.GatewayBack()
}

// languages are those in which a gateway may be asked, in the order in which they are liked:
// NAT-PMP tells its address without a mapping, and UPnP costs a box most.
func (d *Daemon) languages(at netip.Addr) (all []language) {
	for _, kind := range []config.GatewayKind{config.GatewayNATPMP, config.GatewayPCP, config.GatewayIGD} {
		cfg := d.cfg.At(at).Of(kind)
		ask, self := AskGateway(cfg, d.net), d.towards(at)
		all = append(all, language{
			kind: kind,
			ask:  func(ctx context.Context) error { _, err := ask(ctx, self()); return err },
			make: func() (wayOut, error) { return d.newGateway(cfg) },
		})
	}
	return all
}

// newGateway makes a way out that is asked.
func (d *Daemon) newGateway(cfg config.Config) (wayOut, error) {
	switch cfg.GatewayKind {
	case config.GatewayPCP:
		secret, err := d.nonceSecret()
		if err != nil {
			return nil, err
		}
		return gateway.NewPCP(gateway.PCPConfig{Config: d.asked(cfg), Own: d.towards(cfg.Gateway.Addr()), Secret: secret})
	case config.GatewayIGD:
		return d.newDevice(cfg)
	case config.GatewayNATPMP, config.GatewayPool, config.GatewayAuto:
	}
	return gateway.New(d.asked(cfg))
}

// asked is what a gateway is made from that is asked packet by packet.
func (d *Daemon) asked(cfg config.Config) gateway.Config {
	return gateway.Config{
		Dial: d.net.dialer(cfg), Window: d.cfg.GatewayWindow, Symmetric: d.cfg.Symmetric,
		Address: cfg.Gateway.Addr(), ListenAnnouncements: d.net.ListenAnnouncements,
		OnStateLost:     func() { d.service.GatewayLost() },
		OnClockStood:    func() { d.service.ClockStood() },
		OnBack:          func() { d.service.GatewayBack() },
		OnAddressChange: d.addressChanged,
		Observe:         d.took(ops.HopGateway),
		Link:            func() remedy.Link { return d.router.Status().Link() },
		Logger:          d.log.With("component", "gateway"),
	}
}

// nonceRounds makes a guess at the password from a nonce, which the gateway sees, expensive.
const nonceRounds = 50_000

// nonceSecret returns what the nonces of PCP are made from. It outlives a restart without
// being stored anywhere: a strict gateway refuses to renew what has another nonce. Without a
// password there is none, and nonces are drawn by chance.
func (d *Daemon) nonceSecret() ([]byte, error) {
	password := d.cfg.RouterPassword.Reveal()
	if password == "" {
		return nil, nil
	}
	return pbkdf2.Key(sha256.New, password, []byte("doublenat pcp "+d.cfg.Instance), nonceRounds, sha256.Size)
}

// newDevice makes the way out of a box that speaks UPnP.
func (d *Daemon) newDevice(cfg config.Config) (*upnp.Gateway, error) {
	return upnp.New(upnp.Config{
		Device: device(cfg, d.net), Self: d.towards(cfg.Gateway.Addr()), Instance: d.cfg.Instance,
		OnStateLost:     func() { d.service.GatewayLost() },
		OnBack:          func() { d.service.GatewayBack() },
		OnAddressChange: d.addressChanged,
		Observe:         d.took(ops.HopGateway),
		Logger:          d.log.With("component", "gateway"),
	})
}

// device says where a box is and how it is reached.
func device(cfg config.Config, net Network) igd.Config {
	at := igd.Config{Gateway: cfg.Gateway.Addr(), Description: cfg.Description, Dial: net.DialDevice, ListenSearch: net.ListenSearch}
	if at.Description == "" {
		at.SearchPort = cfg.Gateway.Port()
	}
	return at
}

// adopted tells the way out when the core has adopted what it found: what else has our name at
// a device then was left by a run before, and nobody wants it.
func (d *Daemon) adopted(ctx context.Context) {
	way, ok := d.gateway.(adopter)
	if !ok || d.notebook != nil {
		return
	}
	for _, ready := range []<-chan struct{}{d.service.Ready(), d.gateway.Settled()} {
		select {
		case <-ready:
		case <-ctx.Done():
			return
		}
	}
	way.Adopted()
}

// towards returns what returns the router's address on the interface to a gateway, which is
// the one that it knows us by; the zero Addr while that is not known. Nothing is asked then:
// also where nothing is to be changed. A gateway that is left for another one is told
// the last one, to which it granted what it gets back.
func (d *Daemon) towards(at netip.Addr) func() netip.Addr {
	if d.notebook != nil {
		return func() netip.Addr { return netip.Addr{} }
	}
	var last atomic.Pointer[netip.Addr]
	return func() netip.Addr {
		self, gateway := d.router.Self()
		switch left := last.Load(); {
		case gateway == at:
			last.Store(&self)
			return self
		case gateway.IsValid() && left != nil:
			return *left
		default:
			return netip.Addr{}
		}
	}
}

// newPool makes the way out of a pool: the address by hand is believed before the router's.
func (d *Daemon) newPool() *pool.Gateway {
	cfg := pool.Config{
		Pool: d.cfg.Pool, OnPool: func(p *nat.Pool) { d.service.SetPool(p) },
		OnAddressChange: d.addressChanged, Logger: d.log.With("component", "pool"),
	}
	if d.cfg.PoolFile != "" {
		cfg.Read = poolReader(d.cfg.PoolFile)
	}
	if a := d.cfg.PublicAddress; a.IsValid() {
		cfg.Sources = []pool.Source{{Name: "PUBLIC_ADDRESS", Look: func(context.Context) (netip.Addr, error) { return a, nil }}}
		return pool.New(cfg)
	}
	cfg.Sources = []pool.Source{
		{Name: "the router's interface", Look: func(context.Context) (netip.Addr, error) { return d.ownAddress() }},
		{Name: "/ip/cloud of the router", Look: d.router.CloudAddress},
	}
	if d.cfg.STUNServer != (config.Endpoint{}) {
		d.reflection = d.newReflection()
		cfg.Sources = append(cfg.Sources, d.reflection.source())
	}
	return pool.New(cfg)
}

// ownAddress returns the router's public address on the interface at which ports arrive.
func (d *Daemon) ownAddress() (netip.Addr, error) {
	own := d.router.OwnAddresses()
	if own == nil {
		return netip.Addr{}, errNotLooked
	}
	for _, a := range own {
		if realm.Public(a) {
			return a, nil
		}
	}
	return netip.Addr{}, nil
}

var errNotLooked = errors.New("the router was not looked at yet")

// poolReader returns what reads a pool from a file whenever that has changed.
func poolReader(name string) func() (*nat.Pool, bool, error) {
	last, _ := config.ReadFile(name) // It was read when the configuration was.
	return func() (*nat.Pool, bool, error) {
		text, err := config.ReadFile(name)
		if err != nil {
			return nil, false, err
		}
		if bytes.Equal(text, last) {
			return nil, false, nil
		}
		ports, err := config.ParsePool(string(text))
		if err != nil {
			return nil, false, fmt.Errorf("%s %w", name, err)
		}
		p, err := nat.NewPool(ports)
		if err != nil {
			return nil, false, err
		}
		last = text
		return p, true, nil
	}
}

// upstream says for people where ports come from.
func upstream(cfg config.Config, p *nat.Pool) string {
	switch cfg.GatewayKind {
	case config.GatewayNATPMP:
		return cfg.Gateway.String()
	case config.GatewayPCP, config.GatewayIGD, config.GatewayAuto:
		if cfg.FindsGateway() {
			return "auto: (the gateway of the router's default route)"
		}
		return cmp.Or(cfg.Description, cfg.GatewayKind.String()+"://"+cfg.Gateway.String())
	case config.GatewayPool:
	}
	return fmt.Sprintf("a pool of %d ports at %s", p.Len(), cfg.InInterface)
}
