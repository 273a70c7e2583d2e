package nat

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
)

var (
	errTableFull    = errors.New("all mappings that doublenat may hold are in use")
	errNoInnerPort  = errors.New("no inner port is free")
	errPortConflict = errors.New("the gateway grants only ports that are in use otherwise")
	errPortDenied   = errors.New("the gateway grants only ports that clients may not map")
	errRuleGone     = errors.New("the mapping's rule is missing on the router and cannot be made again yet")
	errCovered      = errors.New("a rule or service of the router that is not ours takes the mapping's packets")
	errUnmatched    = errors.New("the mapping's rule does not match its external port yet")
	errSymmetric    = errors.New("the gateway's one mapping is another client's or port's (GATEWAY_SYMMETRIC)")
)

// ErrClientFull is in the [Error] of [ReasonResources] for a client that holds all mappings
// that it may have. Others may have more.
var ErrClientFull = errors.New("the client holds all mappings that it may have")

// outerPort is a port at the gateway's public address, and where it says so one at the router's.
type outerPort struct {
	protocol Protocol
	port     uint16
}

// ports is the book of both kinds of ports.
type ports struct {
	inners
	// instance is the name of this doublenat.
	instance string
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
	// outer says who was granted an external port, former who had it before and whose
	// rule may still match it; vacated is the same for inner ports.
	outer           map[outerPort]Key
	former, vacated map[outerPort]*mapping
	// used are the ports that others take on the router, by protocol, as of the last
	// snapshot; wide those of rules before which ours stand; takers are these rules.
	used, wide map[Protocol]*PortSet
	takers     []Taker
	// blocker is the rule of others that leaves no port at all, "" for none.
	blocker string
}

func newPorts(cfg *Config) ports {
	return ports{
		inners: inners{first: cfg.FirstInnerPort, last: cfg.LastInnerPort, pool: cfg.Pool, had: make(map[ClientPort]uint16)}, instance: cfg.Instance,
		delivery: cfg.Delivery, onExternal: cfg.onExternal(), targets: cfg.TargetPorts,
		owner: make(map[uint16]ClientPort), users: make(map[uint16]int), outer: make(map[outerPort]Key), former: make(map[outerPort]*mapping), vacated: make(map[outerPort]*mapping),
	}
}

// take finds an inner port for the key and counts one user for it. The port that
// the client port already has comes first, then one that is derived from the
// client port: after a loss of all state the same client gets the same inner
// port, so that its old lease is renewed and not doubled. A port of a rule before which
// ours can stand comes last.
func (p *ports) take(key Key, have ...uint16) (uint16, bool) {
	if p.pool != nil {
		have = append(have, p.had[key.Port()])
	}
	inner, ok := p.takeFrom(p.derive(key.Port()), key, have...)
	if !ok {
		return p.takeSingle(key)
	}
	return inner, true
}

// takeSingle finds a port of a pool that has the key's protocol alone.
func (p *ports) takeSingle(key Key) (uint16, bool) {
	port, ok := p.pool.find(func(port PoolPort) bool { return p.usable(port.Inner, key.Port(), key.Protocol) })
	if ok {
		p.use(port.Inner, key.Port())
	}
	return port.Inner, ok
}

// takeElsewhere is take for a mapping that has to leave its port to somebody else. Who
// that is may be doing the same: two that look at the ports in the same order would meet
// again at the next one, and so on. Random is from 0 up to 1.
func (p *ports) takeElsewhere(key Key, random float64) (uint16, bool) {
	return p.takeFrom(p.first+uint16(random*float64(p.last-p.first+1)), key)
}

// same returns the external port that a client of [IGD] asks for if it is free as an inner one,
// else 0. Consoles tell others the port that their own packets show, and theirs is that of
// the client: with the same port on the way in both agree.
func (p *ports) same(key Key, t *ticket) uint16 {
	if t.asker.way != IGD || p.pool != nil || !p.free(t.suggested, key.Port()) || p.wide[UDP].Has(t.suggested) || p.wide[TCP].Has(t.suggested) {
		return 0
	}
	return t.suggested
}

// free says whether nobody else takes an inner port, for either protocol.
func (p *ports) free(inner uint16, port ClientPort) bool {
	return p.usable(inner, port, UDP) && p.usable(inner, port, TCP) && !p.matchedByOthers(inner, port)
}

func (p *ports) takeFrom(start uint16, key Key, have ...uint16) (uint16, bool) {
	port := key.Port()
	for _, inner := range have {
		if inner != 0 && p.usable(inner, port, key.Protocol) {
			p.use(inner, port)
			return inner, true
		}
	}
	free := func(inner uint16) bool { return p.free(inner, port) }
	inner, ok := p.search(start, func(inner uint16) bool { return free(inner) && !p.wide[UDP].Has(inner) && !p.wide[TCP].Has(inner) })
	if !ok {
		inner, ok = p.search(start, free)
	}
	if ok {
		p.use(inner, port)
	}
	return inner, ok
}

// taker names the rule of somebody else that takes a port, "" if none is known.
func (p *ports) taker(proto Protocol, port uint16) string {
	i := slices.IndexFunc(p.takers, func(t Taker) bool { return !t.Wide && t.Takes(proto, port) })
	if i < 0 {
		return ""
	}
	return p.takers[i].Name
}

