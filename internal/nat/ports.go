package nat

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"slices"
)

var (
	errTableFull    = errors.New("all mappings that doublenat may hold are in use")
	errClientFull   = errors.New("the client holds all mappings that it may have")
	errNoInnerPort  = errors.New("no inner port is free")
	errPortConflict = errors.New("the gateway grants only ports that are in use otherwise")
	errPortDenied   = errors.New("the gateway grants only ports that clients may not map")
	errSymmetric    = errors.New("the tunnel's one mapping is another client's or port's (GATEWAY_SYMMETRIC)")
)

// outerPort is a port at the gateway's public address.
type outerPort struct {
	protocol Protocol
	port     uint16
}

// ports is the book of both kinds of ports. It is guarded by Service.mu.
type ports struct {
	first, last uint16
	// delivery says whether rules match external ports too, onExternal whether packets
	// arrive there only.
	delivery   Delivery
	onExternal bool
	// targets says whether a mapping for internal port 0 may lead to a port.
	targets func(uint16) bool
	// owner and users say for each inner port to which client port it belongs and
	// how many mappings, pieces of work and debts stand on it. It is free at 0:
	// never while a lease to it may live.
	owner map[uint16]ClientPort
	users map[uint16]int
	// outer says who was granted an external port, by mappings and by work under way.
	outer map[outerPort]Key
	// used are the ports that others take on the router, by protocol, as of the last snapshot.
	used map[Protocol]*PortSet
}

func newPorts(cfg *Config) ports {
	return ports{
		first: cfg.FirstInnerPort, last: cfg.LastInnerPort,
		delivery: cfg.Delivery, onExternal: cfg.onExternal(), targets: cfg.TargetPorts,
		owner: make(map[uint16]ClientPort), users: make(map[uint16]int), outer: make(map[outerPort]Key),
	}
}

// take finds an inner port for the key and counts one user for it. The port that
// the client port already has comes first, then one that is derived from the
// client port: after a loss of all state the same client gets the same inner
// port, so that its old lease is renewed and not doubled.
func (p *ports) take(key Key, have ...uint16) (uint16, bool) {
	port := key.Port()
	for _, inner := range have {
		if inner != 0 && p.usable(inner, port, key.Protocol) {
			p.use(inner, port)
			return inner, true
		}
	}
	start := p.derive(port)
	for inner := start; ; {
		if p.usable(inner, port, UDP) && p.usable(inner, port, TCP) && !p.matchedByOthers(inner, port) {
			p.use(inner, port)
			return inner, true
		}
		if inner == p.last {
			inner = p.first
		} else {
			inner++
		}
		if inner == start {
			return 0, false
		}
	}
}

// derive returns the inner port at which the search for the client port begins.
func (p *ports) derive(port ClientPort) uint16 {
	addr := port.Client.As4()
	h := fnv.New32a()
	// Writing to a hash never fails.
	_, _ = h.Write(binary.BigEndian.AppendUint16(addr[:], port.InternalPort))
	return p.first + binary.BigEndian.Uint16(h.Sum(nil)[2:])%(p.last-p.first+1)
}

func (p *ports) usable(inner uint16, port ClientPort, proto Protocol) bool {
	owner, taken := p.owner[inner]
	return !p.used[proto].Has(inner) && (!taken || owner == port)
}

// matchedByOthers says whether another client's rule may match the port because it is
// that client's external port.
func (p *ports) matchedByOthers(inner uint16, port ClientPort) bool {
	return p.delivery == DeliverBoth && slices.ContainsFunc([]Protocol{UDP, TCP}, func(proto Protocol) bool {
		holder, taken := p.outer[outerPort{proto, inner}]
		return taken && holder.Port() != port
	})
}

// use counts one more user of an inner port.
func (p *ports) use(inner uint16, port ClientPort) {
	p.owner[inner] = port
	p.users[inner]++
}

// leave counts one user less.
func (p *ports) leave(inner uint16) {
	if p.users[inner]--; p.users[inner] <= 0 {
		delete(p.users, inner)
		delete(p.owner, inner)
	}
}

// claim notes that the gateway granted the external port to the key. It refuses a
// port that is somebody else's: of another mapping, or of another client for the
// other protocol (RFC 6886 §3.3: the companion port is reserved; the gateway
// cannot know, to it all our clients are one). The error is [errPortConflict], or
// [errPortDenied] for a port of the client that it must not open.
func (p *ports) claim(key Key, external uint16) error {
	if p.onExternal && !p.usable(external, key.Port(), key.Protocol) {
		return errPortConflict // The rule could not match what it has to.
	}
	return p.inherit(key, external)
}

// inherit is claim for a mapping that stands since before: one whose port somebody has
// taken on the router meanwhile moves away from it.
func (p *ports) inherit(key Key, external uint16) error {
	if external == 0 || external == 5350 || external == 5351 {
		return errPortConflict // NAT-PMP's own ports are never given (RFC 6887 §11.3).
	}
	if key.InternalPort == 0 && !p.targets(external) {
		return errPortDenied
	}
	mine := outerPort{key.Protocol, external}
	if holder, ok := p.outer[mine]; ok && holder != key {
		return errPortConflict
	}
	if holder, ok := p.outer[outerPort{key.Protocol.Other(), external}]; ok && holder.Client != key.Client {
		return errPortConflict
	}
	p.outer[mine] = key
	return nil
}

// refusedGrant returns the failure for a client whose grants could not be claimed.
func refusedGrant(cause error) *Error {
	if errors.Is(cause, errPortDenied) {
		return &Error{Reason: ReasonDenied, Err: cause}
	}
	return &Error{Hop: HopGateway, Reason: ReasonResources, Err: cause}
}

// unclaim takes a claim back; one of somebody else stays.
func (p *ports) unclaim(key Key, external uint16) {
	if at := (outerPort{key.Protocol, external}); p.outer[at] == key {
		delete(p.outer, at)
	}
}

// match returns the ports that the rule has to match. Former is the external port
// before it changed while packets for it may still come, else 0. An external port
// that somebody else's rule takes is left out.
func (p *ports) match(key Key, inner, external, former uint16) (match MatchPorts) {
	n := 0
	add := func(port uint16) {
		if port != 0 && !slices.Contains(match[:n], port) {
			match[n] = port
			n++
		}
	}
	if p.delivery != DeliverExternal {
		add(inner)
	}
	if p.delivery == DeliverInternal {
		return match
	}
	if p.delivery == DeliverExternal || p.usable(external, key.Port(), key.Protocol) {
		add(external)
	}
	if p.usable(former, key.Port(), key.Protocol) {
		add(former)
	}
	return match
}
