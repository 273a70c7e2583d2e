package setup

import (
	"net/netip"
	"strconv"
	"strings"

	"doublenat/internal/remedy"
)

// user is the user with the least rights.
func (c Config) user() Step {
	return Step{
		Title: "A separate user for doublenat, with the rights it needs, from its own address.",
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
			Title:    "The API. Who may use it is up to the user's address and the input chain.",
			Notes:    serviceNotes("api"),
			Commands: []remedy.Command{remedy.NewCommand("/ip/service/set", "numbers", "api", "disabled", "no", "port", port)},
		}
	}
	s := Step{Title: "The API over TLS. Without a certificate no handshake succeeds.", Notes: serviceNotes("api-ssl")}
	on := remedy.NewCommand("/ip/service/set", "numbers", "api-ssl", "disabled", "no", "port", port)
	if c.variable("MIKROTIK_API_TLS_FINGERPRINT") != "" || c.variable("MIKROTIK_API_CA_FILE") != "" {
		s.Notes = append(s.Notes, "The service keeps its certificate: doublenat knows it by the variables that are set.")
		s.Commands = []remedy.Command{on}
		return s
	}
	if !strings.EqualFold(c.variable("MIKROTIK_API_TLS"), "insecure") {
		s.Notes = append(s.Notes, c.pin()...)
	}
	name := "DNS:" + c.reached()
	if _, err := netip.ParseAddr(c.reached()); err == nil {
		name = "IP:" + c.reached()
	}
	s.Commands = []remedy.Command{
		remedy.NewCommand("/certificate/add", "name", "doublenat-api", "common-name", c.reached(), "subject-alt-name", name, "days-valid", "3650"),
		remedy.NewCommand("/certificate/sign", "numbers", "doublenat-api"),
		on.With("certificate", "doublenat-api"),
	}
	return s
}

// serviceNotes are about a service that lets some hosts in only.
func serviceNotes(service string) []string {
	return []string{
		"If the service " + service + " has an address list of its own, doublenat's address must be in it:",
		"hosts that are not in it get no reply at all.",
	}
}

// pin says how doublenat gets to know a certificate that nobody else has signed.
func (c Config) pin() []string {
	notes := []string{
		"The certificate is self-signed, so the first handshake fails. doublenat's log, and doublenat check,",
		"then show the key they met as MIKROTIK_API_TLS_FINGERPRINT=... If it is the router's,",
	}
	if !c.Container.IsValid() {
		return append(notes, "set this variable for doublenat.")
	}
	return append(notes, "add it to the variables below, and start the container again.")
}

// input lets doublenat reach the API, by an address list.
func (c Config) input() Step {
	return Step{
		Title: "doublenat may reach the API, whatever the input chain drops.",
		Commands: []remedy.Command{
			remedy.NewCommand("/ip/firewall/address-list/add", "list", listName, "address", c.Host.String()),
			remedy.NewCommand(filterAdd, "chain", "input", "action", "accept", "protocol", "tcp",
				"dst-port", strconv.Itoa(int(c.APIPort)), "src-address-list", listName, "comment", "doublenat to the API").Before("chain=input !dynamic"),
		},
	}
}

// listName is the address list with doublenat's host in it.
const listName = "doublenat"

// The commands that add a rule to a table of the firewall.
const (
	filterAdd = "/ip/firewall/filter/add"
	mangleAdd = "/ip/firewall/mangle/add"
	natAdd    = "/ip/firewall/nat/add"
	rawAdd    = "/ip/firewall/raw/add"
)
