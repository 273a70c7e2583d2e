package walk

import (
	"net/netip"
	"slices"
	"strings"

	"doublenat/routeros"
)

// The tables that a walk reads, by their path.
const (
	PathRaw        = "/ip/firewall/raw"
	PathMangle     = "/ip/firewall/mangle"
	PathNAT        = "/ip/firewall/nat"
	PathFilter     = "/ip/firewall/filter"
	PathRoute      = "/ip/route"
	PathRule       = "/routing/rule"  // RouterOS 7
	PathRule6      = "/ip/route/rule" // RouterOS 6
	PathVRF        = "/ip/vrf"        // RouterOS 7
	PathVRF6       = "/ip/route/vrf"  // RouterOS 6
	PathAddress    = "/ip/address"
	PathInterface  = "/interface"
	PathLists      = "/interface/list"
	PathMembers    = "/interface/list/member"
	PathPolicy     = "/ip/ipsec/policy"
	PathAddresses  = "/ip/firewall/address-list"
	MainTable      = "main"
	maxListNesting = 8
)

// Paths returns the tables that a walk reads whole. Routes and address lists may be
// too many for that.
func Paths() []string {
	return []string{
		PathRaw, PathMangle, PathNAT, PathFilter, PathRule, PathRule6, PathVRF, PathVRF6, PathAddress, PathInterface, PathLists, PathMembers, PathPolicy,
	}
}

// Tables is a router as far as packets are concerned. Its methods read it, but for
// [Tables.Apply], and none may run at the same time as that.
type Tables struct {
	// Rows has the rows of each table, in the router's order, by path. A table that
	// is missing has no rows.
	Rows map[string][]routeros.Row
	// Partial limits for which addresses the rows of [PathRoute] and
	// [PathAddresses] are complete. Nil means that they are for all.
	Partial []Span
	// LocalFirst is set for RouterOS 6, which looks for its own addresses before it
	// looks at routing marks.
	LocalFirst bool

	chains   map[chainKey][]routeros.Row // enabled rows by chain, made when asked for
	networks []Network                   // made when asked for
}

// chainKey names a chain.
type chainKey struct{ path, chain string }

// Clone returns a copy that can be changed by [Tables.Apply].
func (t *Tables) Clone() *Tables {
	rows := make(map[string][]routeros.Row, len(t.Rows))
	for path, all := range t.Rows {
		rows[path] = slices.Clone(all)
	}
	return &Tables{Rows: rows, Partial: t.Partial, LocalFirst: t.LocalFirst}
}

// enabled reports whether a row is in use.
func enabled(row routeros.Row) bool {
	return !row.Bool("disabled") && !row.Bool("invalid") && !row.Bool("inactive")
}

// chain returns the rows of a chain that are in use.
func (t *Tables) chain(path, name string) []routeros.Row {
	key := chainKey{path, name}
	if rows, known := t.chains[key]; known {
		return rows
	}
	var rows []routeros.Row
	for _, row := range t.Rows[path] {
		if row.Value("chain") == name && enabled(row) {
			rows = append(rows, row)
		}
	}
	if t.chains == nil {
		t.chains = make(map[chainKey][]routeros.Row)
	}
	t.chains[key] = rows
	return rows
}

// covers reports whether routes and address lists are complete for the addresses.
func (t *Tables) covers(p Span) bool {
	return t.Partial == nil || slices.ContainsFunc(t.Partial, func(s Span) bool { return s.Has(p) })
}

// matchInterface looks whether an interface is the one that a rule names, or one of
// a group that RouterOS has by itself.
func (t *Tables) matchInterface(value, name string) Fate {
	if name == "" {
		return Perhaps
	}
	groups := map[string][]string{
		"all-ethernet": {"ether"},
		"all-ppp":      {"ppp-out", "ppp-in", "pppoe-out", "pppoe-in", "l2tp-out", "l2tp-in", "pptp-out", "pptp-in", "sstp-out", "sstp-in", "ovpn-out", "ovpn-in"},
		"all-vlan":     {"vlan"},
		"all-wireless": {"wlan", "wifi", "cap"},
	}
	kinds, group := groups[value]
	if !group {
		return sure(true, value == name)
	}
	if name == NoInterface {
		return Never
	}
	i := slices.IndexFunc(t.Rows[PathInterface], func(r routeros.Row) bool { return r.Value("name") == name })
	if i < 0 {
		return Perhaps
	}
	return sure(true, slices.Contains(kinds, t.Rows[PathInterface][i].Value("type")))
}

