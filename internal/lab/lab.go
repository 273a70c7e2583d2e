package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"doublenat/internal/daemon"
	"doublenat/natpmp/natpmptest"
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
	// Profile names how the VPN gateway behaves, one of [Profiles].
	Profile string
	// Places says where everybody is; see [DefaultPlaces].
	Places Places
	// Patience is how long each step may take, 15 seconds if 0.
	Patience time.Duration
}

// Lab is a whole network on this machine. It runs once.
type Lab struct {
	options Options
	profile natpmptest.Profile
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
		o.Patience = 15 * time.Second
	}
	if err := o.Places.check(); err != nil {
		return nil, err
	}
	for _, p := range natpmptest.Profiles() {
		if p.Name == o.Profile {
			return &Lab{options: o, profile: p}, nil
		}
	}
	return nil, fmt.Errorf("lab: there is no gateway profile %q; allowed: %s", o.Profile, strings.Join(Profiles(), ", "))
}

// DefaultProfile is the gateway that most people have.
const DefaultProfile = "proton"

// Profiles lists what Options.Profile may be.
func Profiles() []string {
	var names []string
	for _, p := range natpmptest.Profiles() {
		names = append(names, p.Name)
	}
	return names
}

// Demo shows everything once: a mapping, a page fetched through it, UDP, a
// renewal, the deletion and a clean stop. It returns an error if any of it
// failed, after everything has been stopped.
func (l *Lab) Demo(ctx context.Context) error {
	began := time.Now()
	return l.perform(ctx, func(ctx context.Context, s *stage) error {
		for _, step := range []struct {
			title string
			run   func(context.Context) (string, error)
		}{
			{"The client asks for the public address", s.start},
			{"The client asks for its web port", s.mapTCP},
			{"The Internet fetches the client's page", s.fetchPage},
			{"The same over UDP", s.speakUDP},
			{"The client renews", s.renew},
			{"The client gives its web port back", s.removeTCP},
		} {
			if err := s.do(ctx, step.title, step.run); err != nil {
				return err
			}
		}
		return nil
	}, func(s *stage) {
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
			s.invite()
			s.watch(ctx)
		}
		if s.tcp.external == 0 {
			return err
		}
		return errors.Join(err, s.do(context.WithoutCancel(ctx), "The client gives its web port back", s.removeTCP))
	}, func(*stage) {})
}

// open makes the client's mappings.
func (s *stage) open(ctx context.Context) error {
	if err := s.do(ctx, "The client asks for the public address", s.start); err != nil {
		return err
	}
	if err := s.do(ctx, "The client asks for its web port", s.mapTCP); err != nil {
		return err
	}
	if err := s.do(ctx, "The Internet fetches the client's page", s.fetchPage); err != nil {
		return err
	}
	return s.do(ctx, "The same over UDP", s.speakUDP)
}

// perform runs a play from the opening of the sockets to the last look at both
// layers. Praise is called when all went well.
func (l *Lab) perform(ctx context.Context, play func(context.Context, *stage) error, praise func(*stage)) error {
	w, err := newWorld(ctx, l.options, l.profile)
	if err != nil {
		return err
	}
	if l.meddle != nil {
		l.meddle(w)
	}
	s := &stage{
		world:    w,
		printer:  &printer{out: l.options.Out, color: l.options.Color},
		patience: l.options.Patience,
		foreign:  w.router.Fingerprint(natTable, nil),
	}
	s.introduce(l.profile.Name)
	var stopped moment
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

// introduce says who is where.
func (s *stage) introduce(profile string) {
	p := s.places
	s.line("%s", s.paint(bold, "A whole network on this machine: two NATs, and doublenat between them"))
	s.line("")
	s.fact("Internet host", "%v", p.Internet)
	s.fact("VPN gateway", "%v on the Internet, which is %v here; NAT-PMP at %v, like %s", publicAddress(), p.Public, p.Gateway, profile)
	s.fact("MikroTik router", "API at %v; its tunnel %s has %v", p.Router, interfaceName, p.Tunnel)
	s.fact("doublenat", "NAT-PMP at %v", p.Listen)
	s.fact("LAN client", "%v, with a web server on port %d", p.Client.Addr(), p.Client.Port())
}