// noInnerPort is the failure when no inner port is free for the key. It names the rules
// of others that leave none, if there are any.
func (p *ports) noInnerPort(key Key) error {
	if p.pool != nil {
		return errPoolUsedUp
	}
	start := p.derive(key.Port())
	for _, proto := range []Protocol{key.Protocol, key.Protocol.Other()} {
		if name := p.taker(proto, start); p.used[proto].Has(start) && name != "" {
			return &TakenError{Rule: name, Protocol: proto}
		}
	}
	return errNoInnerPort
}

// learn takes over which ports others use.
func (p *ports) learn(snap Snapshot) {
	maps.DeleteFunc(p.former, func(at outerPort, m *mapping) bool { return m.former.port != at.port && !p.takes(m, at) })
	maps.DeleteFunc(p.vacated, func(at outerPort, m *mapping) bool { return !m.rule.matches(at.port) })
	p.used, p.wide, p.takers, p.blocker = snap.Used, snap.Wide, snap.Takers, ""
	if taken, ok := errors.AsType[*TakenError](p.left()); ok {
		p.blocker = taken.Rule
	}
}

// left returns nil if others leave an inner port free for both protocols, and else why not.
func (p *ports) left() error {
	if p.pool != nil {
		return nil // It may be empty now and full in a minute.
	}
	for inner := p.first; ; inner++ {
		if !p.used[UDP].Has(inner) && !p.used[TCP].Has(inner) {
			return nil
		}
		if inner == p.last {
			return p.noInnerPort(Key{Client: netip.IPv4Unspecified(), Protocol: UDP})
		}
	}
}

// TakenError says that a rule of somebody else takes the ports at which packets would
// arrive, and that none of ours can stand before it.
type TakenError struct {
	// Rule says which one: its id and its comment.
	Rule string
	// Protocol is whose ports it takes.
	Protocol Protocol
}

// Error returns what is in the way and what to do.
func (e *TakenError) Error() string {
	return "no inner port is free: the router's NAT rule " + e.Rule + " takes them for " + e.Protocol.String() +
		"; give it another in-interface or dst-address than packets from the gateway have, or fewer ports; of a dynamic one switch off what makes it"
}

// derive returns the inner port at which the search for the client port begins, which is
// another one for a doublenat of another name.
func (p *ports) derive(port ClientPort) uint16 {
	addr := port.Client.As4()
	h := fnv.New32a()
	// Writing to a hash never fails.
	_, _ = h.Write(binary.BigEndian.AppendUint16(addr[:], port.InternalPort))
	_, _ = h.Write([]byte(p.instance))
	return p.first + binary.BigEndian.Uint16(h.Sum(nil)[2:])%(p.last-p.first+1)
}

func (p *ports) usable(inner uint16, port ClientPort, proto Protocol) bool {
	owner, taken := p.owner[inner]
	before := p.vacated[outerPort{proto, inner}]
	return p.pool.allows(proto, inner) && !p.used[proto].Has(inner) && (!taken || owner == port) &&
		(before == nil || before.key.Port() == port || !before.rule.matches(inner))
}

// matchedByOthers says whether another client's rule may match the port because it is
// that client's external port, or was.
func (p *ports) matchedByOthers(inner uint16, port ClientPort) bool {
	return p.delivery == DeliverBoth && slices.ContainsFunc([]Protocol{UDP, TCP}, func(proto Protocol) bool {
		holder, taken := p.outer[outerPort{proto, inner}]
		before := p.lately(outerPort{proto, inner})
		return taken && holder.Port() != port || before != nil && before.key.Port() != port
	})
}

// lately returns the mapping that had an external port before, if its rule still takes the
// packets for it, or may; else nil. It goes on to take those for its inner port, which is no reason
// to refuse the same port outside.
func (p *ports) lately(at outerPort) *mapping {
	if m := p.former[at]; m != nil && p.takes(m, at) {
		return m
	}
	return nil
}

// takes says whether a mapping's rule takes the packets for an external port, or may.
func (p *ports) takes(m *mapping, at outerPort) bool {
	return m.rule.takes(at.port, func(r Rule) bool { return p.delivery == DeliverExternal || r.InnerPort != at.port })
}

// use counts one more user of an inner port.
func (p *ports) use(inner uint16, port ClientPort) {
	p.remember(inner, port)
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
	if p.onExternal && !p.matchable(external, key) {
		return errPortConflict // The rule could not match what it has to.
	}
	return p.inherit(key, external)
}

// matchable says whether a rule can match the external port: no rule of somebody else takes it, nor
// one of ours for its inner port, which none matches where all packets arrive on the external one.
func (p *ports) matchable(external uint16, key Key) bool {
	if p.delivery == DeliverExternal {
		return !p.used[key.Protocol].Has(external)
	}
	return p.usable(external, key.Port(), key.Protocol)
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

// claims says whether an external port is a key's.
func (p *ports) claims(key Key, external uint16) bool {
	return p.outer[outerPort{key.Protocol, external}] == key
}

// moved notes the external port that a mapping had before. One that it had before that stays
// noted as long as its rule takes the packets for it: the router may be out of reach.
func (p *ports) moved(m *mapping, before former) {
	at := outerPort{m.key.Protocol, m.former.port}
	if p.former[at] == m && !p.takes(m, at) {
		delete(p.former, at)
	}
	m.former = before
	if before.port != 0 {
		p.former[outerPort{m.key.Protocol, before.port}] = m
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
