package exchange

import "sync/atomic"

// Stats counts what an [Exchange] did since it was made.
type Stats struct {
	// Sent is all packets sent, repeated ones included.
	Sent uint64
	// Retransmitted is the packets sent again.
	Retransmitted uint64
	// Received is all packets of the gateway.
	Received uint64
	// Ignored is packets that could not be read or that nobody waited for.
	Ignored uint64
	// Refused is ICMP port unreachables.
	Refused uint64
	// Timeouts is requests that got no reply.
	Timeouts uint64
	// SendErrors is packets that the connection did not take.
	SendErrors uint64
	// Odd is replies that cannot be right, as the protocol counts them.
	Odd uint64
	// Dials is connections made.
	Dials uint64
}

// counters is Stats while it grows.
type counters struct {
	sent, retransmitted, received, ignored, refused, timeouts, sendErrors, odd, dials atomic.Uint64
}

// Ignored counts a packet that could not be read or that nobody waited for.
func (x *Exchange[K, Q, A]) Ignored() { x.count.ignored.Add(1) }

// Odd counts a reply that cannot be right.
func (x *Exchange[K, Q, A]) Odd() { x.count.odd.Add(1) }

// Stats returns the counts so far. It may be called at any time.
func (x *Exchange[K, Q, A]) Stats() Stats {
	return Stats{
		Sent:          x.count.sent.Load(),
		Retransmitted: x.count.retransmitted.Load(),
		Received:      x.count.received.Load(),
		Ignored:       x.count.ignored.Load(),
		Refused:       x.count.refused.Load(),
		Timeouts:      x.count.timeouts.Load(),
		SendErrors:    x.count.sendErrors.Load(),
		Odd:           x.count.odd.Load(),
		Dials:         x.count.dials.Load(),
	}
}
