package gateway

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"doublenat/internal/remedy"
	"doublenat/natpmp"
)

// Kind says how ports come from beyond the router.
type Kind uint8

const (
	// KindNATPMP is a gateway that speaks NAT-PMP.
	KindNATPMP Kind = iota
	// KindPCP is one that speaks PCP.
	KindPCP
	// KindIGD is an Internet gateway device of UPnP.
	KindIGD
	// KindPool is a pool of ports that are forwarded to the router already.
	KindPool
)

// String returns how people call it.
func (k Kind) String() string { return [...]string{"NAT-PMP", "PCP", "UPnP", "a pool"}[k] }

// Stats is how the gateway is doing, for logs and status pages.
type Stats struct {
	// Kind says what it is. Ports is how many a pool has.
	Kind  Kind
	Ports int
	// Asked says which gateway it is, where that was found; empty for one that is configured.
	Asked string
	// State is the outcome of the latest request that tells something. What map
	// requests tell goes before what looks at the public address do.
	State State
	// Result is the gateway's answer if State is [StateFailing], else success.
	Result natpmp.ResultCode
	// Advice is what an operator can do about State, the zero value if it is well.
	Advice remedy.Advice
	// LastSuccess is when the gateway last did what was asked; zero if never.
	LastSuccess time.Time
	// Address is what the gateway said last about its public address, the zero
	// Addr if it has none. It may be too old for [Gateway.External].
	Address netip.Addr
	// AddressFrom says who told it, empty for the gateway.
	AddressFrom string
	// AddressAt is when it said so; zero if never.
	AddressAt time.Time
	// AddressChanges is how often the address changed, the first time included.
	AddressChanges uint64
	// StateLosses is how often the gateway lost its mappings.
	StateLosses uint64
	// ClockStops is how often our own clock stood while the gateway's ran.
	ClockStops uint64
	// EpochUnreliable is set while the gateway's epoch jumps and is ignored.
	EpochUnreliable bool
	// Odd is what is wrong with the gateway's replies to map requests if State is
	// [StateFailing] for that reason.
	Odd natpmp.Oddity
	// Announcements is how many announcements of the gateway came.
	Announcements uint64
	// LeaseError is why the last request for a new lease failed or, if it did not,
	// that for a renewal; nil if neither did. LeaseErrorAt is when that request ended,
	// with or without an error.
	LeaseError   error
	LeaseErrorAt time.Time
	// LookError is why the last look at the public address failed; nil if it did not.
	LookError error
	// Client counts packets.
	Client natpmp.ClientStats
}

// counters is the part of [Stats] that is nowhere else.
type counters struct {
	lastSuccess                                time.Time
	addressChanges, stateLosses, announcements uint64
	clockStops                                 uint64
	epochUnreliable                            bool
}

// outcome is how a request went. Guarded by Gateway.mu.
type outcome struct {
	err error // nil after a success
	at  time.Time
}

// note keeps how a request went. One that its caller gave up says nothing about
// the gateway.
func (g *Gateway) note(o *outcome, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	*o = outcome{err: err, at: time.Now()}
}

// Stats returns how the gateway is doing. It may be called at any time.
func (g *Gateway) Stats() Stats {
	by := g.link() // with no lock held: somebody else's may be taken there
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.record.health()
	lease := g.lastCreate
	if lease.err == nil {
		lease = g.lastRenewal
	}
	kind := KindNATPMP
	if g.byPCP {
		kind = KindPCP
	}
	return Stats{
		Kind:            kind,
		State:           now.state,
		Result:          now.result,
		Advice:          now.advice(by),
		LastSuccess:     g.count.lastSuccess,
		Address:         g.address,
		AddressAt:       g.addressAt,
		AddressChanges:  g.count.addressChanges,
		StateLosses:     g.count.stateLosses,
		ClockStops:      g.count.clockStops,
		EpochUnreliable: g.count.epochUnreliable,
		Odd:             now.odd,
		Announcements:   g.count.announcements,
		LeaseError:      lease.err,
		LeaseErrorAt:    lease.at,
		LookError:       g.lastLook.err,
		Client:          g.client.Stats(),
	}
}
