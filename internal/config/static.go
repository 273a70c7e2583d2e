package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"doublenat/internal/nat"
)

// StaticMapping is a mapping that doublenat holds by itself from start to stop,
// for a host that speaks no NAT-PMP. It is comparable.
type StaticMapping struct {
	// Key says which port of which host, and which protocol.
	Key nat.Key
	// SuggestedPort is the external port that the gateway is asked for; 0 for any.
	// The gateway may grant another one.
	SuggestedPort uint16
}

// String returns the mapping as STATIC_MAPPINGS takes it.
func (m StaticMapping) String() string {
	s := m.Key.Protocol.String() + ":" + netip.AddrPortFrom(m.Key.Client, m.Key.InternalPort).String()
	if m.SuggestedPort != 0 {
		s += "=" + strconv.Itoa(int(m.SuggestedPort))
	}
	return s
}

// parseStatic reads a comma-separated list of static mappings. An item for both
// protocols is two mappings, TCP first.
func parseStatic(s string) ([]StaticMapping, error) {
	var list []StaticMapping
	seen := make(map[nat.Key]bool)
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		mappings, err := parseStaticItem(item)
		if err != nil {
			return nil, err
		}
		for _, m := range mappings {
			if seen[m.Key] {
				return nil, fmt.Errorf("has %s twice in it", m.Key)
			}
			seen[m.Key] = true
			list = append(list, m)
		}
	}
	return list, nil
}

// parseStaticItem reads "tcp|udp|both:address:port[=external port]".
func parseStaticItem(item string) ([]StaticMapping, error) {
	protocol, rest, _ := strings.Cut(item, ":")
	var protocols []nat.Protocol
	switch strings.ToLower(protocol) {
	case "tcp":
		protocols = []nat.Protocol{nat.TCP}
	case "udp":
		protocols = []nat.Protocol{nat.UDP}
	case "both":
		protocols = []nat.Protocol{nat.TCP, nat.UDP}
	default:
		return nil, fmt.Errorf("has %q in it, which does not begin with tcp, udp or both and a colon", item)
	}
	host, wish, hasWish := strings.Cut(rest, "=")
	to, err := netip.ParseAddrPort(host)
	if a := to.Addr(); err != nil || to.Port() == 0 || !a.Is4() || !oneHost(a) {
		return nil, fmt.Errorf("has %q in it, which names no host's IPv4 address and port", item)
	}
	suggested := uint64(0)
	if hasWish {
		if suggested, err = strconv.ParseUint(wish, 10, 16); err != nil || suggested == 0 {
			return nil, fmt.Errorf("has %q in it, which names no external port after the equals sign", item)
		}
	}
	mappings := make([]StaticMapping, len(protocols))
	for i, p := range protocols {
		mappings[i] = StaticMapping{
			Key:           nat.ClientPort{Client: to.Addr(), InternalPort: to.Port()}.With(p),
			SuggestedPort: uint16(suggested),
		}
	}
	return mappings, nil
}

// tooMany says why the static mappings can never all stand beside the limits, or
// returns nothing if they can. A limit that could not be read limits nothing here.
func tooMany(cfg Config) string {
	perHost := make(map[netip.Addr]int)
	for _, m := range cfg.Static {
		perHost[m.Key.Client]++
		if n := perHost[m.Key.Client]; cfg.MaxMappingsPerClient > 0 && n > cfg.MaxMappingsPerClient {
			return fmt.Sprintf("has more mappings of %s than MAX_MAPPINGS_PER_CLIENT allows", m.Key.Client)
		}
	}
	if cfg.MaxMappings > 0 && len(cfg.Static) > cfg.MaxMappings {
		return "has more mappings than MAX_MAPPINGS allows"
	}
	return ""
}

// severalPorts says whether the static mappings are of more than one client port.
func severalPorts(list []StaticMapping) bool {
	return slices.ContainsFunc(list, func(m StaticMapping) bool { return m.Key.Port() != list[0].Key.Port() })
}

// misdirected says which static mapping nothing should be forwarded to, or returns
// nothing if there is none. What could not be read forbids nothing here.
func misdirected(cfg Config) string {
	router, _ := netip.ParseAddr(cfg.Router.Host) // invalid for a name
	for _, m := range cfg.Static {
		client, port := m.Key.Client, m.Key.InternalPort
		switch {
		case client == cfg.Gateway.Addr():
			return fmt.Sprintf("has %s in it, which is VPN_GATEWAY", m)
		case client.IsLoopback() && cfg.Router.Host != "" && !cfg.Router.Loopback():
			return fmt.Sprintf("has %s in it, where the router would forward to itself: loopback goes with a MIKROTIK_API_ADDRESS on loopback only", m)
		case client == router.Unmap() && !client.IsLoopback():
			return fmt.Sprintf("has %s in it, which is the router (MIKROTIK_API_ADDRESS)", m)
		case m.Key.Protocol == nat.UDP && (port == natpmpPort || port == announcePort):
			return fmt.Sprintf("has %s in it, a port of NAT-PMP, which must not be reached from the Internet (RFC 6886 §3.3)", m)
		}
	}
	return ""
}
