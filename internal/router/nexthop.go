package router

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"doublenat/routeros"
)

// hop is the gateway of the default route, of the time since which another one is seen there.
type hop struct {
	other   netip.Addr // the zero Addr for none
	since   time.Time  // when other was seen first
	missing bool       // the default route has none, and that was logged
}

// Gateway returns the address of the gateway: the one that is configured, or that of the
// default route as of the last look; the zero Addr before one, and without a gateway. It
// does not wait for anything.
func (r *Router) Gateway() netip.Addr {
	if r.cfg.Place != PlaceDefaultRoute {
		return r.cfg.Gateway
	}
	if found := r.gateway.Load(); found != nil {
		return *found
	}
	return netip.Addr{}
}

// locate returns the gateway. That of the default route may be another one than before:
// that has to last, as a line that is down for a moment sends all by a second one. A
// default route that has none leaves it at what it was. The [*InterfaceError] says why there
// is none.
func (r *Router) locate(ctx context.Context) (netip.Addr, *InterfaceError, error) {
	if r.cfg.Place != PlaceDefaultRoute {
		return r.cfg.Gateway, nil, nil
	}
	rows, told, err := r.routesTo(ctx, netip.IPv4Unspecified(), wholeInternet)
	if err != nil {
		return netip.Addr{}, nil, err
	}
	known := r.Gateway()
	found, through := nextHop(rows, known)
	switch {
	case found.IsValid():
		return r.confirm(known, found), nil, nil
	case known.IsValid():
		r.stayWith(known, through)
		return known, nil, nil
	}
	missing := noGateway(through)
	missing.certain = told
	return netip.Addr{}, missing, nil
}

// confirm returns the gateway that counts, given the one that is known and the one that the
// default route has: the known one until the other has been there for a while.
func (r *Router) confirm(known, found netip.Addr) netip.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hop.missing = false
	switch {
	case !known.IsValid() || found == known:
		r.hop.other = netip.Addr{}
		return found
	case r.hop.other != found:
		r.hop.other, r.hop.since = found, time.Now()
		r.lookSoon()
		return known
	case time.Since(r.hop.since) < confirmAfter:
		return known
	default:
		return found
	}
}

// stayWith notes that the default route has no gateway any more. Nothing is undone because
// of it: whether the one that is known is reached is another question.
func (r *Router) stayWith(known netip.Addr, through []string) {
	r.mu.Lock()
	told := r.hop.missing
	r.hop.other, r.hop.missing = netip.Addr{}, true
	r.mu.Unlock()
	if !told {
		r.log.Warn("the router's default route no longer has a gateway address, keeping the last one",
			"gateway", known.String(), "through", strings.Join(through, ", "))
	}
}

// takeGateway makes what a site was read with the gateway, and tells of a change.
func (r *Router) takeGateway(s *site) {
	if r.cfg.Place != PlaceDefaultRoute {
		return
	}
	r.mu.Lock()
	before := r.Gateway()
	if current := r.site; current != nil && current.gateway != s.gateway || before == s.gateway {
		r.mu.Unlock()
		return // somebody else has seen something newer, or nothing is new
	}
	r.gateway.Store(&s.gateway)
	r.hop.other = netip.Addr{}
	r.mu.Unlock()
	if before.IsValid() {
		r.log.Warn("the router's default route has another gateway", "gateway", s.gateway.String(), "before", before.String())
	} else {
		r.log.Info("gateway found from the router's default route", "gateway", s.gateway.String())
	}
	if r.cfg.OnGateway != nil {
		r.cfg.OnGateway()
	}
}

// nextHop returns the gateway of the default route in the main table: of the routes in use
// those with the lowest distance. Of several equal ones it is the one that is known, else
// the first. Without an address the result is the zero Addr, and through are the interfaces
// by which the route leads, nil without a route.
func nextHop(rows []routeros.Row, known netip.Addr) (found netip.Addr, through []string) {
	var hops []netip.Addr
	best := uint64(1 << 8)
	for _, row := range rows {
		prefix, err := netip.ParsePrefix(row.Value("dst-address"))
		if err != nil || !prefix.Addr().Is4() || prefix.Bits() != wholeInternet || !inUse(row) || !inMain(row) {
			continue
		}
		distance, _ := strconv.ParseUint(row.Value("distance"), 10, 8) // 0 for one without
		if distance > best {
			continue
		}
		if distance < best {
			best, hops, through = distance, nil, nil
		}
		hops, through = append(hops, hopsOf(row)...), append(through, Exits(row)...)
	}
	switch {
	case slices.Contains(hops, known):
		return known, through
	case len(hops) > 0:
		return hops[0], through
	default:
		return netip.Addr{}, through
	}
}

// inUse reports whether packets go by a row of /ip/route.
func inUse(row routeros.Row) bool {
	return row.Bool("active") && !row.Bool("disabled") && !row.Bool("inactive")
}

// hopsOf returns the addresses to which a route leads, next to the router: a route by way
// of a host far off ("recursive") leads to whoever is on the way to that one. An interface
// as gateway has none.
func hopsOf(row routeros.Row) (found []netip.Addr) {
	list, parse := row.Value("gateway"), hopV7
	if status := row.Value("gateway-status"); status != "" {
		list, parse = status, hopV6
	} else if immediate := row.Value("immediate-gw"); immediate != "" {
		list = immediate
	}
	for item := range strings.SplitSeq(list, ",") {
		if a, err := netip.ParseAddr(parse(strings.TrimSpace(item))); err == nil && a.Is4() && a.IsGlobalUnicast() {
			found = append(found, a)
		}
	}
	return found
}

// hopV7 reads the address out of "192.168.1.1%ether1", "192.168.1.1" or an interface.
func hopV7(text string) string {
	address, _, _ := strings.Cut(text, "%")
	return address
}

// hopV6 reads it out of what RouterOS 6 has in gateway-status, see exitV6.
func hopV6(text string) string {
	address, _, _ := strings.Cut(text, " ")
	if _, way, ok := strings.Cut(text, " recursive via "); ok {
		address, _, _ = strings.Cut(strings.TrimSpace(way), " ")
	}
	return hopV7(address)
}
