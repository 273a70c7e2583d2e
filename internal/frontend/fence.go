package frontend

import (
	"net/netip"
	"slices"
	"time"

	"doublenat/internal/datagram"
)

// fence says who may ask.
type fence struct {
	allow, deny []netip.Prefix
	exclude     func(netip.Addr) bool
	relay       func(netip.Addr) bool
}

// verdict is what the fence says about an address.
type verdict uint8

const (
	admitted verdict = iota
	notAllowed
	denied
	excluded
	tooFast    // more requests than one client may send
	tooManyNew // more clients than may come new
)

// judge says whether the address is a client's. The router's own come first: who
// allows a few clients only is to hear of a redirect that is masqueraded, too.
func (f *fence) judge(a netip.Addr) verdict {
	has := func(p netip.Prefix) bool { return p.Contains(a) }
	switch {
	case f.exclude(a):
		return excluded
	case !a.Is4() || !slices.ContainsFunc(f.allow, has):
		return notAllowed
	case slices.ContainsFunc(f.deny, has):
		return denied
	default:
		return admitted
	}
}

// Admit is for [datagram.Config]: it drops in silence, version errors
// included, whatever does not come from a client or comes too fast, and counts it.
// Every packet passes here once, before any work is done for it.
func (f *Frontend) Admit(a datagram.Arrival) bool {
	client := a.Client.Addr()
	now := a.At
	if now.IsZero() {
		now = time.Now()
	}
	v := f.fence.judge(client)
	if v == admitted {
		if f.fence.relay(client) {
			f.alarms.relayed(client, now)
		} else {
			f.alarms.served()
		}
		v = f.gate.pass(client, now)
	}
	f.note(v)
	switch v {
	case admitted:
		return true
	case tooFast, tooManyNew:
		f.alarms.flooded(client, now, &f.count)
	case excluded:
		f.alarms.masqueraded(client, now)
	case notAllowed, denied:
	}
	return false
}

// isClient says whether a request from the address gets an answer.
func (f *Frontend) isClient(a netip.Addr) bool {
	v := f.fence.judge(a)
	f.note(v)
	return v == admitted
}

// note counts what is dropped.
func (f *Frontend) note(v verdict) {
	switch v {
	case admitted:
	case denied:
		f.count.denied.Add(1)
	case excluded:
		f.count.excluded.Add(1)
	case notAllowed:
		f.count.notAllowed.Add(1)
	case tooFast:
		f.count.tooFast.Add(1)
	case tooManyNew:
		f.count.tooManyNew.Add(1)
	}
}
