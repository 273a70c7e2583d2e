package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"doublenat/internal/config"
	"doublenat/internal/lab"
)

// labFlags are the flags of the lab as they were given.
type labFlags struct {
	demo, verbose                   bool
	kind, profile                   string
	gateway, router, listen, client string
	page, public, tunnel            string
}

// newLab builds the command that shows everything on this machine.
func newLab(ctx context.Context, p *process) *cobra.Command {
	var flags labFlags
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Try it: a router, a gateway and a client on this machine",
		Long: "lab runs a MikroTik router, a gateway, doublenat and a LAN client on loopback addresses,\n" +
			"with bytes relayed through both NATs. It maps a port for the client's web server, fetches the\n" +
			"page from the public side, and shows what each hop said. Until Ctrl-C it goes on, and shows\n" +
			"doublenat's status page. It needs no privilege and no settings.\n\n" + profiles(),
		Example: "  doublenat lab                         until Ctrl-C\n" +
			"  doublenat lab --demo                  once; exit code 1 if any step fails\n" +
			"  doublenat lab --profile miniupnpd     with a gateway that behaves otherwise\n" +
			"  doublenat lab --gateway-kind igd      with a box that speaks UPnP",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return runLab(ctx, p, flags) },
	}
	set := cmd.Flags()
	set.SortFlags = false
	set.BoolVar(&flags.demo, "demo", false, "show everything once, and fail if any step fails")
	set.BoolVarP(&flags.verbose, "verbose", "v", false, "show doublenat's log, at level DEBUG, on stderr")
	set.StringVar(&flags.kind, "gateway-kind", lab.DefaultKind, "what the gateway is: "+strings.Join(lab.Kinds(), ", ")+" (a few ports that are forwarded for good)")
	set.StringVar(&flags.profile, "profile", "", "how the gateway behaves, one of those above; the first of its kind if not given")
	set.StringVar(&flags.gateway, "gateway", "", "address and port of the gateway")
	set.StringVar(&flags.router, "router", "", "address and port of the router's API")
	set.StringVar(&flags.listen, "listen", "", "address and port of doublenat")
	set.StringVar(&flags.client, "client", "", "address and port of the client's web server")
	set.StringVar(&flags.page, "page", "", "address and port of doublenat's status page; off for none")
	set.StringVar(&flags.public, "public", "", "address at which the gateway's public address is reached; a second lab takes another")
	set.StringVar(&flags.tunnel, "tunnel", "", "the router's address in the tunnel; a second lab takes another")
	return cmd
}

// profiles explains the profiles of each kind of gateway.
func profiles() string {
	var b strings.Builder
	b.WriteString("Gateways behave in these ways (--profile). With those marked - no port opens: the lab shows what\n" +
		"becomes of that, and fails if a port opens after all.")
	for _, kind := range lab.Kinds() {
		if len(lab.Profiles(kind)) == 0 {
			continue
		}
		b.WriteString("\n\n  --gateway-kind " + kind)
		for _, p := range lab.Profiles(kind) {
			mark := " "
			if p.Shows != "" {
				mark = "-"
			}
			fmt.Fprintf(&b, "\n  %s %-16s %s", mark, p.Name, p.Means)
		}
	}
	return b.String()
}

// runLab makes the lab from its flags and runs it.
func runLab(ctx context.Context, p *process, flags labFlags) error {
	places := lab.DefaultPlaces(ctx)
	if flags.page == "off" || flags.demo && flags.page == "" { // a demo is over before anybody looks
		places.Page, flags.page = netip.AddrPort{}, ""
	}
	if err := flags.move(&places); err != nil {
		return err
	}
	if flags.kind == "pool" && flags.gateway != "" {
		return usageError{errors.New("--gateway does nothing with --gateway-kind pool, because nobody is asked there: leave it out")}
	}
	level := slog.LevelWarn
	if flags.verbose {
		level = slog.LevelDebug
	}
	l, err := lab.New(lab.Options{
		Daemon:  p.daemon,
		Out:     p.stdout,
		Color:   colorful(p.stdout, p.environ),
		Logger:  newLogger(p.stderr, level, config.LogAuto, colorful(p.stderr, p.environ)),
		Command: p.command(),
		Kind:    flags.kind,
		Profile: flags.profile,
		Places:  places,
	})
	if err != nil {
		return usageError{labError{err}}
	}
	run := l.Run
	if flags.demo {
		run = l.Demo
	}
	if err := run(ctx); err != nil {
		return labError{err}
	}
	return nil
}

// move puts everybody where the flags say.
func (f labFlags) move(places *lab.Places) error {
	for _, where := range []struct {
		name, text, what string
		place            interface {
			UnmarshalText(text []byte) error
			String() string
		}
	}{
		{"gateway", f.gateway, "an address and port", &places.Gateway},
		{"router", f.router, "an address and port", &places.Router},
		{"listen", f.listen, "an address and port", &places.Listen},
		{"client", f.client, "an address and port", &places.Client},
		{"page", f.page, "an address and port", &places.Page},
		{"public", f.public, "an address", &places.Public},
		{"tunnel", f.tunnel, "an address", &places.Tunnel},
	} {
		if where.text == "" {
			continue
		}
		example := where.place.String()
		if err := where.place.UnmarshalText([]byte(where.text)); err != nil {
			return usageError{fmt.Errorf("--%s %q is not %s; example: --%s %s", where.name, where.text, where.what, where.name, example)}
		}
	}
	return nil
}

// labError is an error of the lab without the name of its package: who typed the
// command knows.
type labError struct{ error }

// Error returns the text.
func (e labError) Error() string { return strings.TrimPrefix(e.error.Error(), "lab: ") }

// Unwrap returns the error as the lab returned it.
func (e labError) Unwrap() error { return e.error }
