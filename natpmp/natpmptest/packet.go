package natpmptest

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"
)

// Kind is something that happened to a packet.
type Kind uint8

// What happens to packets. On a [Network] every packet is sent (or injected) once, and
// each of its copies ends as delivered, lost, swallowed, refused or overflowed.
const (
	// PacketSent is a packet that a socket sent.
	PacketSent Kind = iota
	// PacketInjected is a packet of [Network.Inject].
	PacketInjected
	// PacketDelivered is a packet that reached the queue of a socket.
	PacketDelivered
	// PacketLost is a packet lost by [Faults.Loss].
	PacketLost
	// PacketSwallowed is a packet that ended in a [Faults.Blackhole].
	PacketSwallowed
	// PacketDuplicated is a packet that got a second copy.
	PacketDuplicated
	// PacketDelayed is a packet on a path with a delay or jitter.
	PacketDelayed
	// PacketReordered is a packet that was held back.
	PacketReordered
	// PacketRefused is a packet for which no socket was open: what a host answers with
	// ICMP port unreachable.
	PacketRefused
	// PacketOverflowed is a packet that found a queue full.
	PacketOverflowed

	kinds = iota
)

// String returns the kind in one word.
func (k Kind) String() string {
	names := [kinds]string{
		"sent", "injected", "delivered", "lost", "swallowed", "duplicated", "delayed", "reordered", "refused", "overflowed",
	}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Packet is an entry of a capture or journal.
type Packet struct {
	// At is when it happened.
	At time.Time
	// Kind is what happened.
	Kind Kind
	// From is the packet's source.
	From netip.AddrPort
	// To is the packet's destination.
	To netip.AddrPort
	// Payload is the datagram. It is shared and must not be changed.
	Payload []byte
}

// String returns the packet in one line, with its payload in hex.
func (p Packet) String() string {
	return fmt.Sprintf("%s %s %s > %s %s",
		p.At.UTC().Format("15:04:05.000000"), p.Kind, p.From, p.To, hex.EncodeToString(p.Payload))
}
