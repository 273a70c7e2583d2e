package nat

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// Remote is who may send to a mapping: hosts of the Internet, and the port from which they do
// (RFC 6887 §13.3). The zero value is everybody. Make others with [RemoteOf], so that equal
// ones are ==.
type Remote struct {
	// Prefix has the hosts: IPv4, without bits beyond its length. The zero Prefix is all.
	Prefix netip.Prefix
	// Port is the port from which they send, 0 for any.
	Port uint16
}

// errNoRemote is what names nobody from whom packets of IPv4 come.
var errNoRemote = errors.New("not a prefix of IPv4")

// RemoteOf returns the remote of a prefix of IPv4 and a port, 0 for any. Bits beyond the
// prefix's length do not count. The error is for other prefixes.
func RemoteOf(prefix netip.Prefix, port uint16) (Remote, error) {
	switch {
	case !prefix.IsValid() || !prefix.Addr().Is4():
		return Remote{}, errNoRemote
	case prefix.Bits() == 0:
		return Remote{Port: port}, nil
	default:
		return Remote{Prefix: prefix.Masked(), Port: port}, nil
	}
}

// ParseRemote reads what [Remote.String] writes of one that is not everybody.
func ParseRemote(text string) (Remote, error) {
	hosts, number, hasPort := strings.Cut(text, ":")
	var port uint16
	if hasPort {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return Remote{}, err
		}
		port = uint16(n)
	}
	prefix, err := netip.ParsePrefix(hosts)
	if err != nil {
		addr, err := netip.ParseAddr(hosts)
		if err != nil {
			return Remote{}, err
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	return RemoteOf(prefix, port)
}

// String returns "203.0.113.7", "203.0.113.0/24", either with ":5000" for a port, or
// "0.0.0.0/0:5000" for all hosts with one. Of everybody it is "".
func (r Remote) String() string {
	if r == (Remote{}) {
		return ""
	}
	text := r.Hosts().String()
	if r.Prefix.IsValid() && r.Prefix.IsSingleIP() {
		text = r.Prefix.Addr().String()
	}
	if r.Port != 0 {
		text += ":" + strconv.Itoa(int(r.Port))
	}
	return text
}

// Equal says whether both let in the same. It is ==, for those who compare by method.
func (r Remote) Equal(other Remote) bool { return r == other }

// Hosts returns the prefix of the hosts, 0.0.0.0/0 for all.
func (r Remote) Hosts() netip.Prefix {
	if !r.Prefix.IsValid() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return r.Prefix
}

// Admits says whether packets from there may come in.
func (r Remote) Admits(from netip.AddrPort) bool {
	return r.Hosts().Contains(from.Addr().Unmap()) && (r.Port == 0 || r.Port == from.Port())
}

// covers says whether everybody whom the other lets in is let in.
func (r Remote) covers(other Remote) bool {
	a, b := r.Hosts(), other.Hosts()
	return a.Bits() <= b.Bits() && a.Contains(b.Addr()) && (r.Port == 0 || r.Port == other.Port)
}

// FilterOp is what a request does to the filter of its mapping.
type FilterOp uint8

const (
	// FilterKeep leaves it as it is: who does not speak of filters does not change them. A
	// new mapping has none.
	FilterKeep FilterOp = iota
	// FilterAdd lets the remote in besides those who are already. What let in everybody
	// without a filter lets in the remote only from then on (RFC 6887 §13.3).
	FilterAdd
	// FilterSet lets in the remote and nobody else. The zero Remote takes the filter away.
	FilterSet
)

// Filter is what a request says of who may send to its mapping. The zero value is nothing.
// It is comparable. To do the same twice is to do it once.
type Filter struct {
	Op     FilterOp
	Remote Remote
}

// Then returns what two filters of a request do, one after the other (RFC 6887 §13.3); ok is
// false if a mapping would need more than the one remote that it can have.
func (f Filter) Then(next Filter) (both Filter, ok bool) {
	switch {
	case next.Op != FilterAdd:
		if next.Op == FilterKeep {
			return f, true
		}
		return next, true
	case f.Op == FilterKeep:
		return next, true
	case f == Filter{Op: FilterAdd}:
		return f, true // Everybody has everybody else.
	}
	both.Op = f.Op
	both.Remote, ok = next.on(f.Remote)
	return both, ok
}

// on returns who is let in after the filter of those who are before it; ok is false if that
// would be more than one remote. A rule of the router matches one prefix and one port: so
// two are one only where one has the other.
func (f Filter) on(before Remote) (after Remote, ok bool) {
	switch {
	case f.Op == FilterKeep:
		return before, true
	case f.Op == FilterSet, before == Remote{}, f.Remote.covers(before):
		return f.Remote, true
	default:
		return before, before.covers(f.Remote)
	}
}
