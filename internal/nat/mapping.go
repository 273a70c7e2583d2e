package nat

import (
	"net/netip"
	"slices"
	"time"
)

// Mapping is what is known about one mapping at one moment.
type Mapping struct {
	// Key names it.
	Key Key
	// InnerPort is the port at the router's tunnel address.
	InnerPort uint16
	// ExternalPort is the port at the gateway's public address.
	ExternalPort uint16
	// Remote is who may send to it.
	Remote Remote
	// ToldPort is the external port that the client was told last; 0 when it has
	// not been told any since doublenat started.
	ToldPort uint16
	// Requested is the lifetime that the client asked for last.
	Requested time.Duration
	// Created is when it was made or adopted.
	Created time.Time
	// Until is when it ends unless it is renewed.
	Until time.Time
	// LeaseUntil is when the gateway's lease ends unless it is renewed. It may lie
	// in the past while the gateway is out of reach.
	LeaseUntil time.Time
	// Granted is the lifetime of the lease as the gateway granted it last; 0 when it
	// has not granted any since doublenat started.
	Granted time.Duration
	// Held is set while doublenat renews the lease for a client that does not renew it in
	// time, see [PolicyAuto], or for every client, see [PolicyHold].
	Held bool
	// Adopted is set from a restart until the client's first renewal.
	Adopted bool
	// Companion is set on a mapping that its client did not ask for, see [Config.Companion].
	Companion bool
	// Refused is set while the gateway says no to a renewal of the lease: the mapping has
	// none, or soon has none, and doublenat goes on asking.
	Refused bool
	// Closing is set while the router has not yet removed the rule of a mapping that ended.
	Closing bool
	// By is the protocol in which its client asked for it, zero if that is not known; IGD if it ever
	// was. Description is the text that came with it.
	By          Way
	Description string
	// RuleID is the router's handle of the rule.
	RuleID string
	// Packets counts what came in through the rule, as of the last reconcile.
	Packets uint64
}

// Target returns where on the LAN the mapping leads: the client and its port, which for
// internal port 0 is the external one.
func (m Mapping) Target() netip.AddrPort {
	return netip.AddrPortFrom(m.Key.Client, Rule{Key: m.Key, ExternalPort: m.ExternalPort}.Target())
}

// mapping is one mapping as the [Engine] has it: what is wanted, what is known of its two
// layers, and who waits for it.
type mapping struct {
	key  Key
	unit *unit
	// inner is the port at the router's tunnel address that it has or is to have; 0 before
	// one was chosen.
	inner uint16

	wish  wish
	lease lease
	rule  rule
	// queue are the requests without an answer, in the order in which they came.
	queue []ticket

	created time.Time
	packets uint64
	// former is the external port before it changed last.
	former former
	// news is a change of the external port of which nobody was told yet.
	news news
	// echo is how many changes of the other protocol's port and of this one led to the
	// request for its lease, see maxEchoes.
	echo uint8
	// place says whether rules of others are in its way; moves are when it gave way lately.
	place place
	moves []time.Time

	timer timer
}

// former is an external port for which packets may still come, until its lease would have
// ended.
type former struct {
	port  uint16
	until time.Time
}

// news is a change of the external port: from which one. 0 is none.
type news uint16

// place says how the inner port of a mapping stands to the rules of others.
type place uint8

const (
	// placeFree is a port that nobody else takes.
	placeFree place = iota
	// placeTaken is one that somebody else takes, which was said once.
	placeTaken
	// placeStuck is one that somebody else takes and that the mapping cannot leave.
	placeStuck
)

// visible says whether the mapping is in the table that people see.
func (m *mapping) visible() bool { return m.wish.stands() || m.wish.state == wishEnding }

