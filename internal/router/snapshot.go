package router

import (
	"cmp"
	"strings"

	"doublenat/internal/nat"
)

// view is what a read of the NAT table tells.
type view struct {
	snapshot nat.Snapshot
	// catchAll is the id of the first row of others in the dstnat chain that takes
	// packets of any port from our interface; "" for none. A rule of ours has to
	// stand before it.
	catchAll string
	// covered are the protocols whose packets such a row takes: a rule of ours behind it
	// does nothing.
	covered map[nat.Protocol]bool
	// strays are the rows with a comment of ours on some other interface.
	strays int
}

// ours returns what the comment of the row says if the row belongs to us.
func (s *site) ours(instance string, r natRow) (o owned, ok bool) {
	if r.dynamic || !s.owns(r.iface) {
		return owned{}, false
	}
	o, ok = parseComment(r.comment)
	return o, ok && o.instance == instance
}

// view sorts the rows of the NAT table, which stand in the order in which the
// router looks at them.
func (s *site) view(instance string, rows []natRow) view {
	v := view{snapshot: nat.Snapshot{Used: map[nat.Protocol]*nat.PortSet{}}, covered: make(map[nat.Protocol]bool)}
	for _, p := range nat.Protocols() {
		set := new(nat.PortSet)
		if used := s.used[p]; used != nil {
			*set = *used
		}
		v.snapshot.Used[p] = set
	}
	for _, r := range rows {
		if o, ok := s.ours(instance, r); ok {
			rule := r.rule(o, s.iface)
			rule.Altered = rule.Altered || v.covered[rule.Key.Protocol]
			v.snapshot.Rules = append(v.snapshot.Rules, rule)
			continue
		}
		if o, ok := parseComment(r.comment); ok && o.instance == instance {
			v.strays++
		}
		v.foreign(s, r)
	}
	return v
}

// foreign notes what a row of somebody else takes.
func (v *view) foreign(s *site, r natRow) {
	if r.chain == "srcnat" || r.disabled || r.invalid || !r.takes() || !s.concerns(r) {
		return
	}
	protocols := r.protocols()
	if len(protocols) == 0 {
		return
	}
	ports, known := r.ports()
	if known {
		for _, p := range protocols {
			ports.addTo(v.snapshot.Used[p])
		}
	} else if r.chain == chainDstNAT && !r.dynamic {
		// Nothing can be put before a dynamic row: RouterOS keeps those on top.
		v.catchAll = cmp.Or(v.catchAll, r.id)
		for _, p := range protocols {
			v.covered[p] = true
		}
	}
	v.snapshot.Forwards = appendForwards(v.snapshot.Forwards, r, protocols)
}

// concerns reports whether packets that come in through the tunnel may match the
// row's interface. In doubt they may.
func (s *site) concerns(r natRow) bool {
	if r.iface != "" {
		name, negated := strings.CutPrefix(r.iface, "!")
		switch name {
		case s.iface:
			if negated {
				return false
			}
		case "all-ethernet", "all-ppp", "all-vlan", "all-wireless":
			// A tunnel may be one of these or not: either way the row may take its packets.
		default:
			if !negated {
				return false
			}
		}
	}
	if r.ifaceList != "" {
		name, negated := strings.CutPrefix(r.ifaceList, "!")
		switch s.lists[name] {
		case listHas:
			return !negated
		case listLacks:
			return negated
		case listUnknown:
		}
	}
	return true
}
