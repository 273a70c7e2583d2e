package igdtest

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"doublenat/igd"
)

// outer names a mapping at the public address.
type outer struct {
	protocol igd.Protocol
	port     uint16
}

// entry is a mapping with its times.
type entry struct {
	igd.Mapping
	made    time.Time
	expires time.Time // zero for never
}

// left returns the mapping with the lease that is left of it.
func (e *entry) left(now time.Time) igd.Mapping {
	m := e.Mapping
	m.Lease = 0
	if !e.expires.IsZero() {
		m.Lease = e.expires.Sub(now).Truncate(time.Second)
	}
	return m
}

// expireLocked ends what is over.
func (g *Gateway) expireLocked(now time.Time) {
	forget := g.profile.ForgetAfter
	for k, e := range g.table {
		if !e.expires.IsZero() && !e.expires.After(now) || forget > 0 && now.Sub(e.made) >= forget {
			delete(g.table, k)
		}
	}
}

// sortedLocked returns the mappings in the order of their external ports.
func (g *Gateway) sortedLocked(now time.Time) []igd.Mapping {
	g.expireLocked(now)
	sorted := slices.SortedFunc(maps.Values(g.table), func(a, b *entry) int {
		return (int(a.External)-int(b.External))*4 + int(a.Protocol) - int(b.Protocol)
	})
	out := make([]igd.Mapping, 0, len(sorted))
	for _, e := range sorted {
		out = append(out, e.left(now))
	}
	return out
}

// addLocked makes a mapping and returns the code of the failure, or 0.
func (g *Gateway) addLocked(now time.Time, from netip.Addr, m igd.Mapping) igd.Code {
	p := &g.profile
	old := g.table[outer{m.Protocol, m.External}]
	if code := p.forbids(from, m); code != 0 {
		return code
	}
	switch {
	case old != nil && (old.Client != m.Client || p.NoRenewal):
		return cmp.Or(p.Conflict, igd.CodeConflict)
	case old == nil && p.MaxMappings > 0 && len(g.table) >= p.MaxMappings:
		return igd.CodeNoPortsLeft
	case p.Empty:
		return 0
	}
	if p.IgnoresLease {
		m.Lease = 0
	}
	if p.MaxLease > 0 && m.Lease != 0 {
		m.Lease = min(m.Lease, p.MaxLease)
	}
	// The client's other mapping of this port is overwritten (WANIPConnection:1 §2.4.16).
	e := &entry{Mapping: m, made: now}
	if m.Lease != 0 {
		e.expires = now.Add(m.Lease)
	}
	if old == nil {
		g.stats.Creates++
	} else {
		g.stats.Renewals++
	}
	g.table[outer{m.Protocol, m.External}] = e
	return 0
}

// forbids returns the code with which the profile refuses a mapping whatever there is, or 0.
func (p Profile) forbids(from netip.Addr, m igd.Mapping) igd.Code {
	switch {
	case p.Secure != 0 && m.Client != from:
		return p.Secure
	case p.SamePorts && m.External != m.Internal:
		return igd.CodeSamePortRequired
	case p.OnlyPermanent && m.Lease != 0:
		return igd.CodeOnlyPermanent
	case p.InvalidLease && m.Lease != 0:
		return igd.CodeInvalidArgs
	default:
		return 0
	}
}

// addAnyLocked makes a mapping with the next free port.
func (g *Gateway) addAnyLocked(now time.Time, from netip.Addr, m igd.Mapping) (uint16, igd.Code) {
	for range 1 << 16 {
		old := g.table[outer{m.Protocol, m.External}]
		if m.External != 0 && (old == nil || old.Client == m.Client && old.Internal == m.Internal) {
			return m.External, g.addLocked(now, from, m)
		}
		m.External++
	}
	return 0, igd.CodeNoPortsLeft
}

// removeLocked removes a mapping.
func (g *Gateway) removeLocked(from netip.Addr, p igd.Protocol, port uint16) igd.Code {
	e := g.table[outer{p, port}]
	switch {
	case e == nil:
		return igd.CodeNoSuchEntry
	case g.profile.Secure != 0 && e.Client != from:
		return igd.CodeNotAuthorized
	}
	delete(g.table, outer{p, port})
	g.stats.Deletes++
	return 0
}
