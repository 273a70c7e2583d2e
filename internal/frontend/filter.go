package frontend

import (
	"net/netip"

	"doublenat/internal/nat"
	"doublenat/pcp"
)

// filterOf returns what the options of a request make of its mapping's filter, in their order
// (RFC 6887 §13.3). Code says why they are refused: a filter that makes no sense for a mapping
// of IPv4, or more of them than a mapping can have. What those beyond [pcp.MaxFilters] are is
// not known.
func filterOf(o *pcp.Options) (all nat.Filter, code pcp.ResultCode) {
	for _, one := range o.Filters[:min(o.Filtered, pcp.MaxFilters)] {
		next, ok := oneFilter(one)
		if !ok {
			return nat.Filter{}, pcp.ResultMalformedOption
		}
		if all, ok = all.Then(next); !ok {
			return nat.Filter{}, pcp.ResultExcessiveRemotePeers
		}
	}
	if o.Filtered > pcp.MaxFilters {
		return nat.Filter{}, pcp.ResultExcessiveRemotePeers
	}
	return all, pcp.ResultSuccess
}

// oneFilter returns what one option does. One of IPv6 lets in nobody whom a mapping of IPv4
// can hear, and says nothing that its client can have meant.
func oneFilter(f pcp.Filter) (nat.Filter, bool) {
	hosts := f.Remote
	switch addr := hosts.Addr(); {
	case hosts.Bits() == 0:
		return nat.Filter{Op: nat.FilterSet}, true // takes all away, whatever the rest says
	case addr.Is4In6() && hosts.Bits() == 96:
		hosts = netip.PrefixFrom(addr.Unmap(), 0)
	}
	remote, err := nat.RemoteOf(hosts, f.Port)
	return nat.Filter{Op: nat.FilterAdd, Remote: remote}, err == nil
}
