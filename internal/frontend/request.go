package frontend

import (
	"net/netip"
	"time"

	"doublenat/internal/nat"
	"doublenat/pcp"
)

// want is what a request is for.
type want uint8

const (
	// wantAddress asks for the public address.
	wantAddress want = iota
	// wantMapping asks for a mapping, or for more time.
	wantMapping
	// wantEnd asks for the end of one.
	wantEnd
)

// String returns "address", "map" or "end".
func (w want) String() string { return [...]string{"address", "map", "end"}[w] }

// request is what a client asks for, in no protocol's words. It is comparable: equal
// requests of a client are copies.
type request struct {
	want want
	// by is the protocol in which it came.
	by nat.Way
	// protocol and internalPort name the mapping. Of one that is to end, protocol 0 is both,
	// and port 0 is all.
	protocol     nat.Protocol
	internalPort uint16
	// suggested is the external port that the client would like, 0 for any; only is the one
	// without which it wants nothing (RFC 6887 §13.2), 0 if any will do.
	suggested, only uint16
	// filter is what becomes of who may send to the mapping (RFC 6887 §13.3).
	filter nat.Filter
	// lifetime is for how long; 0 for an end.
	lifetime time.Duration
	// description is what an IGD client calls the mapping.
	description string
	// nonce is that of a request of PCP, zero for others.
	nonce nonce
}

// key names the mapping of a client that the request is about.
func (r request) key(client netip.Addr) nat.Key {
	return nat.Key{Client: client, Protocol: r.protocol, InternalPort: r.internalPort}
}

// protocols are those that the request is about.
func (r request) protocols() []nat.Protocol {
	if r.protocol == 0 {
		all := nat.Protocols()
		return all[:]
	}
	return []nat.Protocol{r.protocol}
}

// ProtocolOf returns the protocol of a number of IANA's, as PCP has it, 0 for one that is not
// mapped, and for 0, which is both.
func ProtocolOf(number uint8) nat.Protocol {
	switch pcp.Protocol(number) {
	case pcp.TCP:
		return nat.TCP
	case pcp.UDP:
		return nat.UDP
	default:
		return 0
	}
}