// matchList looks an interface up in an interface list.
func (t *Tables) matchList(list, name string) Fate { return t.member(list, name, 0) }

// member is matchList for a list that others may be made of.
func (t *Tables) member(list, name string, depth int) Fate {
	switch {
	case list == "all":
		return Always
	case list == "none" || name == NoInterface:
		return Never
	case name == "" || list == "dynamic" || list == "static" || depth > maxListNesting:
		return Perhaps
	}
	f := sure(true, slices.ContainsFunc(t.Rows[PathMembers], func(r routeros.Row) bool {
		return r.Value("list") == list && r.Value("interface") == name && enabled(r)
	}))
	i := slices.IndexFunc(t.Rows[PathLists], func(r routeros.Row) bool { return r.Value("name") == list })
	if i < 0 {
		return f // a list that was deleted has nobody
	}
	for _, other := range fields(t.Rows[PathLists][i].Value("include")) {
		if other != "" {
			f = max(f, t.member(other, name, depth+1))
		}
	}
	for _, other := range fields(t.Rows[PathLists][i].Value("exclude")) {
		if other != "" {
			f = min(f, t.member(other, name, depth+1).not())
		}
	}
	return f
}

// matchAddressList looks for addresses in an address list.
func (t *Tables) matchAddressList(list string, p Span) Fate {
	if !p.IsValid() || !t.covers(p) {
		return Perhaps
	}
	result := Never
	for _, row := range t.Rows[PathAddresses] {
		if row.Value("list") == list && enabled(row) { // an entry may be a name, which is resolved now and then
			result = max(result, matchSpan(row.Value("address"), p))
		}
	}
	return result
}

// matchType knows what kind of address one is by the router's own.
func (t *Tables) matchType(value string, a Span, local, remote bool) Fate {
	if !local && !remote {
		if !a.IsValid() || a.First != a.Last {
			return Perhaps
		}
		switch {
		case a.First.IsMulticast():
			return sure(true, value == "multicast")
		case t.broadcast(a.First):
			return sure(true, value == "broadcast")
		}
		local = t.Owns(a.First)
		remote = !local
	}
	return sure(true, value == "local" && local || value == "unicast" && remote)
}

// matchIPsec says whether an IPsec policy is for the packet, or whether none is.
func (t *Tables) matchIPsec(value string, p Packet) Fate {
	covered := Never
	for _, row := range t.Rows[PathPolicy] {
		if !enabled(row) || row.Bool("template") {
			continue
		}
		f := Always
		for name, addresses := range map[string]Span{"src-address": p.Src, "dst-address": p.Dst} {
			if text := row.Value(name); text != "" {
				f = min(f, matchSpan(text, addresses))
			}
		}
		covered = max(covered, f)
	}
	if strings.HasSuffix(value, "none") {
		return covered.not()
	}
	return covered
}

// Network is an address of the router with its network and interface.
type Network struct {
	Prefix    netip.Prefix // with the router's own address
	Interface string
}

// Networks returns the router's IPv4 addresses that are in use.
func (t *Tables) Networks() []Network {
	if t.networks == nil {
		t.networks = t.readNetworks()
	}
	return t.networks
}

// readNetworks reads the rows of addresses.
func (t *Tables) readNetworks() []Network {
	var all []Network
	for _, row := range t.Rows[PathAddress] {
		prefix, err := netip.ParsePrefix(row.Value("address"))
		if err != nil || !prefix.Addr().Is4() || !enabled(row) {
			continue
		}
		name := row.Value("actual-interface")
		if name == "" {
			name = row.Value("interface")
		}
		all = append(all, Network{prefix, name})
	}
	return all
}

// Owns reports whether an address is the router's own.
func (t *Tables) Owns(a netip.Addr) bool {
	return slices.ContainsFunc(t.Networks(), func(n Network) bool { return n.Prefix.Addr() == a })
}

// broadcast reports whether an address is the last of one of the router's networks.
func (t *Tables) broadcast(a netip.Addr) bool {
	return a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || slices.ContainsFunc(t.Networks(), func(n Network) bool {
		return n.Prefix.Bits() < 31 && SpanOf(n.Prefix).Last == a
	})
}

// AddressOn returns the router's first address on an interface, invalid if none.
func (t *Tables) AddressOn(iface string) netip.Addr {
	for _, n := range t.Networks() {
		if n.Interface == iface {
			return n.Prefix.Addr()
		}
	}
	return netip.Addr{}
}
