package walk

import (
	"fmt"
	"net/netip"

	"doublenat/routeros"
)

// Stage is a part of a packet's way through the router.
type Stage uint8

// The stages, in the order in which a packet meets them.
const (
	// StageNone is a packet that nothing stopped.
	StageNone Stage = iota
	// StageRaw is the table raw, before connection tracking.
	StageRaw
	// StageMangle is the table mangle.
	StageMangle
	// StageDstNAT is NAT of the destination.
	StageDstNAT
	// StageRoute is the routing decision.
	StageRoute
	// StageFilter is the table filter.
	StageFilter
	// StageSrcNAT is NAT of the source.
	StageSrcNAT
	// StageLink is the network between the hosts: the packet does not pass the router.
	StageLink
)

// String returns the stage as people call it.
func (s Stage) String() string {
	switch s {
	case StageNone:
		return "none"
	case StageRaw:
		return "raw"
	case StageMangle:
		return "mangle"
	case StageDstNAT:
		return "dst-nat"
	case StageRoute:
		return "routing"
	case StageFilter:
		return "filter"
	case StageSrcNAT:
		return "src-nat"
	case StageLink:
		return "link"
	default:
		return fmt.Sprintf("stage(%d)", uint8(s))
	}
}

// Spot is a row that did something to a packet. The zero value is no row.
type Spot struct {
	// Path is the table, and Row the row in it.
	Path string
	Row  routeros.Row
	// Before is the row of a chain of RouterOS's own that led there by a jump; Row if
	// there was none. A new rule in its place comes before all that matters.
	Before routeros.Row
}

// IsZero reports whether there is no row.
func (s Spot) IsZero() bool { return s.Row == nil }

// ID returns the row's id, "" if there is none.
func (s Spot) ID() string { return s.Row.Value(".id") }

// How says what became of a packet.
type How uint8

// What can become of a packet.
const (
	// Unsure is a packet of which the tables do not tell, because of the row in Spot.
	Unsure How = iota
	// Lost is a packet that is dropped, or sent nowhere.
	Lost
	// Arrives is a packet that leaves the router, or is for the router itself.
	Arrives
)

// String returns "unsure", "lost" or "arrives".
func (h How) String() string {
	switch h {
	case Unsure:
		return "unsure"
	case Lost:
		return "lost"
	case Arrives:
		return "arrives"
	default:
		return fmt.Sprintf("how(%d)", uint8(h))
	}
}

// Leg is what becomes of a packet on its way through the router.
type Leg struct {
	// How says whether it arrives.
	How How
	// Stage is where it was lost, or where it is not clear what becomes of it.
	Stage Stage
	// Spot is the row that loses it, or that is not understood. A routing decision
	// without a route has none.
	Spot Spot
	// Local says that it is for the router itself, Out by which interface it leaves
	// otherwise.
	Local bool
	Out   string
	// Src and Dst are its addresses in the end.
	Src, Dst netip.AddrPort

	// What decided, on the way that was found first. Any may be zero.
	Trail Trail
}

// Trail is which rows decided about a packet that was not lost.
type Trail struct {
	// Mangle ended the chain prerouting of mangle: no later rule there was met.
	Mangle Spot
	// MarkedConnection and MarkedRouting gave the connection, and the packet, its mark.
	MarkedConnection, MarkedRouting Spot
	// DstNAT and SrcNAT decided about the addresses, accept included.
	DstNAT, SrcNAT Spot
	// Rule is the routing rule, and Route the route; of a packet that is sent by its
	// routing mark Table is the mark, otherwise the table of the route.
	Rule  Spot
	Route Spot
	Table string
	// ByMark says that the routing mark decided.
	ByMark bool
	// FastTrack is the rule that took the connection.
	FastTrack Spot
	// Mark is the connection's mark, [NoMark] for none.
	Mark string
	// Untracked is the row that exempted it from connection tracking.
	Untracked Spot
}

// Trip is what becomes of a packet and of the answer to it.
type Trip struct {
	// There is the packet, and Back the answer; Back is of no use if There is not
	// [Arrives].
	There, Back Leg
}
