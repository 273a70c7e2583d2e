package natpmp

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// ServerStats counts the packets of a [Server] since it was made.
type ServerStats struct {
	// Received is all packets.
	Received uint64
	// Replies is all packets sent.
	Replies uint64
	// VersionErrors is requests of another version than 0, answered with result 1.
	VersionErrors uint64
	// OpcodeErrors is requests of opcode 3 to 127, answered with result 5.
	OpcodeErrors uint64
	// Silenced is requests that the handler left without a reply.
	Silenced uint64
	// Short is packets dropped because they end too early.
	Short uint64
	// Oversize is packets dropped because they are longer than [MaxPacket].
	Oversize uint64
	// Responses is packets dropped because they are no requests.
	Responses uint64
	// NotAdmitted is requests dropped by Admit, or sent to a multicast address.
	NotAdmitted uint64
	// Repeated is requests dropped because the same one of the same client was waiting.
	Repeated uint64
	// Overload is requests dropped because too many were waiting.
	Overload uint64
	// SendErrors is replies that the connection did not take.
	SendErrors uint64
	// Panics is requests at which the handler panicked.
	Panics uint64
}

// serverCounters is ServerStats while it grows.
type serverCounters struct {
	received, replies, versionErrors, opcodeErrors, silenced                atomic.Uint64
	short, oversize, responses, notAdmitted, repeated, overload, sendErrors atomic.Uint64
	panics                                                                  atomic.Uint64
}

// Stats returns the counts so far. It may be called at any time.
func (s *Server) Stats() ServerStats {
	return ServerStats{
		Received:      s.count.received.Load(),
		Replies:       s.count.replies.Load(),
		VersionErrors: s.count.versionErrors.Load(),
		OpcodeErrors:  s.count.opcodeErrors.Load(),
		Silenced:      s.count.silenced.Load(),
		Short:         s.count.short.Load(),
		Oversize:      s.count.oversize.Load(),
		Responses:     s.count.responses.Load(),
		NotAdmitted:   s.count.notAdmitted.Load(),
		Repeated:      s.count.repeated.Load(),
		Overload:      s.count.overload.Load(),
		SendErrors:    s.count.sendErrors.Load(),
		Panics:        s.count.panics.Load(),
	}
}

// drop counts a packet that gets no answer, and tells of it unless there are many.
func (s *Server) drop(ctx context.Context, counter *atomic.Uint64, reason string, from Arrival) {
	counter.Add(1)
	if !s.log.Enabled(ctx, slog.LevelDebug) || !s.lines.allow() {
		return
	}
	s.log.DebugContext(ctx, "packet dropped", "reason", reason, "client", from.Client,
		"destination", from.Destination, "interface", from.Interface)
}
