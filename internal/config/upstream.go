package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"unicode/utf8"

	"doublenat/internal/nat"
)

// GatewayKind says how ports come from beyond the router.
type GatewayKind uint8

const (
	// GatewayNATPMP is a gateway that speaks NAT-PMP (RFC 6886).
	GatewayNATPMP GatewayKind = iota
	// GatewayPCP is one that speaks PCP (RFC 6887).
	GatewayPCP
	// GatewayIGD is an Internet gateway device of UPnP.
	GatewayIGD
	// GatewayPool is a number of ports that are forwarded to the router already.
	GatewayPool
	// GatewayAuto is a gateway that speaks one of the first three. Without an address it is
	// that of the router's default route.
	GatewayAuto
)

// String returns the kind as VPN_GATEWAY has it.
func (k GatewayKind) String() string { return [...]string{"natpmp", "pcp", "igd", "pool", "auto"}[k] }

// Tunneled says whether a gateway of this kind is at the far end of a tunnel, if nothing
// else is said. The others may be the box of an Internet provider.
func (k GatewayKind) Tunneled() bool { return k == GatewayNATPMP }

// FindsGateway reports whether the gateway is that of the router's default route, so that
// its address is not configured.
func (c Config) FindsGateway() bool { return c.GatewayKind == GatewayAuto && !c.Gateway.IsValid() }

// At returns the configuration with the address of the gateway that was found, where it is
// to be found. The zero Addr changes nothing.
func (c Config) At(gateway netip.Addr) Config {
	if c.FindsGateway() && gateway.IsValid() {
		c.Gateway = netip.AddrPortFrom(gateway, natpmpPort)
	}
	return c
}

// Of returns the configuration with the gateway taken for one of a kind, where VPN_GATEWAY
// leaves that open.
func (c Config) Of(kind GatewayKind) Config {
	if c.GatewayKind != GatewayAuto {
		return c
	}
	port := uint16(natpmpPort)
	if kind == GatewayIGD {
		port = ssdpPort
	}
	c.GatewayKind, c.Gateway = kind, netip.AddrPortFrom(c.Gateway.Addr(), port)
	return c
}

// upstream is what VPN_GATEWAY says.
type upstream struct {
	kind GatewayKind
	// address is the gateway's; the zero value with a pool, and where it is found. description is the URL at
	// which a device describes itself, "" if it is searched for.
	address     netip.AddrPort
	description string
	// ports and iface are a pool's, iface is "" if it names none.
	ports []nat.PoolPort
	iface string
}

// ssdpPort is where devices of UPnP are searched for.
const ssdpPort = 1900

// parseGateway reads an address alone, or one behind the kind of gateway, or a pool.
func parseGateway(s string) (to upstream, err error) {
	if list, ok := strings.CutPrefix(s, "pool:"); ok {
		return parsePoolGateway(list)
	}
	if rest, ok := strings.CutPrefix(s, "auto:"); ok {
		return parseAuto(rest)
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "natpmp", s
	}
	switch scheme {
	case "natpmp":
		to.address, err = parseGatewayAddress(rest, natpmpPort)
	case "pcp":
		to.kind = GatewayPCP
		to.address, err = parseGatewayAddress(rest, natpmpPort)
	case "igd":
		to.kind = GatewayIGD
		to.address, err = parseGatewayAddress(rest, ssdpPort)
	case "igd+http":
		return parseDescription("http://" + rest)
	default:
		if strings.ContainsRune(s, '@') {
			return upstream{}, errUserinfo
		}
		return upstream{}, fmt.Errorf("has the kind %q, and natpmp://, pcp://, igd://, igd+http://, auto:, auto:// and pool: are those that doublenat knows", scheme)
	}
	return to, err
}

// parseAuto reads what follows on "auto:": an address behind two slashes, or nothing for a
// gateway that is found.
func parseAuto(s string) (to upstream, err error) {
	to.kind = GatewayAuto
	rest, ok := strings.CutPrefix(s, "//")
	switch {
	case rest == "":
		return to, nil
	case strings.ContainsRune(s, '@'):
		return upstream{}, errUserinfo
	case !ok:
		return upstream{}, errors.New("has no // between auto: and the address; auto: alone is the gateway of the router's default route")
	}
	if to.address, err = parseGatewayAddress(rest, natpmpPort); err == nil && to.address.Port() != natpmpPort {
		err = errors.New("has a port, and each of NAT-PMP, PCP and UPnP has its own: leave it out")
	}
	return to, err
}

