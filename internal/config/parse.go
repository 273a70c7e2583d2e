package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"

	"doublenat/internal/nat"
	"doublenat/internal/realm"
)

// The ports of the services api and api-ssl of RouterOS.
const (
	apiPort    = 8728
	apiTLSPort = 8729
)

// Error is one variable that cannot be used.
type Error struct {
	// Variable is what is known about the variable.
	Variable Variable
	// Value is what was given, as it may be shown, see [Variable.Shown].
	Value string
	// Reason is what is wrong, as a phrase whose subject is the variable.
	Reason string
}

// Error returns variable, value, reason, what is allowed and an example in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Variable.Name)
	if e.Value != "" {
		fmt.Fprintf(&b, "=%q", e.Value)
	}
	fmt.Fprintf(&b, " %s; allowed: %s; example: %s=%s",
		e.Reason, e.Variable.Allowed, e.Variable.Name, e.Variable.Example)
	return b.String()
}

// Parse makes a Config from the environment. readFile reads the files that it names.
//
// The error joins an [*Error] for each variable that cannot be used, in the
// order of [Reference], so that an operator corrects all of them in one go. The
// Config is of use only without an error.
func Parse(environ map[string]string, readFile func(name string) ([]byte, error)) (Config, error) {
	if environ == nil {
		environ = map[string]string{} // nil would mean the process's own to env
	}
	given, err := env.ParseAsWithOptions[raw](env.Options{Environment: environ})
	if err != nil {
		return Config{}, fmt.Errorf("reading the environment: %w", err)
	}

	p := newParser()
	mode := p.tls(environ, given)
	to := value(p, "VPN_GATEWAY", given.Gateway, parseGateway)
	cfg := Config{
		GatewayKind:    to.kind,
		Gateway:        to.address,
		Description:    to.description,
		Pool:           p.pool(given, to, readFile),
		PoolFile:       given.PoolFile,
		PublicAddress:  value(p, "PUBLIC_ADDRESS", given.PublicAddress, parseHost),
		STUNServer:     value(p, "STUN_SERVER", given.STUNServer, parseSTUN),
		Router:         value(p, "MIKROTIK_API_ADDRESS", given.Router, parseEndpoint),
		RouterPassword: p.password(environ, given, readFile),
		RouterUser:     value(p, "MIKROTIK_API_USER", given.User, parseUser),
		RouterTLS:      mode != tlsOff,
		RouterInsecure: mode == tlsInsecure,
		RouterCA:       p.authorities(given.CAFile, readFile),
		InInterface:    value(p, "MIKROTIK_IN_INTERFACE", given.InInterface, parseInterface),
		Listen:         value(p, "LISTEN_ADDR", given.Listen, parseListen),
		AllowedClients: value(p, "ALLOWED_CLIENTS", given.AllowedClients, parsePrefixes),
		DeniedClients:  value(p, "DENIED_CLIENTS", given.DeniedClients, parsePrefixes),
		ClientRate:     value(p, "CLIENT_RATE", given.ClientRate, parseRate),
		NewClientRate:  value(p, "NEW_CLIENT_RATE", given.NewClientRate, parseRate),
		CreateRate:     value(p, "CREATE_RATE", given.CreateRate, parseRate),
		AllowedPorts:   value(p, "ALLOWED_PORTS", given.AllowedPorts, parsePorts),
		DeniedPorts:    value(p, "DENIED_PORTS", given.DeniedPorts, parsePorts),
		ZeroPort:       value(p, "ZERO_PORT", given.ZeroPort, parseZeroPort),
		PCP:            value(p, "PCP", given.PCP, parseSwitch),
		StrictNonce:    value(p, "PCP_NONCE", given.PCPNonce, parseNonce),
		Announce:       value(p, "ANNOUNCE", given.Announce, parseAnnounce),
		GatewayWindow:  value(p, "GATEWAY_WINDOW", given.GatewayWindow, parseWindow),
		Delivery:       value(p, "GATEWAY_DELIVERY", given.Delivery, parseDelivery),
		Symmetric:      value(p, "GATEWAY_SYMMETRIC", given.Symmetric, parseBool),
		LeasePolicy:    value(p, "LEASE_POLICY", given.LeasePolicy, parsePolicy),
		MaxLifetime:    value(p, "MAX_LIFETIME", given.MaxLifetime, parseLifetime),
		Companion:      value(p, "COMPANION", given.Companion, parseBool),
		MaxMappings:    value(p, "MAX_MAPPINGS", given.MaxMappings, parseLimit),

		RouterFingerprint:    value(p, "MIKROTIK_API_TLS_FINGERPRINT", given.Fingerprint, parseFingerprint),
		MaxMappingsPerClient: value(p, "MAX_MAPPINGS_PER_CLIENT", given.MaxMappingsPerClient, parseLimit),

		Static:       value(p, "STATIC_MAPPINGS", given.Static, parseStatic),
		OnChangeURL:  value(p, "ON_CHANGE_URL", given.OnChangeURL, parseHookURL),
		OnChangeExec: value(p, "ON_CHANGE_EXEC", given.OnChangeExec, parseCommand),
		Instance:     value(p, "INSTANCE", given.Instance, parseInstance),
		Shutdown:     value(p, "SHUTDOWN", given.Shutdown, parseShutdown),
		HTTP:         value(p, "HTTP_ADDR", given.HTTPAddr, ParseListenAddress),
		HTTPHosts:    value(p, "HTTP_HOSTS", given.HTTPHosts, parseHosts),
		Pprof:        value(p, "PPROF_ADDR", given.PprofAddr, parseLoopback),
		LogLevel:     value(p, "LOG_LEVEL", given.LogLevel, parseLevel),
		LogFormat:    value(p, "LOG_FORMAT", given.LogFormat, parseFormat),
	}
	cfg.UPnP, cfg.Lock = p.device(given, cfg.Listen), p.lock(given)
	readOnly, dryRun := value(p, "READ_ONLY", given.ReadOnly, parseBool), value(p, "DRY_RUN", given.DryRun, parseBool)
	cfg.ReadOnly = readOnly || dryRun
	if cfg.Router.Port == 0 {
		cfg.Router.Port = apiPort
		if cfg.RouterTLS {
			cfg.Router.Port = apiTLSPort
		}
	}
	cfg.InInterface = cmp.Or(cfg.InInterface, to.iface)
	p.contradictions(environ, given, cfg)
	cfg.Shutdown = p.stopOf(environ, cfg)
	p.kindContradictions(given, cfg, to)
	if to.kind == GatewayPool {
		p.poolContradictions(environ, given, cfg, to)
	}
	if len(p.errs) > 0 {
		return Config{}, errors.Join(p.errs...)
	}
	cfg.Warnings = slices.Concat(misspelled(environ), exposed(cfg), idlePool(cfg), suspicious(environ), lockWarnings(environ, cfg))
	return cfg, nil
}

