package setup

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// Password stands for the password in what is written.
const Password = "CHANGE-ME"

// Config says what router and what doublenat the commands are for.
type Config struct {
	// Version is the router's.
	Version Version
	// Host is where doublenat runs, IPv4.
	Host netip.Addr
	// Container is the container's network on the router, with Host in it; the zero
	// Prefix is a doublenat that runs on a host of its own.
	Container netip.Prefix
	// User is the user that doublenat logs in as.
	User string
	// Router is the router's name or address as doublenat's host sees it, without a
	// port. A container sees its own end of the network instead.
	Router string
	// TLS is for the service api-ssl. A certificate is made on the router unless
	// Environ says by what the one is known that it has.
	TLS bool
	// APIPort is the port of the service that is used.
	APIPort uint16
	// LAN is the interface list of the LAN.
	LAN string
	// Environ are doublenat's variables, in the order in which the container gets
	// them. The password is not among them.
	Environ []routeros.Attr
	// Notes are about variables that are not among them. Nil for none.
	Notes []string
}

// Step is one part of the set-up.
type Step struct {
	// Title says what it is for, in one line.
	Title string
	// Notes are further lines about it. Nil for none.
	Notes []string
	// Commands are what to type, in this order. Nil where there is only a note.
	Commands []remedy.Command
}

// New returns the steps in the order in which they have to be done.
func New(cfg Config) ([]Step, error) {
	switch {
	case !cfg.Host.Is4():
		return nil, errors.New("doublenat's host has no IPv4 address")
	case cfg.Container.IsValid() && (cfg.Container.Bits() != 30 || !cfg.Container.Contains(cfg.Host) || !cfg.Gateway().IsValid()):
		return nil, fmt.Errorf("%v is no network of two hosts with %v in it", cfg.Container, cfg.Host)
	case cfg.Version.Major < 6 || cfg.Version.Major > 7:
		return nil, fmt.Errorf("RouterOS %v is not known; example: 7.21", cfg.Version)
	case cfg.Container.IsValid() && !cfg.Version.AtLeast(4):
		return nil, fmt.Errorf("RouterOS %v has no containers, which came with 7.4; give the address of another host", cfg.Version)
	}
	var steps []Step
	if cfg.Container.IsValid() {
		steps = append(steps, cfg.needs())
	}
	steps = append(steps, cfg.user(), cfg.service())
	if cfg.Container.IsValid() {
		steps = append(steps, cfg.network())
	}
	steps = append(steps, cfg.input(), cfg.redirect())
	if cfg.Version.AtLeast(13) {
		steps = append(steps, cfg.builtin())
	}
	if cfg.Container.IsValid() {
		steps = append(steps, cfg.environment(), cfg.container(), cfg.start())
	}
	return steps, nil
}

// Gateway returns the router's address in the container's network: the one of the
// two hosts that doublenat is not. The zero Addr is for a Host that is neither.
func (c Config) Gateway() netip.Addr {
	first := c.Container.Masked().Addr().Next()
	switch c.Host {
	case first:
		return first.Next()
	case first.Next():
		return first
	default:
		return netip.Addr{} // the network's own address, or that for all of it
	}
}

// user is the user with the least rights.
func (c Config) user() Step {
	return Step{
		Title: "A user that may do what doublenat needs, from its address alone.",
		Commands: []remedy.Command{
			remedy.NewCommand("/user/group/add", "name", c.User, "policy", remedy.Policies),
			remedy.NewCommand("/user/add", "name", c.User, "group", c.User, "password", Password, "address", host(c.Host)),
		},
	}
}

