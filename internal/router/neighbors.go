package router

import (
	"context"
	"net/netip"

	"doublenat/routeros"
)

// arpPath is the table of the hosts on the router's links, which is as short as a LAN has hosts.
const arpPath = "/ip/arp"

// Neighbors returns those of the hosts that the router sees on one of its links, and false if
// it does not show them. A host behind another router is none. The error is one of the
// connection to the router.
//
// Which words RouterOS uses for status was not tried: a host counts as seen unless the row says
// that it is not.
func (r *Router) Neighbors(ctx context.Context, of []netip.Addr) (seen map[netip.Addr]bool, shown bool, err error) {
	wanted := make(map[netip.Addr]bool, len(of))
	for _, a := range of {
		wanted[a] = true
	}
	seen = make(map[netip.Addr]bool)
	cmd := routeros.Command{Path: arpPath + "/print", Properties: []string{"address", "mac-address", "complete", "status", "disabled", "invalid"}}
	_, err = r.each(ctx, cmd, func(row routeros.Row) error {
		if a, err := netip.ParseAddr(row.Value("address")); err == nil && wanted[a] && answers(row) {
			seen[a] = true
		}
		return nil
	})
	switch {
	case err != nil && refused(err):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	default:
		return seen, true, nil
	}
}

// answers says whether a row is of a host that the router found.
func answers(row routeros.Row) bool {
	complete, told := row.Lookup("complete")
	mac, status := row.Value("mac-address"), row.Value("status")
	return mac != "" && mac != "00:00:00:00:00:00" && (!told || complete != "false") && status != "failed" && status != "incomplete" &&
		!row.Bool("disabled") && !row.Bool("invalid")
}
