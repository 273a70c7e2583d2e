package natpmptest

import (
	"slices"
	"time"

	"doublenat/natpmp"
)

// Profile is how a [Gateway] behaves. The zero value grants what is asked, from
// the lowest free port on; start from one of the functions that return a Profile
// and change what the test is about.
type Profile struct {
	// Name is for messages.
	Name string

	// EpochStart is the epoch at the start; after a restart it is 0 whatever this says.
	EpochStart uint32
	// Lifetime is the longest that is granted; 0 means no limit.
	Lifetime time.Duration
	// FixedLifetime grants exactly Lifetime whatever is asked for. With Lifetime 0
	// the answer is a success with lifetime 0, and there is no lease.
	FixedLifetime bool
	// DropsHugeLifetimes answers lifetimes of 2^31 seconds or more as asked and
	// keeps no lease, as an overflow in miniupnpd does.
	DropsHugeLifetimes bool

	// MinPort and MaxPort limit the ports that are chosen freely; 0 means 1024 and 65535.
	MinPort, MaxPort uint16
	// Ports is how the port of a new lease is chosen.
	Ports PortChoice
	// Symmetric answers internal port 0 with one port for each client, which is
	// delivered on itself. Without it such a request is refused with result 2.
	Symmetric bool
	// Companion is how the external ports of TCP and UDP of one internal port hang together.
	Companion Companion
	// ReservesCompanion keeps the other protocol's port for the client that holds
	// one (RFC 6886 §3.3).
	ReservesCompanion bool
	// DoublesMappings makes another lease for a client's port when another
	// external port is suggested, and keeps the old one.
	DoublesMappings bool
	// MaxPorts is how many internal ports each client may have; 0 means no limit.
	MaxPorts int
	// MaxLeases is how many leases there may be in all; 0 means no limit.
	MaxLeases int
	// WipesBothProtocols makes a delete-all end the leases of both protocols.
	WipesBothProtocols bool
	// DeliversExternal delivers packets on the external port's number and not on
	// the internal one.
	DeliversExternal bool

	// RotateEvery moves the lease to another external port at every so-many-th
	// renewal of it since the last move, its companion with it; 0 means never.
	RotateEvery int
	// RepeatWindow moves the lease when a request for it repeats one that is not
	// older than this; 0 means never.
	RepeatWindow time.Duration

	// Result is the answer to every request when it is not success.
	Result natpmp.ResultCode
	// EchoesErrors copies port and lifetime of the request into failures, and
	// answers unknown opcodes with 8 bytes and version 1 not at all.
	EchoesErrors bool
	// WrongInternal answers with the internal port after the one that was asked for.
	WrongInternal bool
	// Garble is what happens to the ports in replies to map requests.
	Garble Garble
	// ZeroSuggestion is the answer to a request for a new lease that suggests port 0,
	// when it is not success.
	ZeroSuggestion natpmp.ResultCode
	// PCPOnly answers as a PCP server does that has no NAT-PMP: every other version
	// with UNSUPP_VERSION (RFC 6887 §9).
	PCPOnly bool
	// Lies are told in turn, one before each true reply.
	Lies []Lie
	// LiesOnly leaves the true replies out.
	LiesOnly bool

	// FlipEvery makes every so-many-th reply come from a second machine behind the same
	// address, which has the same leases and an epoch of its own; 0 means never.
	FlipEvery int
	// FlipEpoch is the second machine's epoch at the start.
	FlipEpoch uint32

	// Silent reads requests and neither does nor answers anything.
	Silent bool
	// ReplyDelay is the time between a request, which is carried out at once, and its reply.
	ReplyDelay time.Duration
	// ServiceTime is how long each request takes, one after the other, before it is carried out.
	ServiceTime time.Duration
	// Requests has the faults of requests on their way in.
	Requests Faults
	// Replies has the faults of replies on their way out.
	Replies Faults

	// Refusal makes the gateway refuse again and again, see [Gateway.Refuse].
	Refusal Outage
	// RestartEvery restarts the gateway again and again; 0 means never.
	RestartEvery time.Duration
	// RestartKeeps keeps the leases over these restarts.
	RestartKeeps bool
	// SkipEvery lets time pass for the gateway alone, again and again, see
	// [Gateway.Skip]; 0 means never.
	SkipEvery time.Duration
	// SkipFor is how much passes then.
	SkipFor time.Duration
	// ReaddressEvery gives the gateway another public address again and again; 0 means never.
	ReaddressEvery time.Duration
	// ReaddressMoves moves all leases to other external ports then.
	ReaddressMoves bool
}

// PortChoice is how the external port of a new lease is chosen.
type PortChoice uint8

// The choices.
const (
	// PortsUpward takes the suggested port or, without one, the internal port's
	// number; when it is taken, the next higher one that is free.
	PortsUpward PortChoice = iota
	// PortsSuggested takes the suggested port when it is free, and else a random one.
	PortsSuggested
	// PortsRandom takes a random port whatever is suggested.
	PortsRandom
)

// Companion is how the external ports of TCP and UDP of one internal port hang together.
type Companion uint8

// The relations.
const (
	// CompanionAny chooses each port for itself.
	CompanionAny Companion = iota
	// CompanionSame gives both protocols the same port.
	CompanionSame
	// CompanionNext gives UDP the port after TCP's.
	CompanionNext
)

// Garble is a fault in how a gateway writes the ports into its replies.
type Garble uint8

// The faults.
const (
	// GarbleNothing writes ports as they are.
	GarbleNothing Garble = iota
	// GarbleCut writes the low byte of each port only.
	GarbleCut
	// GarbleSwap writes the external port where the internal one belongs, and the other
	// way round.
	GarbleSwap
	// GarbleBytes writes ports with their low byte first.
	GarbleBytes
)

// Outage is something that comes back again and again.
type Outage struct {
	// Every is the time from the end of one to the start of the next; 0 means never.
	Every time.Duration
	// For is how long each lasts.
	For time.Duration
	// Moves gives all leases other external ports meanwhile.
	Moves bool
}

// clone returns a copy that shares nothing.
func (p *Profile) clone() Profile {
	out := *p
	out.Lies = slices.Clone(p.Lies)
	return out
}
