package check

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"doublenat/internal/nat"
	"doublenat/routeros"
)

// defaultPatience is how long a hop may take to answer.
const defaultPatience = 5 * time.Second

// Config is what a [Doctor] needs to know.
type Config struct {
	// API is how the router's API is reached. OnState and the times are set by New.
	API routeros.Config
	// Router is where that is, for people; no address is needed in API then.
	Router string
	// InInterface is the tunnel interface that the operator has named. Empty means
	// that it is found, as the daemon does.
	InInterface string
	// Instance is the owner name in the comments of our rules.
	Instance string
	// Gateway is the VPN gateway's NAT-PMP address.
	Gateway netip.AddrPort
	// DialGateway connects a UDP socket to it. Required.
	DialGateway func(ctx context.Context) (net.Conn, error)
	// Self are the addresses that doublenat's host has. Nil means that they are not
	// known; then the target of the redirect is not judged.
	Self []netip.Addr
	// Live makes a mapping and tries it. Nil changes nothing anywhere.
	Live *Live
	// OnFinding is told of each finding as soon as it is made. Nil is nobody.
	OnFinding func(Finding)
	// Patience is how long a hop may take to answer, 5 seconds if 0.
	Patience time.Duration
}

// Doctor looks at a router and a gateway.
type Doctor struct{ cfg Config }

// Probe looks at one thing.
type Probe interface {
	// Name is a word that says what is looked at.
	Name() string
	// Hop is whom it is asked of.
	Hop() nat.Hop
	// Run looks. Nothing found is nothing to say. An error is one of the hop itself,
	// of which nothing more can be asked after it.
	Run(ctx context.Context, v *visit) ([]Finding, error)
}

// probes are all probes in the order in which they run: later ones use what
// earlier ones learned.
func probes(cfg Config) []Probe {
	all := []Probe{
		login{},
		rights{},
		version{},
		clock{},
		tunnel{},
		redirect{},
		masquerade{},
		builtin{},
		forward{},
		replies{},
		fastTrack{},
		strays{},
		answers{},
		address{},
	}
	if cfg.Live != nil {
		all = append(all, live{cfg.Live})
	}
	return all
}

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Doctor, error) {
	switch {
	case cfg.DialGateway == nil:
		return nil, errors.New("check: needs a way to dial the gateway")
	case !cfg.Gateway.Addr().Is4():
		return nil, errors.New("check: the gateway has no IPv4 address")
	case cfg.Live != nil && cfg.Live.Ask == nil:
		return nil, errors.New("check: needs a way to ask doublenat for a live mapping")
	}
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	if cfg.OnFinding == nil {
		cfg.OnFinding = func(Finding) {}
	}
	cfg.API.ConnectTimeout, cfg.API.CommandTimeout = cfg.Patience, cfg.Patience
	if _, err := routeros.New(cfg.API); err != nil {
		return nil, err
	}
	return &Doctor{cfg: cfg}, nil
}

// Run looks at everything once and returns what it found, when everything that it
// started has ended. The error is ctx's: the report is then not whole.
func (d *Doctor) Run(ctx context.Context) (Report, error) {
	v := &visit{cfg: d.cfg, tables: make(map[string][]routeros.Row)}
	defer v.leave()
	var report Report
	lost := make(map[nat.Hop]bool)
	for _, p := range probes(d.cfg) {
		if lost[p.Hop()] {
			continue
		}
		found, err := p.Run(ctx, v)
		if ctx.Err() != nil {
			return report, context.Cause(ctx)
		}
		if err != nil {
			lost[p.Hop()] = true
			found = append(found, failed(p.Hop(), err))
		}
		for _, f := range found {
			f.Probe = p.Name()
			if f.Advice.Hop == nat.HopNone {
				f.Advice.Hop = p.Hop()
			}
			report.add(f)
			d.cfg.OnFinding(f)
		}
	}
	return report, nil
}
