package check

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/natpmp"
	"doublenat/routeros"
	"doublenat/stun"
)

// defaultPatience is how long a hop may take to answer.
const defaultPatience = 5 * time.Second

// Config is what a [Doctor] needs to know.
type Config struct {
	// API is how the router's API is reached. OnState and the times are set by New.
	API routeros.Config
	// Router is where that is, for people; no address is needed in API then.
	Router string
	// Service is the router's API as doublenat reaches it. The zero value is not known;
	// then the way to it is not walked.
	Service netip.AddrPort
	// InInterface is the tunnel interface that the operator has named. Empty means
	// that it is found, as the daemon does.
	InInterface string
	// Instance is the owner name in the comments of our rules.
	Instance string
	// Gateway is the VPN gateway's NAT-PMP address; the zero value with a pool, and where it
	// is that of the router's default route.
	Gateway netip.AddrPort
	// Find returns the languages in which a gateway is asked that the default route has.
	// Required for such a one, in the place of Ask and Others.
	Find func(gateway netip.AddrPort) []Language
	// DialGateway connects a UDP socket to it. Required with a gateway.
	DialGateway func(ctx context.Context) (net.Conn, error)
	// Speaks is what the gateway is asked by, for people; empty is NAT-PMP. Ask asks it then
	// for its public address, once: the zero Addr is one that it does not tell. Self is the
	// router's address towards it.
	Speaks string
	Ask    func(ctx context.Context, self netip.Addr) (netip.Addr, error)
	// Others are further languages in which the gateway may be asked: all of them, if
	// there is neither Ask nor DialGateway.
	Others []Language
	// Place says where the gateway may be.
	Place router.Place
	// Pool has the ports that arrive at InInterface by themselves; nil with a gateway.
	Pool *nat.Pool
	// Public is the address at which they are reached, if the operator has said so.
	Public netip.Addr
	// STUN is a server that is asked for that address, nil for none.
	STUN *STUN
	// Self are the addresses that doublenat's host has. Nil means that they are not
	// known; then the target of the redirect is not judged.
	Self []netip.Addr
	// Ways are further ways in for clients. Nil: nothing is known of them.
	Ways *Ways
	// Lock is the lock on the router; nil for a doublenat that is alone, or has its lock elsewhere.
	Lock *Lock
	// Live makes a mapping and tries it. Nil changes nothing anywhere.
	Live *Live
	// OnFinding is told of each finding as soon as it is made. Nil is nobody.
	OnFinding func(Finding)
	// Patience is how long a hop may take to answer, 5 seconds if 0.
	Patience time.Duration
}

// STUN is a server that tells from where it is asked.
type STUN struct {
	// Server is its name, for people.
	Server string
	// Ask asks it once.
	Ask func(ctx context.Context) (stun.Answer, error)
	// Judge returns why an answer is not to be believed, and what helps, as the daemon has it;
	// "" if it is.
	Judge func(answer stun.Answer, left router.Departure, own []netip.Addr, iface string) (why string, advice remedy.Advice)
}

// Language is one in which a gateway may be asked.
type Language struct {
	// Name is what people call it, Line the setting that chooses it.
	Name, Line string
	// Ask asks for the public address, as [Config.Ask] does.
	Ask func(ctx context.Context, self netip.Addr) (netip.Addr, error)
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
		inInterface{},
		mss{},
		redirect{},
		requests{},
		masquerade{},
		late{},
		builtin{},
		upnp{},
		service{},
		upstream{},
		forward{},
		ports{},
		replies{},
		rpFilter{},
		fastTrack{},
		strays{},
		lists{},
		answers{},
		address{},
	}
	if cfg.Lock != nil {
		all = slices.Insert(all, slices.Index(all, Probe(strays{})), Probe(locked{lock: cfg.Lock}))
	}
	if cfg.Pool != nil {
		// Nothing is asked of anybody beyond the router.
		all = slices.DeleteFunc(all, func(p Probe) bool { return p == upstream{} || p == ports{} || p.Hop() == nat.HopGateway })
		all = append(all, pooled{})
	}
	all = append(all, askPCP{}, search{})
	if cfg.Live != nil {
		all = append(all, live{cfg.Live})
	}
	return all
}

// check returns what is missing, nil if nothing is.
func (c Config) check() error {
	if err := c.Ways.check(); err != nil {
		return err
	}
	switch {
	case c.Live != nil && c.Live.Ask == nil:
		return errors.New("check: needs a way to ask doublenat for a live mapping")
	case c.Pool != nil && c.InInterface == "":
		return errors.New("check: a pool needs an interface at which its ports arrive")
	case c.Pool != nil:
		return nil
	case c.Place == router.PlaceDefaultRoute && c.Find == nil:
		return errors.New("check: needs a way to ask the gateway that the default route has")
	case c.Find != nil: // it is asked once it is known
		return nil
	case c.DialGateway == nil && c.Ask == nil && len(c.Others) == 0:
		return errors.New("check: needs a way to dial the gateway")
	case !c.Gateway.Addr().Is4():
		return errors.New("check: the gateway has no IPv4 address")
	}
	return nil
}

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Doctor, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Speaks == "" {
		cfg.Speaks = "NAT-PMP"
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
			f := failed(p.Hop(), err)
			f.Meanwhile = meanwhile(p, err)
			found = append(found, f)
		}
		for _, f := range found {
			f.Probe = p.Name()
			f.Advice = v.ofLink(f.Advice)
			f.Advice = f.Advice.For(v.version())
			if f.Advice.Hop == nat.HopNone {
				f.Advice.Hop = p.Hop()
			}
			report.add(f)
			d.cfg.OnFinding(f)
		}
	}
	return report, nil
}

// meanwhile says how the ports that are open fare while a probe meets an error; nothing of
// those about which a connection to the router, or the gateway, does not decide.
func meanwhile(p Probe, err error) string {
	said, _ := errors.AsType[*natpmp.ResultError](err)
	switch {
	case p != (login{}) && p != (answers{}):
		return ""
	case said != nil && said.Result == natpmp.ResultNetworkFailure: // It has no address, and answers.
		return remedy.PortsUnsure.Meanwhile(p.Hop())
	default:
		return remedy.WhileLost(p.Hop())
	}
}

// ofLink returns the advice for the way to the gateway as the router has it, where advice is
// what is said of one that is not known. That of a box with UPnP stays.
func (v *visit) ofLink(advice remedy.Advice) remedy.Advice {
	for _, of := range []func(remedy.Link) remedy.Advice{remedy.Silent, remedy.Refused} {
		if advice.String() == of(remedy.Link{}).String() {
			return of(v.survey.Link())
		}
	}
	return advice
}
