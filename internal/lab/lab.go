package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"doublenat/igd"
	"doublenat/internal/daemon"
)

// Options is what a [Lab] is made from.
type Options struct {
	// Daemon runs the daemon until ctx ends. Required.
	Daemon func(ctx context.Context, o daemon.Options) error
	// Out is where the lab tells what happens. Required.
	Out io.Writer
	// Color says whether Out shows colors.
	Color bool
	// Logger is the daemon's. Nil discards.
	Logger *slog.Logger
	// Kind is what the VPN gateway is, one of [Kinds]; "" means [DefaultKind].
	Kind string
	// Command is how this program is called in commands to be copied; "" means "doublenat".
	Command string
	// Profile names how it behaves, one of [Profiles]; "" means as that kind usually does.
	Profile string
	// Places says where everybody is; see [DefaultPlaces].
	Places Places
	// Languages is what doublenat and the client speak besides NAT-PMP.
	Languages Languages
	// Patience is how long each step may take, 30 seconds if 0: a slow box takes some of that.
	Patience time.Duration
}

// Languages says in which protocols clients may ask. The zero value is in all of them.
type Languages uint8

// The languages.
const (
	// AllLanguages are NAT-PMP, PCP and UPnP; the last only where everybody has an address
	// of his own.
	AllLanguages Languages = iota
	// NATPMPAlone is NAT-PMP.
	NATPMPAlone
)

// Lab is a whole network on this machine. It runs once.
type Lab struct {
	options Options
	kind    kind
	profile Profile
	// meddle, if set, is called once everybody is made, before anybody runs.
	meddle func(*world)
}