// view returns the mapping as others see it.
func (m *mapping) view() Mapping {
	return Mapping{
		Key: m.key, InnerPort: m.inner, ExternalPort: m.lease.external, Remote: m.wish.remote, ToldPort: m.wish.told,
		Requested: m.wish.requested, Created: m.created, Until: m.wish.until, LeaseUntil: m.lease.until, Granted: m.lease.granted,
		Held: m.wish.policy.holds(), Adopted: m.wish.origin == originFormer, Companion: m.wish.origin == originCompanion,
		Refused: !m.lease.deniedAt.IsZero(), Closing: m.wish.state == wishEnding, RuleID: m.rule.have.ID, Packets: m.packets,
		By: m.wish.asker.way, Description: m.wish.asker.description,
	}
}

// ticketKind is what a request wants.
type ticketKind uint8

const (
	// ticketMap wants the mapping.
	ticketMap ticketKind = iota
	// ticketEnd wants it gone.
	ticketEnd
)

// ticketState is how far a request has come.
type ticketState uint8

const (
	// ticketQueued waits for its turn.
	ticketQueued ticketState = iota
	// ticketBegun is what the mapping's layers are being changed for.
	ticketBegun
)

// ticket is a request without an answer.
type ticket struct {
	id    TicketID
	kind  ticketKind
	state ticketState
	by    origin
	asker asker
	// lifetime and suggested are what a request for a mapping wants; only is the port
	// without which it wants nothing, 0 if any will do.
	lifetime        time.Duration
	suggested, only uint16
	// filter is what it does to who may send, in full once it is begun, see filterOf.
	filter Filter
	// came is when the request came in. tableAt is when a renewal is answered from what is
	// promised, zero for not at all; deadline is when the request is answered in any case.
	came, tableAt, deadline time.Time
	// stays is why a rule that was left over of the mapping that it ends could not be removed.
	stays error
}

// unit is a client port: what both protocols of it have in common. One request for a
// lease at a time is under way for it, so that the second protocol gets the ports of the
// first.
type unit struct {
	port ClientPort
	// current are the mappings of UDP and TCP; left are what is left of earlier ones on
	// other inner ports, and rules that no mapping stands behind.
	current [2]*mapping
	left    []*mapping
	// asking is the mapping whose request for a lease is under way, asked when that was sent,
	// and next the protocol that has the next turn.
	asking *mapping
	asked  time.Time
	next   uint8
	// took is how long the gateway took for the last lease that it granted.
	took time.Duration
	// move is the change of the inner port that is under way, nil for none.
	move *move
	// counted is how many mappings of it count against the limits; touched is set while it
	// waits to be looked at.
	counted int
	queued  queued
}

// queued says whether a unit waits to be looked at.
type queued uint8

const (
	unqueued queued = iota
	inQueue
)

// index returns the place of a protocol in [unit.current].
func (p Protocol) index() uint8 { return uint8(p - UDP) }

// other returns the mapping of the other protocol, nil if there is none.
func (m *mapping) other() *mapping {
	if o := m.unit.current[m.key.Protocol.Other().index()]; o != m {
		return o
	}
	return nil
}

// goes says whether the mapping, or what is left of an earlier one of its key, is being
// taken back at this moment.
func (m *mapping) goes() bool {
	return m.ofKey(func(l *mapping) bool { return l.lease.busy() || l.rule.busy() })
}

// ruleGoes says whether the rule of the mapping, or of an earlier one of its key, is being changed
// or removed at this moment.
func (m *mapping) ruleGoes() bool {
	return m.ofKey(func(l *mapping) bool { return l.rule.busy() })
}

// ofKey says whether something holds of the mapping, or of what is left of an earlier one of its key.
func (m *mapping) ofKey(holds func(*mapping) bool) bool {
	return holds(m) || slices.ContainsFunc(m.unit.left, func(l *mapping) bool { return l.key == m.key && holds(l) })
}

// members appends all mappings of the unit to the list, what is left first and then the
// protocol that has the next turn.
func (u *unit) members(list []*mapping) []*mapping {
	list = append(list, u.left...)
	for i := range uint8(2) {
		if m := u.current[(u.next+i)%2]; m != nil {
			list = append(list, m)
		}
	}
	return list
}

// removing says whether a rule that is left over is being removed.
func (u *unit) removing() bool {
	for _, m := range u.left {
		if m.rule.state == ruleRemoving {
			return true
		}
	}
	return false
}
