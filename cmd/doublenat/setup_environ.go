package main

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"doublenat/internal/config"
	"doublenat/internal/setup"
	"doublenat/routeros"
)

// defaultPage is the port of the status page in a container whose host has a socket.
const defaultPage = "8080"

// environFor returns the variables for the doublenat that is set up: those that
// are set here, with the router's address as it will see it. In a container some
// are of no use; the notes say what became of them.
func environFor(environ map[string]string, cfg config.Config, plan setup.Config) (list []routeros.Attr, notes []string) {
	t := translation{cfg: cfg, plan: plan}
	for _, v := range config.Reference() {
		if value := t.variable(v, environ[v.Name]); value != "" {
			list = append(list, routeros.Attr{Name: v.Name, Value: value})
		}
	}
	if plan.Container.IsValid() && len(t.useless) > 0 {
		t.notes = append(t.notes, strings.Join(t.useless, " and ")+left(len(t.useless))+
			" left out: the image has no other program, and its loopback is its own.")
	}
	return list, t.notes
}

// left is the verb for so many variables.
func left(n int) string {
	if n == 1 {
		return " is"
	}
	return " are"
}

// translation is the way of variables from this host to where doublenat will run.
type translation struct {
	cfg     config.Config
	plan    setup.Config
	notes   []string // what a reader has to be told
	useless []string // variables that do nothing in a container
}

// variable returns what a variable has there, "" if it is not to be set.
func (t *translation) variable(v config.Variable, value string) string {
	switch v.Name {
	case "VPN_GATEWAY":
		if value == "" {
			value = usualGateway
		}
		return value
	case "MIKROTIK_API_ADDRESS":
		there := t.router()
		t.replaced(v.Name, value, there, "the router as the container sees it")
		return there
	case "MIKROTIK_API_USER":
		return t.plan.User
	case "LISTEN_ADDR":
		if value != "" && t.plan.Container.IsValid() {
			t.notes = append(t.notes, v.Name+" is left out: it is an address of this host, and the redirect leads to port 5351.")
		}
		return ""
	case "MIKROTIK_API_PASSWORD", "MIKROTIK_API_PASSWORD_FILE":
		return "" // said elsewhere
	case "MIKROTIK_API_TLS":
		if value == "" && t.plan.TLS {
			t.notes = append(t.notes, v.Name+" is true: the file that stood for it here may not go along.")
			return "true"
		}
		return value
	}
	if value == "" || !t.plan.Container.IsValid() {
		return value
	}
	return t.contained(v, value)
}

// replaced notes that a variable that is set here has another value there, and why.
func (t *translation) replaced(name, here, there, why string) {
	if here != "" && here != there && t.plan.Container.IsValid() {
		t.notes = append(t.notes, name+" is "+there+" in place of "+config.WithoutUserinfo(here)+": "+why+".")
	}
}

// contained returns what a variable that is set here has in the container.
func (t *translation) contained(v config.Variable, value string) string {
	switch v.Name {
	case "MIKROTIK_API_CA_FILE":
		t.notes = append(t.notes, v.Name+" is left out: it is a file of this host. MIKROTIK_API_TLS_FINGERPRINT does without one.")
		return ""
	case "GATEWAY_POOL_FILE":
		t.notes = append(t.notes, v.Name+" is a file of this host: mount one into the container at this path (/container/mounts).")
		return value
	case "ON_CHANGE_EXEC", "PPROF_ADDR":
		t.useless = append(t.useless, v.Name)
		return ""
	case "HTTP_ADDR":
		return t.page(value)
	case "UPNP_ADDR":
		_, port, err := net.SplitHostPort(value)
		if err != nil {
			return value
		}
		t.replaced(v.Name, value, ":"+port, "the address is this host's")
		return ":" + port
	}
	if v.Secret {
		t.notes = append(t.notes, v.Name+" is secret: set it yourself.")
		return ""
	}
	return value
}

// router returns the router's address as doublenat will see it, with the port of the
// API where it is not the usual one.
func (t *translation) router() string {
	host := t.cfg.Router.Host
	if t.plan.Container.IsValid() {
		host = t.plan.Gateway().String()
	}
	usual := uint16(8728)
	if t.plan.TLS {
		usual = 8729
	}
	if t.cfg.Router.Port == usual {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(t.cfg.Router.Port)))
}

// page returns where the status page is served in the container: on its one
// address, for neither this host's nor a socket can be reached from outside.
func (t *translation) page(value string) string {
	port := defaultPage
	if t.cfg.HTTP.Network == "tcp" {
		host, given, err := net.SplitHostPort(t.cfg.HTTP.Address)
		addr, errAddr := netip.ParseAddr(host)
		if err != nil || host == "" || errAddr == nil && addr.IsUnspecified() {
			return value
		}
		port = given
	}
	t.notes = append(t.notes, "HTTP_ADDR is :"+port+" in place of "+value+", which nobody outside of the container reaches.")
	return ":" + port
}
