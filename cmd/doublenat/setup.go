package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"doublenat/internal/config"
	"doublenat/internal/daemon"
	"doublenat/internal/setup"
	"doublenat/routeros"
)

// The network of the container where no other is given, and the user.
const (
	defaultContainer = "172.30.254.2/30"
	defaultUser      = "doublenat"
)

// setupFlags are the flags of setup as they were given.
type setupFlags struct{ version, container, host, lan string }

// newSetup builds the command that prints the router's set-up.
func newSetup(ctx context.Context, p *process) *cobra.Command {
	var flags setupFlags
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Print the RouterOS commands that set the router up",
		Long: "setup prints what to type on the router: a user with the least rights, the API, the redirect of\n" +
			"NAT-PMP, and the container with its variables. The environment variables that are set go into\n" +
			"the container; secrets do not, CHANGE-ME stands for the password. Without --version the router\n" +
			"is asked for its own. Nothing is changed anywhere.",
		Example: "  doublenat setup --version 7.21                        in a container on the router\n" +
			"  doublenat setup --version 7.21 --host 192.168.90.2    on another host",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.host != "" && cmd.Flags().Changed("container") {
				return usageError{errors.New("--host is a host of its own, and --container is a container on the router: give one of them")}
			}
			return runSetup(ctx, p, flags)
		},
	}
	set := cmd.Flags()
	set.SortFlags = false
	set.StringVar(&flags.version, "version", "", "RouterOS version, 7.21 for example; empty: as the router says")
	set.StringVar(&flags.container, "container", defaultContainer, "the container's address, and its network of two hosts")
	set.StringVar(&flags.host, "host", "", "address of doublenat's host, where it does not run in a container on the router")
	set.StringVar(&flags.lan, "lan", "LAN", "interface list of the LAN")
	return cmd
}

// runSetup prints the commands.
func runSetup(ctx context.Context, p *process, flags setupFlags) error {
	cfg, err := p.sketch()
	if err != nil {
		return err
	}
	plan := setup.Config{User: cfg.RouterUser, Router: cfg.Router.Host, TLS: cfg.RouterTLS, APIPort: cfg.Router.Port, LAN: flags.lan}
	if flags.lan == "" {
		return usageError{errors.New("--lan is empty: which interface list is the LAN?")}
	}
	if plan.Host, plan.Container, err = flags.place(); err != nil {
		return usageError{err}
	}
	plan.Environ, plan.Notes = environFor(p.environ, cfg, plan)
	if flags.version != "" {
		plan.Version, err = setup.ParseVersion(flags.version)
		if err != nil {
			return usageError{fmt.Errorf("--version %w", err)}
		}
	} else if plan.Version, err = p.askVersion(ctx); err != nil {
		return err
	}
	steps, err := setup.New(plan)
	if err != nil {
		return usageError{err}
	}
	_, err = fmt.Fprintf(p.stdout, "# doublenat on RouterOS %v. Read it, then paste it into the router's terminal.\n", plan.Version)
	return errors.Join(err, setup.Write(p.stdout, steps))
}

// place returns where doublenat is to run: its address, and the container's
// network if it is to be one.
func (f setupFlags) place() (host netip.Addr, container netip.Prefix, err error) {
	if f.host != "" {
		host, err = netip.ParseAddr(f.host)
		if err != nil || !host.Is4() {
			return host, container, fmt.Errorf("--host %q is not an IPv4 address", f.host)
		}
		return host, container, ofHost("--host", host)
	}
	container, err = netip.ParsePrefix(f.container)
	if err != nil || !container.Addr().Is4() {
		return host, container, fmt.Errorf("--container %q is not an IPv4 address with the bits of its network; example: %s", f.container, defaultContainer)
	}
	return container.Addr(), container, ofHost("--container", container.Addr())
}

// ofHost returns an error for an address at which the router cannot reach anybody.
func ofHost(flag string, a netip.Addr) error {
	if !a.IsGlobalUnicast() {
		return fmt.Errorf("%s %v is no address of a host that the router can reach", flag, a)
	}
	return nil
}

// sketch returns the configuration as far as it is given: what is required and
// missing, which is much before there is a router to talk to, is filled with what
// is usual.
func (p *process) sketch() (config.Config, error) {
	environ := maps.Clone(p.environ)
	for name, value := range map[string]string{
		"VPN_GATEWAY": "10.2.0.1", "MIKROTIK_API_ADDRESS": "192.168.88.1", "MIKROTIK_API_USER": defaultUser,
	} {
		if environ[name] == "" {
			environ[name] = value
		}
	}
	if environ["MIKROTIK_API_PASSWORD_FILE"] == "" {
		environ["MIKROTIK_API_PASSWORD"] = setup.Password
	}
	return parseConfig(environ)
}

// askVersion asks the router for its version.
func (p *process) askVersion(ctx context.Context) (setup.Version, error) {
	cfg, err := p.config()
	if err != nil {
		return setup.Version{}, fmt.Errorf("%w\n(or give --version, and nobody is asked)", err)
	}
	client, err := routeros.New(daemon.RouterAPI(cfg))
	if err != nil {
		return setup.Version{}, err
	}
	text, err := printVersion(ctx, client)
	if err != nil {
		return setup.Version{}, fmt.Errorf("asking the router for its version (or give --version): %w", err)
	}
	return setup.ParseVersion(text)
}

// printVersion runs the client for one command.
func printVersion(ctx context.Context, client *routeros.Client) (string, error) {
	ctx, stop := context.WithTimeout(ctx, routeros.DefaultConnectTimeout+routeros.DefaultCommandTimeout)
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	reply, err := client.Do(ctx, routeros.Command{Path: "/system/resource/print", Properties: []string{"version"}})
	stop()
	if err = errors.Join(err, <-ended); err != nil {
		return "", err
	}
	if i := slices.IndexFunc(reply.Rows, func(r routeros.Row) bool { return r.Value("version") != "" }); i >= 0 {
		return reply.Rows[i].Value("version"), nil
	}
	return "", errors.New("it does not tell")
}

// parseConfig reads a configuration, and says of an error where help is.
func parseConfig(environ map[string]string) (config.Config, error) {
	cfg, err := config.Parse(environ, os.ReadFile)
	if err != nil {
		return config.Config{}, unusable(err)
	}
	return cfg, nil
}
