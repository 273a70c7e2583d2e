package natpmp

import "sync/atomic"

// ClientStats counts what a [Client] did since it was made.
type ClientStats struct {
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
	// Dials is connections made.
	Dials uint64
}

// clientCounters is ClientStats while it grows.
type clientCounters struct {
	sent, retransmitted, received, ignored, refused, timeouts, sendErrors, dials atomic.Uint64
}

// Stats returns the counts so far. It may be called at any time.
func (c *Client) Stats() ClientStats {
	return ClientStats{
		Sent:          c.count.sent.Load(),
		Retransmitted: c.count.retransmitted.Load(),
		Received:      c.count.received.Load(),
		Ignored:       c.count.ignored.Load(),
		Refused:       c.count.refused.Load(),
		Timeouts:      c.count.timeouts.Load(),
		SendErrors:    c.count.sendErrors.Load(),
		Dials:         c.count.dials.Load(),
	}
}
