package daemon

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"doublenat/internal/config"
	"doublenat/natpmp"
)

// lan is one of this host's addresses on a link on which clients may live.
type lan struct {
	name   string
	index  int
	prefix netip.Prefix // this host's address and the link's prefix
}

// multicast returns the sender of announcements for the links that are served, or
// why there is none.
func multicast(conn net.PacketConn, cfg config.Config) (natpmp.AnnouncementSender, string) {
	if cfg.Announce.Mode == config.AnnounceOff {
		return nil, "switched off"
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return nil, "the socket cannot send multicast"
	}
	links, err := lans()
	if err != nil {
		return nil, err.Error()
	}
	links, reason := choose(links, cfg)
	if len(links) == 0 {
		return nil, reason
	}
	var to []natpmp.MulticastLink
	for _, l := range links {
		to = append(to, natpmp.MulticastLink{Interface: l.index, Source: l.prefix.Addr()})
	}
	sender, err := natpmp.NewMulticastSender(udp, to)
	if err != nil {
		return nil, err.Error()
	}
	how := "on " + strings.Join(names(links), ", ")
	if reason != "" {
		how += "; " + reason
	}
	return sender, how
}

// lans returns this host's links that are up and can do multicast.
func lans() ([]lan, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("listing interfaces: %w", err)
	}
	var found []lan
	const want = net.FlagUp | net.FlagMulticast
	for _, i := range all {
		if i.Flags&want != want || i.Flags&(net.FlagLoopback|net.FlagPointToPoint) != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // It went away just now.
		}
		for _, a := range addrs {
			// Of several addresses each may be some clients' gateway.
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
				found = append(found, lan{name: i.Name, index: i.Index, prefix: p})
			}
		}
	}
	return found, nil
}

// choose returns the links to announce on, or why there is none. Of interfaces that are
// named those are taken that are there; the reason tells of the others.
//
// Chosen by itself is a link on which clients can be: from some of its addresses
// requests are allowed, the gateway is not on it, requests to its address come in
// on our socket, and it has room for more hosts than this one and a router. The
// routed pair of a RouterOS container has not: what is multicast there never
// reaches the LAN (RFC 6886 §3.2.1: announcements stay on the link).
func choose(links []lan, cfg config.Config) ([]lan, string) {
	if named := cfg.Announce.Interfaces; len(named) > 0 {
		links = slices.DeleteFunc(slices.Clone(links), func(l lan) bool { return !slices.Contains(named, l.name) })
		found := names(links)
		missing := slices.DeleteFunc(slices.Clone(named), func(name string) bool { return slices.Contains(found, name) })
		if len(missing) == 0 {
			return links, ""
		}
		return links, "ANNOUNCE names " + strings.Join(missing, ", ") + ", which is not there or cannot send multicast"
	}
	links = slices.DeleteFunc(slices.Clone(links), func(l lan) bool {
		served := cfg.Listen.Addr().IsUnspecified() || cfg.Listen.Addr() == l.prefix.Addr()
		return !served || l.prefix.Masked().Contains(cfg.Gateway.Addr()) || !hasClients(cfg, l.prefix.Masked()) ||
			(cfg.Announce.Mode == config.AnnounceAuto && l.prefix.Bits() >= 30)
	})
	if len(links) == 0 {
		return nil, "no interface of this host is on a LAN with clients"
	}
	return links, ""
}

// hasClients says whether a host on the link may ask.
func hasClients(cfg config.Config, link netip.Prefix) bool {
	covers := func(p netip.Prefix) bool { return p.Bits() <= link.Bits() && p.Overlaps(link) }
	return slices.ContainsFunc(cfg.AllowedClients, link.Overlaps) && !slices.ContainsFunc(cfg.DeniedClients, covers)
}

// names returns the names of the links, each once.
func names(links []lan) []string {
	var all []string
	for _, l := range links {
		all = append(all, l.name)
	}
	return slices.Compact(all)
}
