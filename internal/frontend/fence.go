package frontend

import (
	"net/netip"
	"slices"

	"doublenat/natpmp"
)

// fence says who may ask.
type fence struct {
	allow, deny []netip.Prefix
	exclude     func(netip.Addr) bool
}

// verdict is what the fence says about an address.
type verdict uint8

const (
	admitted verdict = iota
	notAllowed
	denied
	excluded
)

// judge says whether the address is a client's.
func (f *fence) judge(a netip.Addr) verdict {
	has := func(p netip.Prefix) bool { return p.Contains(a) }
	switch {
	case !a.Is4() || !slices.ContainsFunc(f.allow, has):
		return notAllowed
	case slices.ContainsFunc(f.deny, has):
		return denied
	case f.exclude(a):
		return excluded
	default:
		return admitted
	}
}

// Admit is for [natpmp.ServerConfig]: it drops in silence, version errors
// included, whatever does not come from a client, and counts it. Every packet
// passes here once, before any work is done for it.
func (f *Frontend) Admit(a natpmp.Arrival) bool { return f.isClient(a.Client.Addr()) }

// isClient says whether a request from the address gets an answer.
func (f *Frontend) isClient(a netip.Addr) bool {
	switch f.fence.judge(a) {
	case admitted:
		return true
	case denied:
		f.count.denied.Add(1)
	case excluded:
		f.count.excluded.Add(1)
	case notAllowed:
		f.count.notAllowed.Add(1)
	}
	return false
}