// parseDescription reads the URL of a device's description: at an address, so that nobody
// else can be asked.
func parseDescription(s string) (upstream, error) {
	u, err := url.Parse(s)
	switch {
	case strings.ContainsRune(s, '@'):
		return upstream{}, errUserinfo
	case err != nil || u.Host == "":
		return upstream{}, errors.New("is not a URL such as igd+http://192.168.1.1:5000/rootDesc.xml")
	}
	address, err := parseGatewayAddress(u.Host, httpPort)
	if err != nil {
		return upstream{}, err
	}
	u.Host = address.String()
	return upstream{kind: GatewayIGD, address: address, description: u.String()}, nil
}

// httpPort is where a description is without a port.
const httpPort = 80

// parseGatewayAddress reads a unicast IPv4 address with an optional port.
func parseGatewayAddress(s string, usual uint16) (netip.AddrPort, error) {
	host, port, err := splitPort(s)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addr, err := parseHost(host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if port == 0 {
		port = usual
	}
	return netip.AddrPortFrom(addr, port), nil
}

// parsePoolGateway reads what follows on "pool:": ports, and the interface behind a "%".
func parsePoolGateway(s string) (upstream, error) {
	list, iface, named := strings.Cut(s, "%")
	to := upstream{kind: GatewayPool, iface: iface}
	if named {
		if _, err := parseInterface(iface); err != nil || iface == "" {
			return upstream{}, fmt.Errorf("has %q after the %%, which is not an interface name", iface)
		}
	}
	ports, err := ParsePool(list)
	to.ports = ports
	return to, err
}

// maxPoolText bounds the text of a pool, in bytes.
const maxPoolText = 1 << 20

// ParsePool reads the ports of a pool: numbers and ranges, "6881:51413" for a port whose
// packets arrive at another one, "/tcp" or "/udp" behind a port that has one protocol.
// Commas, blanks and line ends part them; from "#" to the end of a line is a comment. The
// error is a phrase that names what is wrong.
func ParsePool(text string) ([]nat.PoolPort, error) {
	if len(text) > maxPoolText || !utf8.ValidString(text) {
		return nil, errors.New("is not a list of ports, or is longer than a megabyte")
	}
	var all []nat.PoolPort
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		line, _, _ = strings.Cut(line, "#")
		for item := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\r' || r == '\n' }) {
			ports, err := parsePoolItem(item)
			if err != nil {
				return nil, err
			}
			if all = append(all, ports...); len(all) > maxLimit {
				return nil, fmt.Errorf("has more than %d ports in it", maxLimit)
			}
		}
	}
	if _, err := nat.NewPool(all); err != nil {
		return nil, fmt.Errorf("has a port in it twice: %w", err)
	}
	return all, nil
}

// parsePoolItem reads "80", "80/tcp", "8000-8099" or "80:8080".
func parsePoolItem(item string) ([]nat.PoolPort, error) {
	text, protocol, single := strings.Cut(item, "/")
	var only nat.Protocol
	switch {
	case !single:
	case strings.EqualFold(protocol, "tcp"):
		only = nat.TCP
	case strings.EqualFold(protocol, "udp"):
		only = nat.UDP
	default:
		return nil, fmt.Errorf("has %q in it: after the slash comes tcp or udp", item)
	}
	outer, inner, differs := strings.Cut(text, ":")
	externals, err := parseRange(outer)
	if err != nil {
		return nil, fmt.Errorf("has %q in it, which is not a port, a range of ports, or a pair such as 6881:51413", item)
	}
	inners := externals
	if differs {
		if inners, err = parseRange(inner); err != nil || inners.Last-inners.First != externals.Last-externals.First {
			return nil, fmt.Errorf("has %q in it: the two sides of the colon are not ports, or not equally many", item)
		}
	}
	var ports []nat.PoolPort
	for i := range int(externals.Last) - int(externals.First) + 1 {
		ports = append(ports, nat.PoolPort{External: externals.First + uint16(i), Inner: inners.First + uint16(i), Protocol: only})
	}
	return ports, nil
}