// parser gathers what is wrong while the values are read.
type parser struct {
	known map[string]Variable
	errs  []error
}

// newParser returns a parser that knows all variables.
func newParser() *parser {
	p := &parser{known: make(map[string]Variable)}
	for _, v := range Reference() {
		p.known[v.Name] = v
	}
	return p
}

// fail notes that the named variable cannot be used.
func (p *parser) fail(name, text, reason string) {
	v := p.known[name]
	p.errs = append(p.errs, &Error{Variable: v, Value: v.Shown(text), Reason: reason})
}

// value reads one variable, or returns the zero value and notes what is wrong.
// An empty text is the zero value, and an error where the variable is required.
func value[T any](p *parser, name, text string, parse func(string) (T, error)) T {
	var zero T
	if text == "" {
		if p.known[name].Required {
			p.fail(name, "", "is not set")
		}
		return zero
	}
	v, err := parse(text)
	if err != nil {
		p.fail(name, text, err.Error())
		return zero
	}
	return v
}

// contradictions notes what makes no sense together.
func (p *parser) contradictions(environ map[string]string, given raw, cfg Config) {
	if cfg.Listen.IsValid() && cfg.Listen == cfg.Gateway {
		p.fail("LISTEN_ADDR", given.Listen, "is the address of VPN_GATEWAY, which is another host's")
	}
	// The default stands aside; who wrote it down would get rules that match more than that.
	if delivery := environ["GATEWAY_DELIVERY"]; cfg.Symmetric && delivery != "" && strings.EqualFold(delivery, nat.DeliverInternal.String()) {
		p.fail("GATEWAY_DELIVERY", delivery, "contradicts GATEWAY_SYMMETRIC, with which packets arrive on the external port: leave one of them out")
	}
	if reason := cmp.Or(misdirected(cfg), tooMany(cfg)); reason != "" {
		p.fail("STATIC_MAPPINGS", given.Static, reason)
	} else if cfg.Symmetric && severalPorts(cfg.Static) {
		p.fail("STATIC_MAPPINGS", given.Static, "has more than one port in it, and with GATEWAY_SYMMETRIC the gateway grants one")
	}
	if nobodyLeft(cfg) {
		p.fail("DENIED_CLIENTS", given.DeniedClients, "has all of ALLOWED_CLIENTS in it, so that nobody may ask")
	}
}

// exposed warns of a password that others may read on its way to the router.
func exposed(cfg Config) []string {
	if cfg.RouterInsecure {
		return []string{
			"MIKROTIK_API_TLS is insecure: who stands between here and the router can take its place and read the password",
		}
	}
	addr, err := netip.ParseAddr(cfg.Router.Host)
	if err != nil || cfg.RouterTLS || !realm.Public(addr) {
		return nil
	}
	return []string{
		"MIKROTIK_API_ADDRESS is a public address and MIKROTIK_API_TLS is off: the password can be read on the way",
	}
}
