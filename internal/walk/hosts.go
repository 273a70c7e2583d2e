package walk

import (
	"net/netip"
	"slices"

	"doublenat/routeros"
)

// Hosts returns hosts of a network, one for each part of it that some row tells
// from the others, the host of the largest part first. The router's own addresses
// and those of the network itself are left out. At most limit are returned; whole
// says that these are all.
func (t *Tables) Hosts(network netip.Prefix, limit int) (hosts []netip.Addr, whole bool) {
	all := SpanOf(network)
	if network.Bits() < 31 {
		all = Span{all.First.Next(), all.Last.Prev()}
	}
	starts := []netip.Addr{all.First} // of parts, each of which ends where the next one starts
	cut := func(s Span) {
		if all.Contains(s.First) {
			starts = append(starts, s.First)
		}
		if next := s.Last.Next(); next.IsValid() && all.Contains(next) {
			starts = append(starts, next)
		}
	}
	for _, s := range t.boundaries() {
		cut(s)
	}
	for _, n := range t.Networks() {
		cut(One(n.Prefix.Addr()))
	}
	slices.SortFunc(starts, netip.Addr.Compare)
	starts = slices.Compact(starts)
	type part struct {
		host netip.Addr
		size uint32
	}
	var parts []part
	for i, first := range starts {
		end := all.Last
		if i+1 < len(starts) {
			end = starts[i+1].Prev()
		}
		if !t.Owns(first) {
			parts = append(parts, part{first, number(end) - number(first)})
		}
	}
	slices.SortStableFunc(parts, func(a, b part) int { return int(int64(b.size) - int64(a.size)) })
	for _, p := range parts[:min(limit, len(parts))] {
		hosts = append(hosts, p.host)
	}
	return hosts, len(parts) <= limit
}

// number returns an address as a number.
func number(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// boundaries returns the spans of addresses that rows tell from others.
func (t *Tables) boundaries() []Span {
	var all []Span
	for _, path := range []string{PathRaw, PathMangle, PathNAT, PathFilter, PathRule, PathRule6} {
		for _, row := range t.Rows[path] {
			if enabled(row) {
				all = append(all, spansOf(row, "src-address", "dst-address")...)
			}
		}
	}
	for _, row := range t.Rows[PathAddresses] {
		if enabled(row) {
			all = append(all, spansOf(row, "address")...)
		}
	}
	for _, row := range t.Rows[PathRoute] {
		if row.Bool("active") {
			all = append(all, spansOf(row, "dst-address")...)
		}
	}
	return all
}

// spansOf returns the spans in some attributes of a row, negated or not.
func spansOf(row routeros.Row, names ...string) []Span {
	var all []Span
	for _, name := range names {
		value := row.Value(name)
		if value != "" && value[0] == '!' {
			value = value[1:]
		}
		if s, ok := ParseSpan(value); ok {
			all = append(all, s)
		}
	}
	return all
}
