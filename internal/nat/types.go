package nat

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Protocol is the transport protocol of a mapping. The values are the opcodes
// of NAT-PMP map requests (RFC 6886 §3.3). The zero value is no protocol.
type Protocol uint8

// The protocols that NAT-PMP can map (RFC 6886 §3.3).
const (
	UDP Protocol = 1
	TCP Protocol = 2
)

// Protocols lists both protocols in the order in which programs ask for them:
// TCP first (facts: libtorrent, go-ethereum).
func Protocols() [2]Protocol { return [2]Protocol{TCP, UDP} }

// String returns "udp" or "tcp", as RouterOS writes them.
func (p Protocol) String() string {
	switch p {
	case UDP:
		return "udp"
	case TCP:
		return "tcp"
	default:
		return fmt.Sprintf("protocol(%d)", uint8(p))
	}
}

// Other returns the companion protocol: UDP for TCP and TCP for UDP
// (RFC 6886 §3.3 reserves it for the same client).
func (p Protocol) Other() Protocol {
	if p == UDP {
		return TCP
	}
	return UDP
}

// Key names a mapping: who asked, for which protocol, for which of its own ports.
// It is comparable and used as a map key.
type Key struct {
	// Client is the LAN host, an IPv4 address.
	Client netip.Addr
	// Protocol is UDP or TCP.
	Protocol Protocol
	// InternalPort is the port on the client. 0 is a mapping whose external port is the
	// client's port too, whichever the gateway grants, see [Config.ZeroPort].
	InternalPort uint16
}

// String returns the key as "tcp 192.168.88.10:6881".
func (k Key) String() string {
	return k.Protocol.String() + " " + netip.AddrPortFrom(k.Client, k.InternalPort).String()
}

// Compare orders keys by client, port and protocol, for lists that people read.
func (k Key) Compare(other Key) int {
	return cmp.Or(
		k.Client.Compare(other.Client),
		cmp.Compare(k.InternalPort, other.InternalPort),
		cmp.Compare(k.Protocol, other.Protocol),
	)
}

// Port returns what TCP and UDP of one internal port have in common.
func (k Key) Port() ClientPort { return ClientPort{Client: k.Client, InternalPort: k.InternalPort} }

// ClientPort is one port of one client, whatever the protocol. Both protocols of
// a client port share one inner port and, where the gateway allows it, one
// external port. Its requests are handled one at a time.
type ClientPort struct {
	// Client is the LAN host, an IPv4 address.
	Client netip.Addr
	// InternalPort is the port on the client, or 0 as in [Key].
	InternalPort uint16
}

// all returns the key that stands for all ports of a client, as in [Forward].
func (c ClientPort) all(p Protocol) Key { return Key{Client: c.Client, Protocol: p} }

// With returns the key of this client port for the given protocol.
func (c ClientPort) With(p Protocol) Key {
	return Key{Client: c.Client, Protocol: p, InternalPort: c.InternalPort}
}

// MatchPorts are the one to three destination ports that a rule matches, without
// repetition and with zeros behind the last: the inner port or the external port or
// both, in this order, and for a while the external port before it changed.
type MatchPorts [3]uint16

// covers says whether all ports of the other are among these.
func (p MatchPorts) covers(other MatchPorts) bool {
	for _, port := range other {
		if port != 0 && !slices.Contains(p[:], port) {
			return false
		}
	}
	return true
}

// Rule is a dst-nat rule of ours on the router, wanted or found.
// It is comparable.
type Rule struct {
	// ID is the router's handle ("*1F"). It is empty for a rule that is wanted
	// and not made yet, and may change when the router restarts.
	ID string
	// Key says to which client and port the rule forwards, and which protocol.
	Key Key
	// InnerPort is the port at the router's tunnel address to which the lease points.
	InnerPort uint16
	// ExternalPort is the port at the gateway's public address, as the rule's comment has it.
	ExternalPort uint16
	// Lifetime is what the client asked for when the rule was made, in whole
	// seconds. After a restart the lease is asked for again with it.
	Lifetime time.Duration
	// By is [IGD] for a mapping that is held for its client, which a restart has to know; else zero.
	By Way
	// Match holds the destination ports that the rule matches, which depend on [Delivery].
	Match MatchPorts
	// Remote is whose packets it matches. Of a rule that was found it is what its comment
	// says: where the row itself matches others, Altered is set.
	Remote Remote
	// Altered is set on a rule that was found with our comment and does not do what the
	// comment says: somebody edited it, switched it off, or put a rule for all ports
	// before it.
	Altered bool
	// Displaced is set on a rule that was found on another interface than the tunnel's. An
	// update puts it right in place.
	Displaced bool
	// Edited is set on a rule whose comment or interface somebody changed. An update puts
	// it right in place.
	Edited bool
	// Alien is set on a rule that was found with a comment as ours, and that this process
	// neither made nor found when it started.
	Alien bool
	// Packets counts the packets that came in through the rule; found rules only.
	Packets uint64
}

