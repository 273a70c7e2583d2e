package natpmptest

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"doublenat/natpmp"
)

// Mapping is a lease that stands, as [Gateway.Mappings] reports it. It is comparable.
type Mapping struct {
	// Protocol is natpmp.OpMapUDP or natpmp.OpMapTCP.
	Protocol natpmp.Opcode
	// ExternalPort is the port at the public address. No two leases have the same
	// protocol and external port.
	ExternalPort uint16
	// Client is who asked: the source address of the request.
	Client netip.Addr
	// InternalPort is the port that the client asked for; of a symmetric mapping
	// it is the external one.
	InternalPort uint16
	// Target is where packets for the external port are delivered. Its port
	// depends on [Profile.DeliversExternal].
	Target netip.AddrPort
	// Expires is when the lease ends unless it is renewed.
	Expires time.Time
}

// lease is a lease with what profiles have to remember about it.
type lease struct {
	protocol  natpmp.Opcode
	external  uint16
	client    netip.Addr
	internal  uint16
	symmetric bool // asked for with internal port 0
	expires   time.Time

	renewals int            // since it was made or moved
	last     natpmp.Request // the request that was answered last
	lastAt   time.Time
}

// publicPort is a port at the public address.
type publicPort struct {
	protocol natpmp.Opcode
	port     uint16
}

// clientPort is a port of a client, of both protocols.
type clientPort struct {
	client netip.Addr
	port   uint16
}

// table holds the leases.
type table struct {
	byPublic map[publicPort]*lease
	byClient map[clientPort][]*lease
	// soonest is not after the end of any lease; zero without leases.
	soonest time.Time
}

// newTable returns an empty table.
func newTable() table {
	return table{byPublic: make(map[publicPort]*lease), byClient: make(map[clientPort][]*lease)}
}

// other returns the other protocol.
func other(p natpmp.Opcode) natpmp.Opcode {
	if p == natpmp.OpMapUDP {
		return natpmp.OpMapTCP
	}
	return natpmp.OpMapUDP
}

// at returns the lease that has a public port, or nil.
func (t *table) at(protocol natpmp.Opcode, port uint16) *lease {
	return t.byPublic[publicPort{protocol, port}]
}

// find returns the first lease of a client's port, or nil.
func (t *table) find(client netip.Addr, protocol natpmp.Opcode, internal uint16) *lease {
	for _, l := range t.byClient[clientPort{client, internal}] {
		if l.protocol == protocol {
			return l
		}
	}
	return nil
}

// symmetric returns the client's symmetric lease of a protocol, or nil.
func (t *table) symmetric(client netip.Addr, protocol natpmp.Opcode) *lease {
	for _, l := range t.byPublic {
		if l.symmetric && l.client == client && l.protocol == protocol {
			return l
		}
	}
	return nil
}

// ports returns how many internal ports a client has.
func (t *table) ports(client netip.Addr) int {
	n := 0
	for c := range t.byClient {
		if c.client == client {
			n++
		}
	}
	return n
}

// add adds a lease whose public port is free.
func (t *table) add(l *lease) {
	t.byPublic[publicPort{l.protocol, l.external}] = l
	c := clientPort{l.client, l.internal}
	t.byClient[c] = append(t.byClient[c], l)
	t.touch(l)
}

// touch notes that the end of a lease was set.
func (t *table) touch(l *lease) {
	if t.soonest.IsZero() || l.expires.Before(t.soonest) {
		t.soonest = l.expires
	}
}

// drop removes a lease.
func (t *table) drop(l *lease) {
	delete(t.byPublic, publicPort{l.protocol, l.external})
	c := clientPort{l.client, l.internal}
	rest := slices.DeleteFunc(t.byClient[c], func(o *lease) bool { return o == l })
	if len(rest) == 0 {
		delete(t.byClient, c)
		return
	}
	t.byClient[c] = rest
}

// dropIf removes the leases for which f is true and returns how many.
func (t *table) dropIf(f func(*lease) bool) int {
	n := 0
	for _, l := range t.byPublic {
		if f(l) {
			t.drop(l)
			n++
		}
	}
	return n
}

// expire removes the leases that have ended and returns how many. It looks at the
// leases only when one may have ended.
func (t *table) expire(now time.Time) int {
	if t.soonest.IsZero() || now.Before(t.soonest) {
		return 0
	}
	n := t.dropIf(func(l *lease) bool { return !now.Before(l.expires) })
	t.soonest = time.Time{}
	for _, l := range t.byPublic {
		t.touch(l)
	}
	return n
}

// advance lets all leases end so much sooner.
func (t *table) advance(d time.Duration) {
	for _, l := range t.byPublic {
		l.expires = l.expires.Add(-d)
		t.touch(l)
	}
}

// sorted returns the leases by client, internal port, protocol and external port.
func (t *table) sorted() []*lease {
	out := make([]*lease, 0, len(t.byPublic))
	for _, l := range t.byPublic {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *lease) int {
		return cmp.Or(a.client.Compare(b.client), cmp.Compare(a.internal, b.internal),
			cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.external, b.external))
	})
	return out
}
