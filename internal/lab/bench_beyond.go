package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"doublenat/igd/igdtest"
	"doublenat/internal/config"
	"doublenat/internal/nat"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp/pcptest"
)

// Beyond says what a [Bench] has beyond its router. The zero value is a gateway that speaks
// NAT-PMP; at most one of the fields may be set.
type Beyond struct {
	// PCP is a gateway that speaks PCP and behaves so.
	PCP *pcptest.Profile
	// UPnP is a box that speaks UPnP and behaves so.
	UPnP *igdtest.Profile
	// PoolDir is a directory for the file of a pool: ports arrive at the tunnel address
	// and nobody is asked. They are those of [Bench.Forward], at first none.
	PoolDir string
}

// poolFile returns where the ports of a pool are written down.
func (b Beyond) poolFile() string { return filepath.Join(b.PoolDir, "ports") }

// environ has what the daemon has to know of it.
func (b Beyond) environ(at spot) map[string]string {
	address := at.gateway.Addr().String()
	switch {
	case b.PCP != nil:
		return map[string]string{"VPN_GATEWAY": "pcp://" + address}
	case b.UPnP != nil:
		return map[string]string{"VPN_GATEWAY": "igd://" + address}
	case b.PoolDir != "":
		return map[string]string{"VPN_GATEWAY": "pool:%" + at.in, "GATEWAY_POOL_FILE": b.poolFile()}
	default:
		return map[string]string{"VPN_GATEWAY": address}
	}
}

// makeGateway makes what is asked packet by packet. One that is never asked is there, too:
// whoever asks it is wrong.
func (b *Bench) makeGateway() (err error) {
	profile := b.cfg.Profile
	if profile.Name == "" {
		profile = natpmptest.Proton()
	}
	cfg := natpmptest.Config{Profile: profile, Seed: b.cfg.Seed, OnChange: b.cfg.OnPass}
	switch {
	case b.cfg.MakeGateway != nil:
		b.Gateway, err = b.cfg.MakeGateway(cfg)
	case b.cfg.Beyond.PCP != nil:
		if b.PCP, err = pcptest.New(*b.cfg.Beyond.PCP, cfg); err == nil {
			b.Gateway = b.PCP.Gateway
		}
	default:
		b.Gateway, err = natpmptest.New(cfg)
	}
	return err
}

// makeBeyond makes the rest of what is beyond the router.
func (b *Bench) makeBeyond() error {
	if b.cfg.Beyond.UPnP != nil {
		b.Box = igdtest.New(igdtest.Config{Profile: *b.cfg.Beyond.UPnP, OnChange: b.cfg.OnPass})
		b.Place = &igdtest.Place{Gateway: b.Box, Address: b.spot.gateway.Addr(), Client: b.spot.self, Packets: b.Net.Listen}
	}
	if b.cfg.Beyond.PoolDir != "" {
		return b.Forward("")
	}
	return nil
}

// dialDevice and listenSearch are the daemon's ways to a box.
func (b *Bench) dialDevice(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if b.Place == nil {
		return nil, errors.New("no box on the bench")
	}
	return b.Place.Dial(ctx, to)
}

func (b *Bench) listenSearch(ctx context.Context) (net.PacketConn, error) {
	if b.Place == nil {
		return nil, errors.New("no box on the bench")
	}
	return b.Place.ListenSearch(ctx)
}

// Forward makes the ports of a list those that a provider forwards to the router, in the form
// of GATEWAY_POOL_FILE, and writes them into the pool's file.
func (b *Bench) Forward(list string) error {
	if err := b.ForwardUntold(list); err != nil {
		return err
	}
	return b.WritePool(list)
}

// ForwardUntold is Forward of a provider whose file says nothing of it yet.
func (b *Bench) ForwardUntold(list string) error {
	ports, err := config.ParsePool(list)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forwards = ports
	return nil
}

// WritePool writes a text into the pool's file, whatever is forwarded, at once: a daemon that
// reads it meanwhile finds all of it or what was there before.
func (b *Bench) WritePool(text string) error {
	file := b.cfg.Beyond.poolFile()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// RemovePool removes the pool's file.
func (b *Bench) RemovePool() error { return os.Remove(b.cfg.Beyond.poolFile()) }

// Pass is a port of the public address that leads to the router.
type Pass struct {
	// Protocol is UDP or TCP.
	Protocol nat.Protocol
	// External is the port at the public address.
	External uint16
	// Inner is the port at the router that was asked for, Arrives the one at which packets
	// come: mostly the same.
	Inner, Arrives uint16
}

// Passes returns the ports that lead to the router now, whatever is beyond it.
func (b *Bench) Passes() []Pass {
	var all []Pass
	switch {
	case b.Box != nil:
		for _, m := range b.Box.Mappings() {
			if m.Client == b.spot.self {
				all = append(all, Pass{nat.Protocol(m.Protocol), m.External, m.Internal, m.Internal})
			}
		}
	case b.cfg.Beyond.PoolDir != "":
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, port := range b.forwards {
			for _, p := range nat.Protocols() {
				if port.Has(p) {
					all = append(all, Pass{p, port.External, port.Inner, port.Inner})
				}
			}
		}
	default:
		for _, m := range b.Gateway.Mappings() {
			all = append(all, Pass{nat.Protocol(m.Protocol), m.ExternalPort, m.InternalPort, m.Target.Port()})
		}
	}
	return all
}

// Passed returns the port at which packets for a public port come to the router, false if
// they do not.
func (b *Bench) Passed(protocol nat.Protocol, external uint16) (arrives uint16, ok bool) {
	for _, p := range b.Passes() {
		if p.Protocol == protocol && p.External == external {
			return p.Arrives, true
		}
	}
	return 0, false
}

// Lent returns what of that was asked for: nothing of a pool, whose ports stay.
func (b *Bench) Lent() []Pass {
	if b.cfg.Beyond.PoolDir != "" {
		return nil
	}
	return b.Passes()
}
