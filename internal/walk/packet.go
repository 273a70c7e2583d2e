package walk

import "fmt"

// Fate says whether a rule takes a packet.
type Fate uint8

// The fates, in the order of their strength.
const (
	// Never is a rule that does not take it.
	Never Fate = iota
	// Perhaps is a rule that asks for something which is not known here.
	Perhaps
	// Partly is a rule that takes some packets of the kind for sure.
	Partly
	// Always is a rule that takes all of them.
	Always
)

// String returns the fate in one word.
func (f Fate) String() string {
	switch f {
	case Never:
		return "never"
	case Perhaps:
		return "perhaps"
	case Partly:
		return "partly"
	case Always:
		return "always"
	default:
		return fmt.Sprintf("fate(%d)", uint8(f))
	}
}

// not returns the fate under the opposite of a matcher.
func (f Fate) not() Fate {
	switch f {
	case Never:
		return Always
	case Always:
		return Never
	case Perhaps, Partly:
		return f
	default:
		return Perhaps
	}
}

// sure is Always or Never where something is known, and Perhaps where it is not.
func sure(known, yes bool) Fate {
	switch {
	case !known:
		return Perhaps
	case yes:
		return Always
	default:
		return Never
	}
}

const (
	// NoMark is how RouterOS calls a connection, packet or route without a mark.
	NoMark = "no-mark"
	// NoInterface stands for the interface by which a packet of the router itself
	// came in, and for the one by which a packet for the router leaves. No interface
	// can have this name.
	NoInterface = "\x00"
	// NoNAT is a connection whose addresses nobody changed.
	NoNAT = "none"
)

// The states of a connection that a packet of ours can be in.
const (
	StateNew         = "new"
	StateEstablished = "established"
	StateUntracked   = "untracked"
)

// Packet is a packet, or a kind of packets, with what is known of its connection.
// A field that is empty is not known, or differs from packet to packet.
type Packet struct {
	// In and Out are interfaces.
	In, Out string
	// Protocol is "tcp" or "udp"; empty stands for both of them.
	Protocol string
	// SrcPort and DstPort are its ports, 0 if not known.
	SrcPort, DstPort uint16
	// Src and Dst are its addresses.
	Src, Dst Span
	// State is that of the connection: [StateNew] for example.
	State string
	// NATState is what was done to the connection's addresses: "dstnat", "srcnat",
	// "srcnat,dstnat" or [NoNAT].
	NATState string
	// Mark, RoutingMark and PacketMark are the marks, [NoMark] for none.
	Mark, RoutingMark, PacketMark string
	// Answer says that the packet is the answer to another one.
	Answer bool
	// Local says that the packet is for the router itself, and Remote that it is for a
	// host somewhere else. If neither, the router's addresses tell.
	Local, Remote bool
}
