package check

import (
	"context"
	"net/netip"
	"strings"

	"doublenat/routeros"
)

// span is an inclusive range of addresses.
type span struct{ first, last netip.Addr }

// parseSpan reads an address, a prefix or a range, as RouterOS writes them.
func parseSpan(text string) (span, bool) {
	if prefix, err := netip.ParsePrefix(text); err == nil && prefix.Addr().Is4() {
		return spanOf(prefix), true
	}
	low, high, ranged := strings.Cut(text, "-")
	if !ranged {
		high = low
	}
	first, errFirst := netip.ParseAddr(low)
	last, errLast := netip.ParseAddr(high)
	return span{first, last}, errFirst == nil && errLast == nil && first.Is4() && last.Is4()
}

// spanOf returns the addresses of an IPv4 network.
func spanOf(network netip.Prefix) span {
	first := network.Masked().Addr().As4()
	last := first
	for bit := network.Bits(); bit < 32; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	return span{netip.AddrFrom4(first), netip.AddrFrom4(last)}
}

// has reports whether all of the other's addresses are in the span.
func (s span) has(other span) bool {
	return s.first.Compare(other.first) <= 0 && other.last.Compare(s.last) <= 0
}

// apart reports whether no address is in both.
func (s span) apart(other span) bool { return s.last.Less(other.first) || other.last.Less(s.first) }

// takes says whether packets from or to all of the other's addresses are of the span.
func (s span) takes(other span) fate {
	switch {
	case s.has(other):
		return always
	case s.apart(other):
		return never
	default:
		return partly
	}
}

// matchSpan looks for addresses in one, a prefix or a range.
func matchSpan(value string, p span) fate {
	if value == "0.0.0.0/0" {
		return always
	}
	s, ok := parseSpan(value)
	if !ok || !p.first.IsValid() {
		return perhaps
	}
	return s.takes(p)
}

// matchSpanList looks for addresses in an address list of the router's.
func (v *visit) matchSpanList(ctx context.Context, list string, p span) (fate, error) {
	if !p.first.IsValid() {
		return perhaps, nil
	}
	rows, err := v.active(ctx, "/ip/firewall/address-list")
	if err != nil {
		return never, err
	}
	result := never
	for _, row := range rows {
		if row.Value("list") == list { // an entry may be a name, which is resolved now and then
			result = max(result, matchSpan(row.Value("address"), p))
		}
	}
	return result, nil
}

// private are the networks that packets from the Internet do not come from.
const private = "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10"

// confined says to which private addresses a rule is limited, by what they are
// called; "" if the Internet may come through. What is in an address list is its
// owner's business.
func confined(row routeros.Row) string {
	source := row.Value("src-address")
	if s, ok := parseSpan(source); ok {
		for network := range strings.FieldsSeq(private) {
			if spanOf(netip.MustParsePrefix(network)).has(s) {
				return "limited to " + source
			}
		}
	}
	if list := row.Value("src-address-list"); list != "" && !strings.HasPrefix(list, "!") {
		return "limited by the address list " + list
	}
	return ""
}