// Target returns the client's port to which the rule forwards: of a mapping for
// internal port 0 it is the external one.
func (r Rule) Target() uint16 {
	if r.Key.InternalPort == 0 {
		return r.ExternalPort
	}
	return r.Key.InternalPort
}

// Forward is somebody else's dst-nat rule on the tunnel interface as far as it
// concerns us: the client port to which it forwards (RFC 6886 §3.4: a mapping
// made by hand is not deleted by a client).
type Forward struct {
	// Key is what the rule forwards to. InternalPort 0 means all ports of the client, and
	// not what it means in a mapping.
	Key Key
}

// Taker is a rule of somebody else that takes ports on the tunnel interface.
type Taker struct {
	// Name says which rule it is, for people: its id and its comment.
	Name string
	// Wide is set on a rule before which ours are put.
	Wide bool
	// Takes says whether it takes packets for the port. It must not block.
	Takes func(p Protocol, port uint16) bool
}

// Snapshot is what the router holds at one moment.
type Snapshot struct {
	// Rules are the rules of this owner on the tunnel interface, altered ones and
	// duplicates included, in the router's order.
	Rules []Rule
	// Used has, for each protocol, the ports that rules and services of others
	// take on the tunnel interface. A rule of ours must not match one of them.
	Used map[Protocol]*PortSet
	// Wide has the ports that rules of others take which take very many. A rule of ours
	// is put before such a rule, and keeps away from its ports as long as there are others.
	Wide map[Protocol]*PortSet
	// Takers are the rules of others that take ports on the tunnel interface, in the
	// router's order, as far as they are remembered.
	Takers []Taker
	// Forwards are the rules of others that forward to LAN clients.
	Forwards []Forward
}

// InnerPortFree returns nil if others leave an inner port, of those that are used without
// a setting, free for both protocols; and else why not: a [*TakenError] where that is known.
func (s Snapshot) InnerPortFree() error {
	p := newPorts(&Config{FirstInnerPort: defaultFirstInner, LastInnerPort: defaultLastInner})
	p.learn(s)
	return p.left()
}

// Router is the MikroTik router as the core sees it. Its methods may be called
// at the same time from several goroutines. They return [*Error] with
// [HopRouter] and obey the context; on an error that leaves it unknown whether
// the router did it, Error.Ambiguous is set.
type Router interface {
	// Rules reads what is there now.
	Rules(ctx context.Context) (Snapshot, error)
	// AddRule makes the rule and returns it with its ID. A reply that got lost
	// does not lead to a second rule.
	AddRule(ctx context.Context, r Rule) (Rule, error)
	// UpdateRule changes the rule found in place, with one command: its comment, the ports
	// and the senders that it matches and its target become those of want. Connections through it go on.
	UpdateRule(ctx context.Context, found, want Rule) error
	// RemoveRule removes the rule. A rule that is not there is success. A rule
	// whose ID now belongs to something else is left alone and looked for by its comment.
	RemoveRule(ctx context.Context, r Rule) error
}

// LeaseRequest asks the gateway for a lease or for a renewal of one.
type LeaseRequest struct {
	// Protocol is UDP or TCP.
	Protocol Protocol
	// InnerPort is the port at our tunnel address, never 0.
	InnerPort uint16
	// ExternalPort is suggested: 0 for any; in a renewal the port that was granted.
	ExternalPort uint16
	// Lifetime is what to ask for, at least one second.
	Lifetime time.Duration
	// Renewal is set when the lease is thought to stand: it goes before creates in
	// the queue and is repeated more gently.
	Renewal bool
}

// Lease is what the gateway granted.
type Lease struct {
	// ExternalPort is the port at the public address, never 0.
	ExternalPort uint16
	// Lifetime is how long it lasts from now on, at least one second.
	Lifetime time.Duration

	// longer is by how much it may last longer, if the gateway granted more than was asked for.
	longer time.Duration
}

// within returns the lease as it is believed in: for as long as was asked for, if the
// gateway speaks of more, as it should not (RFC 6886 §3.3).
func (l Lease) within(asked time.Duration) Lease {
	l.longer = max(l.Lifetime-asked, 0)
	l.Lifetime -= l.longer
	return l
}

// mayLive returns until when a lease that was granted at the given time may stand.
func (l Lease) mayLive(granted time.Time) time.Time { return granted.Add(l.Lifetime + l.longer) }

// Gateway is the VPN gateway as the core sees it. Its methods may be called at
// the same time from several goroutines. They return [*Error] with [HopGateway]
// and obey the context; when no reply came it stays unknown whether the gateway
// did it, and Error.Ambiguous is set.
type Gateway interface {
	// Lease asks for a lease and keeps asking until the context ends.
	Lease(ctx context.Context, req LeaseRequest) (Lease, error)
	// Release ends a lease. One that is not there is success.
	Release(ctx context.Context, p Protocol, innerPort uint16) error
}