// service is the API.
func (c Config) service() Step {
	port := strconv.Itoa(int(c.APIPort))
	if !c.TLS {
		return Step{
			Title:    "The API. Who may use it is said by the user's address and the input chain.",
			Commands: []remedy.Command{remedy.NewCommand("/ip/service/set", "numbers", "api", "disabled", "no", "port", port)},
		}
	}
	s := Step{Title: "The API over TLS. Without a certificate no handshake succeeds."}
	on := remedy.NewCommand("/ip/service/set", "numbers", "api-ssl", "disabled", "no", "port", port)
	if c.variable("MIKROTIK_API_TLS_FINGERPRINT") != "" || c.variable("MIKROTIK_API_CA_FILE") != "" {
		s.Notes = []string{"The certificate of the service stays as it is: doublenat is told how to know it."}
		s.Commands = []remedy.Command{on}
		return s
	}
	if !strings.EqualFold(c.variable("MIKROTIK_API_TLS"), "insecure") {
		s.Notes = c.pin()
	}
	name := "DNS:" + c.reached()
	if _, err := netip.ParseAddr(c.reached()); err == nil {
		name = "IP:" + c.reached()
	}
	on.Args = append(on.Args, routeros.Attr{Name: "certificate", Value: "doublenat-api"})
	s.Commands = []remedy.Command{
		remedy.NewCommand("/certificate/add", "name", "doublenat-api", "common-name", c.reached(), "subject-alt-name", name, "days-valid", "3650"),
		remedy.NewCommand("/certificate/sign", "numbers", "doublenat-api"),
		on,
	}
	return s
}

// pin says how doublenat gets to know a certificate that nobody else has signed.
func (c Config) pin() []string {
	notes := []string{
		"Nobody has signed this certificate but the router, so the first handshake fails. doublenat's log, and",
		"doublenat check, then show the key that they met as MIKROTIK_API_TLS_FINGERPRINT=... If it is the router's,",
	}
	if !c.Container.IsValid() {
		return append(notes, "give doublenat this variable.")
	}
	return append(notes, "add it to the variables below, and start the container again.")
}

// variable returns one of the variables, "" if it is not set.
func (c Config) variable(name string) string {
	for _, a := range c.Environ {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// reached is the router's name or address as doublenat sees it.
func (c Config) reached() string {
	if c.Container.IsValid() {
		return c.Gateway().String()
	}
	return c.Router
}

// input lets doublenat reach the API, by an address list.
func (c Config) input() Step {
	return Step{
		Title: "doublenat may reach the API.",
		Notes: []string{"place-before=0 puts the rule on top; if the first rules are dynamic ones, move it before the first drop."},
		Commands: []remedy.Command{
			remedy.NewCommand("/ip/firewall/address-list/add", "list", listName, "address", c.Host.String()),
			remedy.NewCommand("/ip/firewall/filter/add", "chain", "input", "action", "accept", "protocol", "tcp",
				"dst-port", strconv.Itoa(int(c.APIPort)), "src-address-list", listName, "place-before", "0", "comment", "doublenat to the API"),
		},
	}
}

// listName is the address list with doublenat's host in it.
const listName = "doublenat"

// redirect brings NAT-PMP from the LAN to doublenat.
func (c Config) redirect() Step {
	return Step{
		Title: "Requests of the LAN go to doublenat; the list keeps the Internet out.",
		Commands: []remedy.Command{
			remedy.NewCommand("/ip/firewall/nat/add", "chain", "dstnat", "action", "dst-nat", "protocol", "udp", "dst-port", "5351",
				"in-interface-list", c.LAN, "dst-address-type", "local", "to-addresses", c.Host.String(), "comment", "NAT-PMP to doublenat"),
		},
	}
}

// builtin switches the router's own NAT-PMP off, where there is one.
func (c Config) builtin() Step {
	return Step{
		Title:    "The router's own NAT-PMP server wants the same port.",
		Commands: []remedy.Command{remedy.NewCommand("/ip/nat-pmp/set", "enabled", "no")},
	}
}

// host returns the prefix of a single address.
func host(a netip.Addr) string { return netip.PrefixFrom(a, a.BitLen()).String() }

// Write writes the steps as a script for the router's terminal: comments and commands.
func Write(w io.Writer, steps []Step) error {
	var b strings.Builder
	for i, s := range steps {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "# %d. %s\n", i+1, s.Title)
		for _, n := range s.Notes {
			fmt.Fprintf(&b, "#    %s\n", n)
		}
		for _, c := range s.Commands {
			fmt.Fprintln(&b, c)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
