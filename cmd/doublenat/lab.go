package main

import (
	"context"
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
	profile                         string
	gateway, router, listen, client string
	page                            string
}

// newLab builds the command that shows everything on this machine.
func newLab(ctx context.Context, p *process) *cobra.Command {
	var flags labFlags
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Try it: a router, a gateway and a client on this machine",
		Long: "lab runs a MikroTik router, a VPN gateway, doublenat and a LAN client on loopback addresses,\n" +
			"with bytes relayed through both NATs. It maps a port for the client's web server, fetches the\n" +
			"page from the public side, and shows what each hop said. Until Ctrl-C it goes on, and shows\n" +
			"doublenat's status page. It needs no privilege and no settings.",
		Example: "  doublenat lab                         until Ctrl-C\n" +
			"  doublenat lab --demo                  once; exit code 1 if any step fails\n" +
			"  doublenat lab --profile miniupnpd     with another kind of gateway",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return runLab(ctx, p, flags) },
	}
	set := cmd.Flags()
	set.SortFlags = false
	set.BoolVar(&flags.demo, "demo", false, "show everything once, and fail if any step fails")
	set.BoolVarP(&flags.verbose, "verbose", "v", false, "show doublenat's log, at level DEBUG, on stderr")
	set.StringVar(&flags.profile, "profile", lab.DefaultProfile, "how the gateway behaves: "+strings.Join(lab.Profiles(), ", "))
	set.StringVar(&flags.gateway, "gateway", "", "address and port of the VPN gateway")
	set.StringVar(&flags.router, "router", "", "address and port of the router's API")
	set.StringVar(&flags.listen, "listen", "", "address and port of doublenat")
	set.StringVar(&flags.client, "client", "", "address and port of the client's web server")
	set.StringVar(&flags.page, "page", "", "address and port of doublenat's status page; off for none")
	return cmd
}

// runLab makes the lab from its flags and runs it.
func runLab(ctx context.Context, p *process, flags labFlags) error {
	places := lab.DefaultPlaces(ctx)
	if flags.page == "off" || flags.demo && flags.page == "" { // a demo is over before anybody looks
		places.Page, flags.page = netip.AddrPort{}, ""
	}
	for _, f := range []struct {
		name, text string
		place      *netip.AddrPort
	}{
		{"gateway", flags.gateway, &places.Gateway},
		{"router", flags.router, &places.Router},
		{"listen", flags.listen, &places.Listen},
		{"client", flags.client, &places.Client},
		{"page", flags.page, &places.Page},
	} {
		if f.text == "" {
			continue
		}
		given, err := netip.ParseAddrPort(f.text)
		if err != nil {
			return usageError{fmt.Errorf("--%s %q is not an address and port; example: --%s %s", f.name, f.text, f.name, f.place)}
		}
		*f.place = given
	}
	level := slog.LevelWarn
	if flags.verbose {
		level = slog.LevelDebug
	}
	l, err := lab.New(lab.Options{
		Daemon:  p.daemon,
		Out:     p.stdout,
		Color:   colorful(p.stdout, p.environ),
		Logger:  newLogger(p.stderr, level, config.LogAuto, p.environ),
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

// labError is an error of the lab without the name of its package: who typed the
// command knows.
type labError struct{ error }

// Error returns the text.
func (e labError) Error() string { return strings.TrimPrefix(e.error.Error(), "lab: ") }

// Unwrap returns the error as the lab returned it.
func (e labError) Unwrap() error { return e.error }
