package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/spf13/cobra"

	"doublenat/internal/config"
	"doublenat/internal/setup"
)

// The network of the container where no other is given, the user, and ProtonVPN's gateway.
const (
	usualGateway     = "10.2.0.1"
	defaultContainer = "172.30.254.2/30"
	defaultUser      = "doublenat"
)

// setupFlags are the flags of setup as they were given.
type setupFlags struct {
	version, container, host, lan, lanInterface, bridge, disk string
	onLAN                                                     bool
}

// newSetup builds the command that prints the router's set-up.
func newSetup(ctx context.Context, p *process) *cobra.Command {
	var flags setupFlags
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Print the RouterOS commands that set the router up",
		Long: "setup prints what to type on the router: a user with the least rights, the API, the redirect of\n" +
			"NAT-PMP, and the container with its variables. The environment variables that are set go into\n" +
			"the container; secrets do not, CHANGE-ME stands for the password. Without --version the router\n" +
			"is asked: for its version, its interface list or bridge of the LAN, its interface to the gateway, and whether it\n" +
			"has a folder flash. Nothing is changed anywhere.",
		Example: "  doublenat setup --version 7.21                        in a container on the router\n" +
			"  doublenat setup --version 7.21 --host 192.168.90.2    on another host\n" +
			"  UPNP=on doublenat setup --bridge bridge               so that consoles find it by multicast",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.host != "" && cmd.Flags().Changed("container") {
				return usageError{errors.New("--host is a host of its own, and --container is a container on the router: give one of them")}
			}
			if flags.onLAN && flags.host == "" {
				return usageError{errors.New("--on-lan is about a host of its own: give its address by --host")}
			}
			return runSetup(ctx, p, flags)
		},
	}
	set := cmd.Flags()
	set.SortFlags = false
	set.StringVar(&flags.version, "version", "", "RouterOS version, 7.21 for example; empty: as the router says")
	set.StringVar(&flags.container, "container", defaultContainer, "the container's address, and its network of two hosts")
	set.StringVar(&flags.host, "host", "", "address of doublenat's host, where it does not run in a container on the router")
	set.StringVar(&flags.lan, "lan", "", "interface list of the LAN; empty: the router's list LAN, or else its first bridge")
	set.StringVar(&flags.lanInterface, "lan-interface", "", "bridge or interface of the LAN, on a router without such a list")
	set.StringVar(&flags.bridge, "bridge", "", "clients' bridge of which the container's interface becomes a port, so that searches of\nUPnP by multicast reach it; empty: a network apart")
	set.BoolVar(&flags.onLAN, "on-lan", false, "with --host: the host is in the clients' own network, where UPnP works without the router")
	set.StringVar(&flags.disk, "disk", "", "folder or disk of the router for the image and the container, flash or usb1 for example;\nempty: flash if the router has it")
	return cmd
}

// runSetup prints the commands.
func runSetup(ctx context.Context, p *process, flags setupFlags) error {
	cfg, err := p.sketch()
	if err != nil {
		return err
	}
	plan := setup.Config{
		User: cfg.RouterUser, Router: cfg.Router.Host, TLS: cfg.RouterTLS, APIPort: cfg.Router.Port, VPN: cfg.Gateway, Speaks: speech(cfg.GatewayKind), Found: cfg.FindsGateway(), Tunnel: cfg.InInterface,
		LAN: setup.LAN{List: flags.lan, Interface: flags.lanInterface}, Disk: flags.disk,
	}
	plan.Link, plan.Bridge, plan.UPnP = flags.link(), flags.bridge, cfg.UPnP.Port()
	if server, err := netip.ParseAddr(cfg.STUNServer.Host); err == nil && cfg.Pool != nil {
		plan.STUN = netip.AddrPortFrom(server, cfg.STUNServer.Port)
	}
	if flags.lan != "" && flags.lanInterface != "" {
		return usageError{errors.New("--lan is an interface list, and --lan-interface one interface: give one of them")}
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
	} else if err := p.askRouter(ctx, &plan); err != nil {
		return err
	}
	if plan.LAN == (setup.LAN{}) {
		plan.LAN.List = setup.DefaultLAN
	}
	steps, err := setup.New(plan)
	if err != nil {
		return usageError{err}
	}
	_, err = fmt.Fprintf(p.stdout, "# doublenat on RouterOS %v. Read it, then paste it into the router's terminal.\n%s", plan.Version, p.assumed())
	return errors.Join(err, setup.Write(p.stdout, steps))
}

// link returns how doublenat's host is linked with the clients.
func (f setupFlags) link() setup.Link {
	switch {
	case f.onLAN:
		return setup.LinkLAN
	case f.bridge != "":
		return setup.LinkBridge
	default:
		return setup.LinkRouted
	}
}

// speech returns how a gateway of a kind is asked.
func speech(kind config.GatewayKind) setup.Speech {
	switch kind {
	case config.GatewayIGD:
		return setup.SpeaksUPnP
	case config.GatewayAuto:
		return setup.SpeaksAny
	case config.GatewayNATPMP, config.GatewayPCP, config.GatewayPool:
	}
	return setup.SpeaksPackets
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
		"VPN_GATEWAY": usualGateway, "MIKROTIK_API_ADDRESS": "192.168.88.1", "MIKROTIK_API_USER": defaultUser,
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

// assumed says what stands for settings that are not set and that the commands depend on.
func (p *process) assumed() string {
	if p.environ["VPN_GATEWAY"] != "" {
		return ""
	}
	return "# VPN_GATEWAY is not set: " + usualGateway + ", ProtonVPN's gateway, stands for it. Set another before you paste.\n"
}

// parseConfig reads a configuration, and says of an error where help is.
func parseConfig(environ map[string]string) (config.Config, error) {
	cfg, err := config.Parse(environ, config.ReadFile)
	if err != nil {
		return config.Config{}, unusable(err)
	}
	return cfg, nil
}