// New checks the options and returns a lab in which nothing runs yet.
func New(o Options) (*Lab, error) {
	if o.Daemon == nil || o.Out == nil {
		return nil, errors.New("lab: needs a daemon and somewhere to write")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Patience < 0 {
		return nil, errors.New("lab: patience is negative")
	}
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	o.Command = cmp.Or(o.Command, "doublenat")
	if err := o.Places.check(); err != nil {
		return nil, err
	}
	k, profile, err := choose(o.Kind, o.Profile)
	if err != nil {
		return nil, err
	}
	if k.sameAtBoth && !o.Places.separate() {
		return nil, fmt.Errorf("lab: a gateway of the kind %s takes a system with more than one loopback address, such as Linux; the others do not", k.name)
	}
	return &Lab{options: o, kind: k, profile: profile}, nil
}

// Demo shows everything once: a mapping, a page fetched through it, UDP, a
// renewal, the deletion and a clean stop. It returns an error if any of it
// failed, after everything has been stopped. With a gateway that opens no port it shows
// that, and returns an error if a port was opened.
func (l *Lab) Demo(ctx context.Context) error {
	began := time.Now()
	return l.perform(ctx, func(ctx context.Context, s *stage) error {
		if err := s.open(ctx); err != nil || s.closed() {
			return err
		}
		if err := s.do(ctx, "The client renews", s.renew); err != nil {
			return err
		}
		return s.do(ctx, "The client gives its web port back", s.removeTCP)
	}, func(s *stage) {
		if s.closed() {
			s.line("\n%s", s.paint(green, fmt.Sprintf("As expected, a gateway like %s opened no port.", s.profile.Name)))
			return
		}
		s.line("\n%s", s.paint(green, fmt.Sprintf("All %d steps went well, in %v.", s.count(), time.Since(began).Round(time.Millisecond))))
	})
}

// Run shows a mapping and keeps it alive until ctx ends, while others may map
// ports of their own. Then it takes everything down.
func (l *Lab) Run(ctx context.Context) error {
	return l.perform(ctx, func(ctx context.Context, s *stage) error {
		err := s.open(ctx)
		if ctx.Err() != nil {
			err = nil // It was ended in the middle, which is no failure here.
		} else if err == nil {
			s.stay(ctx)
		}
		if s.tcp.external == 0 {
			return err
		}
		return errors.Join(err, s.do(context.WithoutCancel(ctx), "The client gives its web port back", s.removeTCP))
	}, func(*stage) {})
}

// closed says whether the gateway is one that opens no port.
func (s *stage) closed() bool { return s.profile.Shows != "" }

// open makes the client's mappings. A gateway that opens no port has to fail at the first one.
func (s *stage) open(ctx context.Context) error {
	if !s.closed() {
		return s.openAll(ctx)
	}
	failed := s.do(ctx, "The client asks for the public address", s.start)
	if failed == nil {
		failed = s.do(ctx, "The client asks for its web port", s.mapTCP)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case failed == nil:
		return fmt.Errorf("a gateway like %s opens no port, but this one did", s.profile.Name)
	}
	s.line("\n   %s %s", s.paint(green, "✓"), "as expected: "+s.profile.Shows)
	return nil
}

// openAll makes the client's mappings.
func (s *stage) openAll(ctx context.Context) error {
	if err := s.do(ctx, "The client asks for the public address", s.start); err != nil {
		return err
	}
	if err := s.do(ctx, "The client asks for its web port", s.mapTCP); err != nil {
		return err
	}
	if err := s.do(ctx, "The Internet fetches the client's page", s.fetchPage); err != nil {
		return err
	}
	if err := s.do(ctx, "The same over UDP", s.speakUDP); err != nil || !s.upnp {
		return err
	}
	return s.do(ctx, "A game asks for its port by UPnP", s.playByUPnP)
}

// perform runs a play from the opening of the sockets to the last look at both
// layers. Praise is called when all went well.
func (l *Lab) perform(ctx context.Context, play func(context.Context, *stage) error, praise func(*stage)) error {
	w, err := newWorld(ctx, l.options, l.kind, l.profile.Name)
	if err != nil {
		return err
	}
	if l.meddle != nil {
		l.meddle(w)
	}
	s := &stage{
		world:    w,
		printer:  &printer{out: l.options.Out, color: l.options.Color},
		command:  l.options.Command,
		profile:  l.profile,
		patience: l.patience(),
		foreign:  w.router.Fingerprint(natTable, nil),
	}
	s.introduce()
	var stopped moment
	w.lenient = s.closed()
	err = w.run(ctx,
		func(ctx context.Context) error {
			defer func() { stopped = w.now() }()
			return play(ctx, s)
		},
		func(ctx context.Context) error {
			return s.do(ctx, "doublenat stops, and takes down what is left", func(ctx context.Context) (string, error) {
				return s.finale(ctx, stopped)
			})
		})
	if err == nil {
		praise(s)
	}
	return err
}

// closedPatience is how long a step may take with a gateway that opens no port: long enough
// for doublenat to say so.
const closedPatience = 5 * time.Second

// patience returns how long a step may take.
func (l *Lab) patience() time.Duration {
	if l.profile.Shows != "" {
		return min(l.options.Patience, closedPatience)
	}
	return l.options.Patience
}

// introduce says who is where.
func (s *stage) introduce() {
	p := s.places
	s.line("%s", s.paint(bold, "A whole network on this machine: two NATs, and doublenat between them"))
	s.line("The gateway is of the kind %s: %s", s.kind.name, s.kind.means)
	s.line("")
	s.fact("Internet host", "%v", p.Internet)
	s.fact("Gateway", "%v on the Internet, which is %v here; %s", publicAddress(), p.Public, s.box.like())
	if s.profile.Name != "" {
		s.fact("", "%s: %s", s.profile.Name, s.profile.Means)
	}
	if s.closed() {
		s.fact("", "no port opens here: %s", s.profile.Shows)
	}
	s.fact("MikroTik router", "API at %v; its interface %s has %v", p.Router, interfaceName, p.Tunnel)
	spoken := "NAT-PMP"
	if s.languages == AllLanguages {
		spoken += " and PCP"
	}
	s.fact("doublenat", "%s at %v; VPN_GATEWAY=%s", spoken, p.Listen, s.environ()["VPN_GATEWAY"])
	if s.upnp {
		s.fact("", "UPnP: searches at %v, control at %v", netip.AddrPortFrom(p.Listen.Addr(), igd.SearchPort), p.Listen)
	}
	s.fact("LAN client", "%v, with a web server on port %d", p.Client.Addr(), p.Client.Port())
}