// pool returns the pool, nil with another kind of gateway.
func (p *parser) pool(given raw, to upstream, readFile func(string) ([]byte, error)) *nat.Pool {
	if to.kind != GatewayPool {
		return nil
	}
	ports := to.ports
	if given.PoolFile != "" {
		content, err := readFile(given.PoolFile)
		if err != nil {
			p.fail("GATEWAY_POOL_FILE", given.PoolFile, unreadable(err))
			return nil
		}
		if ports, err = ParsePool(string(content)); err != nil {
			p.fail("GATEWAY_POOL_FILE", given.PoolFile, "is a file that "+err.Error())
			return nil
		}
	}
	pool, err := nat.NewPool(ports)
	if err != nil {
		p.fail("VPN_GATEWAY", given.Gateway, err.Error()) // ParsePool has said so before
	}
	return pool
}

// idlePool warns of what is set for a pool where there is none.
func idlePool(cfg Config) (warnings []string) {
	if cfg.GatewayKind == GatewayPool {
		if cfg.STUNServer != (Endpoint{}) && cfg.PublicAddress.IsValid() {
			warnings = append(warnings, "STUN_SERVER is not asked, because PUBLIC_ADDRESS says what it would")
		}
		return warnings
	}
	if cfg.STUNServer != (Endpoint{}) {
		warnings = append(warnings, "STUN_SERVER is not asked, because the gateway tells the address: it is for VPN_GATEWAY=pool:")
	}
	if cfg.PoolFile != "" {
		warnings = append(warnings, "GATEWAY_POOL_FILE is not read, because VPN_GATEWAY is no pool: make it pool:")
	}
	if cfg.PublicAddress.IsValid() {
		warnings = append(warnings, "PUBLIC_ADDRESS does nothing, because the gateway tells the address: it is for VPN_GATEWAY=pool:")
	}
	return warnings
}

// kindContradictions notes what only NAT-PMP has.
func (p *parser) kindContradictions(given raw, cfg Config, to upstream) {
	if cfg.Symmetric && to.kind != GatewayNATPMP && to.kind != GatewayPool {
		p.fail("GATEWAY_SYMMETRIC", given.Symmetric, "is for gateways that speak NAT-PMP")
	}
}

// poolContradictions notes what makes no sense with a pool.
func (p *parser) poolContradictions(environ map[string]string, given raw, cfg Config, to upstream) {
	switch {
	case given.PoolFile != "" && len(to.ports) > 0:
		p.fail("GATEWAY_POOL_FILE", given.PoolFile, "is set, and VPN_GATEWAY has ports too: leave pool: alone there")
	case given.PoolFile == "" && len(to.ports) == 0:
		p.fail("VPN_GATEWAY", given.Gateway, "has no port in it, and GATEWAY_POOL_FILE is not set")
		return
	}
	switch {
	case to.iface != "" && given.InInterface != "" && to.iface != given.InInterface:
		p.fail("MIKROTIK_IN_INTERFACE", given.InInterface, "is not the interface that VPN_GATEWAY names after the %")
	case cfg.InInterface == "":
		p.fail("MIKROTIK_IN_INTERFACE", "", "is not set: no route shows where the ports of a pool arrive")
	}
	if delivery := environ["GATEWAY_DELIVERY"]; cfg.Symmetric {
		p.fail("GATEWAY_SYMMETRIC", given.Symmetric, "is for gateways that are asked, and a pool is not")
	} else if cfg.Delivery != nat.DeliverInternal {
		p.fail("GATEWAY_DELIVERY", delivery, "is for gateways that are asked: of a pool, VPN_GATEWAY says where packets arrive, such as 6881:51413")
	}
}

// parseHost reads the IPv4 address of one host.
func parseHost(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return netip.Addr{}, errors.New("is not an IP address")
	case !addr.Is4():
		return netip.Addr{}, errors.New("is IPv6, which NAT-PMP does not support")
	case !oneHost(addr):
		return netip.Addr{}, errNoHost
	}
	return addr, nil
}
