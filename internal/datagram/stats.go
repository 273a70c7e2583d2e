package datagram

import "sync/atomic"

// Stats counts the packets of a [Server] since it was made.
type Stats struct {
	// Received is all packets.
	Received uint64
	// Replies is all packets sent.
	Replies uint64
	// VersionErrors is requests of a version that is not spoken, answered with that.
	VersionErrors uint64
	// OpcodeErrors is requests of an opcode that is not known, answered with that.
	OpcodeErrors uint64
	// Silenced is requests that were left without a reply.
	Silenced uint64
	// Short is packets dropped because they end too early.
	Short uint64
	// Oversize is packets dropped because they are longer than [MaxPacket].
	Oversize uint64
	// Responses is packets dropped because they are no requests.
	Responses uint64
	// Foreign is packets dropped because somebody else answers them.
	Foreign uint64
	// NotAdmitted is requests dropped by Admit, or sent to a multicast or broadcast address.
	NotAdmitted uint64
	// Repeated is requests dropped because the same one of the same client was waiting.
	Repeated uint64
	// Overload is requests dropped because too many were waiting.
	Overload uint64
	// SendErrors is replies that the connection did not take.
	SendErrors uint64
	// Crowded is replies dropped because too many waited to be sent: to anybody when the
	// send buffer was full, to clients without a mapping, and to hosts that do not exist,
	// when it was half full.
	Crowded uint64
	// ReadErrors is failures to read.
	ReadErrors uint64
	// Panics is requests at which a protocol panicked.
	Panics uint64
}

// counters is Stats while it grows.
type counters struct {
	received, replies, versionErrors, opcodeErrors, silenced                atomic.Uint64
	short, oversize, responses, notAdmitted, repeated, overload, sendErrors atomic.Uint64
	panics, crowded, readErrors, foreign                                    atomic.Uint64
}

// Stats returns the counts so far. It may be called at any time.
func (s *Server) Stats() Stats {
	return Stats{
		Received:      s.count.received.Load(),
		Replies:       s.count.replies.Load(),
		VersionErrors: s.count.versionErrors.Load(),
		OpcodeErrors:  s.count.opcodeErrors.Load(),
		Silenced:      s.count.silenced.Load(),
		Short:         s.count.short.Load(),
		Oversize:      s.count.oversize.Load(),
		Responses:     s.count.responses.Load(),
		Foreign:       s.count.foreign.Load(),
		NotAdmitted:   s.count.notAdmitted.Load(),
		Repeated:      s.count.repeated.Load(),
		Overload:      s.count.overload.Load(),
		SendErrors:    s.count.sendErrors.Load(),
		Crowded:       s.count.crowded.Load(),
		ReadErrors:    s.count.readErrors.Load(),
		Panics:        s.count.panics.Load(),
	}
}
