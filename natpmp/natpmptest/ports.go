package natpmptest

import "doublenat/natpmp"

// The range of freely chosen ports unless the profile says otherwise.
const (
	defaultMinPort = 1024
	defaultMaxPort = 65535
)

// chooseLocked returns the external port for a new lease of l's client, protocol
// and internal port, or false when there is none.
func (g *Gateway) chooseLocked(l *lease, suggested uint16) (uint16, bool) {
	if c := g.companionLocked(l); c != nil {
		if port := g.besideLocked(l.protocol, c); g.freeLocked(l, l.protocol, port) {
			return port, true
		}
	}
	if port, ok := g.nextLocked(l); ok {
		return port, true
	}
	switch g.profile.Ports {
	case PortsUpward:
		return g.upwardLocked(l, suggested)
	case PortsSuggested:
		if g.fitsLocked(l, suggested) {
			return suggested, true
		}
		return g.randomLocked(l)
	case PortsRandom:
		return g.randomLocked(l)
	default:
		return 0, false
	}
}

// nextLocked returns the first port of GrantNext that l may have, if there is one.
func (g *Gateway) nextLocked(l *lease) (uint16, bool) {
	for len(g.next) > 0 {
		port := g.next[0]
		g.next = g.next[1:]
		if g.fitsLocked(l, port) {
			return port, true
		}
	}
	return 0, false
}

// companionLocked returns the lease of the other protocol to which the port of l
// has to fit, or nil when there is none or the profile does not care.
func (g *Gateway) companionLocked(l *lease) *lease {
	switch {
	case g.profile.Companion == CompanionAny:
		return nil
	case l.symmetric:
		return g.table.symmetric(l.client, other(l.protocol))
	default:
		return g.table.find(l.client, other(l.protocol), l.internal)
	}
}

// besideLocked returns the port that goes with the companion's.
func (g *Gateway) besideLocked(protocol natpmp.Opcode, companion *lease) uint16 {
	return g.pairedLocked(companion.protocol, companion.external, protocol)
}

// pairedLocked returns the port of protocol to that goes with a port of protocol from.
func (g *Gateway) pairedLocked(from natpmp.Opcode, port uint16, to natpmp.Opcode) uint16 {
	switch {
	case g.profile.Companion != CompanionNext || from == to:
		return port
	case to == natpmp.OpMapUDP:
		return port + 1
	default:
		return port - 1
	}
}

// freeLocked says whether l's client may have a port of a protocol.
func (g *Gateway) freeLocked(l *lease, protocol natpmp.Opcode, port uint16) bool {
	if port == 0 || g.table.at(protocol, port) != nil {
		return false
	}
	if !g.profile.ReservesCompanion {
		return true
	}
	holder := g.table.at(other(protocol), port)
	return holder == nil || holder.client == l.client
}

// fitsLocked says whether l may have a port, and its companion, should it come,
// the port that goes with it.
func (g *Gateway) fitsLocked(l *lease, port uint16) bool {
	if !g.freeLocked(l, l.protocol, port) {
		return false
	}
	if g.profile.Companion == CompanionAny {
		return true
	}
	o := other(l.protocol)
	return g.freeLocked(l, o, g.pairedLocked(l.protocol, port, o))
}

// upwardLocked returns the first free port from the suggested one or, without a
// suggestion, from the internal one.
func (g *Gateway) upwardLocked(l *lease, suggested uint16) (uint16, bool) {
	if suggested == 0 {
		suggested = l.internal
	}
	port := max(suggested, 1)
	for range defaultMaxPort {
		if g.fitsLocked(l, port) {
			return port, true
		}
		if port++; port == 0 {
			port = 1
		}
	}
	return 0, false
}

// randomLocked returns a random port of the profile's range. It depends on the
// seed, on whose port it is and on the time, and not on what else was chosen.
func (g *Gateway) randomLocked(l *lease) (uint16, bool) {
	low, high := uint64(g.profile.MinPort), uint64(g.profile.MaxPort)
	if low == 0 {
		low = defaultMinPort
	}
	if high == 0 {
		high = defaultMaxPort
	}
	if high < low {
		return 0, false
	}
	d := g.diceLocked(newHash(g.cfg.Seed).addr(l.client).word(uint64(l.internal)))
	span := high - low + 1
	first := d.below(span)
	for i := range span {
		port := uint16(low + (first+i)%span) //nolint:gosec // at most high, a port
		if g.fitsLocked(l, port) {
			return port, true
		}
	}
	return 0, false
}

// moveLocked gives a lease another external port, and its companion the one that
// goes with it. Without a free port all stays as it is.
func (g *Gateway) moveLocked(l *lease) {
	companion := g.companionLocked(l)
	// The old port is still taken while the new one is chosen, so that they differ.
	port, ok := g.nextLocked(l)
	if !ok {
		port, ok = g.randomLocked(l)
	}
	if !ok {
		return
	}
	g.rehomeLocked(l, port)
	if companion != nil {
		g.rehomeLocked(companion, g.besideLocked(companion.protocol, l))
	}
	g.stats.Moves++
}

// rehomeLocked puts a lease on another, free external port.
func (g *Gateway) rehomeLocked(l *lease, port uint16) {
	g.table.drop(l)
	l.external, l.renewals = port, 0
	if l.symmetric {
		l.internal = port
	}
	g.table.add(l)
	g.changed = true
}

// moveAllLocked moves every lease, pairs once.
func (g *Gateway) moveAllLocked() {
	done := make(map[*lease]bool)
	for _, l := range g.table.sorted() {
		if done[l] {
			continue
		}
		if c := g.companionLocked(l); c != nil {
			done[c] = true
		}
		g.moveLocked(l)
	}
}
