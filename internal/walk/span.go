package walk

import (
	"net/netip"
	"strings"
)

// Span is an inclusive range of IPv4 addresses. The zero value is none: nothing is
// known of the address.
type Span struct{ First, Last netip.Addr }

// One returns the span of a single address.
func One(a netip.Addr) Span { return Span{a, a} }

// SpanOf returns the addresses of an IPv4 network.
func SpanOf(network netip.Prefix) Span {
	first := network.Masked().Addr().As4()
	last := first
	for bit := network.Bits(); bit < 32; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	return Span{netip.AddrFrom4(first), netip.AddrFrom4(last)}
}

// ParseSpan reads an address, a prefix or a range, as RouterOS writes them.
func ParseSpan(text string) (Span, bool) {
	if prefix, err := netip.ParsePrefix(text); err == nil && prefix.Addr().Is4() {
		return SpanOf(prefix), true
	}
	low, high, ranged := strings.Cut(text, "-")
	if !ranged {
		high = low
	}
	first, errFirst := netip.ParseAddr(low)
	last, errLast := netip.ParseAddr(high)
	return Span{first, last}, errFirst == nil && errLast == nil && first.Is4() && last.Is4() && !last.Less(first)
}

// IsValid reports whether the span has addresses.
func (s Span) IsValid() bool { return s.First.IsValid() }

// Contains reports whether the address is in the span.
func (s Span) Contains(a netip.Addr) bool { return s.IsValid() && s.Has(One(a)) }

// Has reports whether all of the other's addresses are in the span.
func (s Span) Has(other Span) bool {
	return s.First.Compare(other.First) <= 0 && other.Last.Compare(s.Last) <= 0
}

// Apart reports whether no address is in both.
func (s Span) Apart(other Span) bool { return s.Last.Less(other.First) || other.Last.Less(s.First) }

// takes says whether packets from or to all of the other's addresses are of the span.
func (s Span) takes(other Span) Fate {
	switch {
	case s.Has(other):
		return Always
	case s.Apart(other):
		return Never
	default:
		return Partly
	}
}

// matchSpan looks for addresses in one, a prefix or a range.
func matchSpan(value string, p Span) Fate {
	if value == "0.0.0.0/0" {
		return Always
	}
	s, ok := ParseSpan(value)
	if !ok || !p.IsValid() {
		return Perhaps
	}
	return s.takes(p)
}
