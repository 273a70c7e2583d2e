package check

import (
	"net/netip"
	"strings"

	"doublenat/internal/walk"
	"doublenat/routeros"
)

// private are the networks that packets from the Internet do not come from.
const private = "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10"

// confined says to which private addresses a rule is limited, by what they are
// called; "" if the Internet may come through. What is in an address list is its
// owner's business.
func confined(row routeros.Row) string {
	source := row.Value("src-address")
	if s, ok := walk.ParseSpan(source); ok {
		for network := range strings.FieldsSeq(private) {
			if walk.SpanOf(netip.MustParsePrefix(network)).Has(s) {
				return "limited to " + source
			}
		}
	}
	if list := row.Value("src-address-list"); list != "" && !strings.HasPrefix(list, "!") {
		return "limited by the address list " + list
	}
	return ""
}
