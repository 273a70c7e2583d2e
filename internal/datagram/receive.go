package datagram

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"doublenat/internal/exchange"
)

// reader is what the goroutine that reads a connection needs for each packet.
type reader struct {
	transport

	// working counts the requests in the queue and in work.
	working sync.WaitGroup
	// reply is the buffer for what is answered at once: floods pass here, and cost no memory.
	reply [MaxPacket]byte
}

// receive deals with one packet: it answers at once what needs no work, and
// queues the rest if there is room. It keeps nothing of the buffer.
func (s *Server) receive(ctx context.Context, r *reader, b []byte, from Arrival) {
	s.count.received.Add(1)
	switch {
	case len(b) > MaxPacket:
		s.drop(ctx, &s.count.oversize, "packet too long", from)
		return
	case len(b) == 0:
		s.drop(ctx, &s.count.short, "packet too short", from)
		return
	case from.Destination.IsMulticast() && from.Destination != s.group, from.Broadcast:
		// Nobody can be answered from the address that was asked.
		s.drop(ctx, &s.count.notAdmitted, "request to a multicast or broadcast address", from)
		return
	}
	protocol := s.protocol(b[0])
	switch protocol.Discard(b) {
	case Short:
		s.drop(ctx, &s.count.short, "packet too short", from)
		return
	case Response:
		s.drop(ctx, &s.count.responses, "response instead of a request", from)
		return
	case Foreign:
		s.drop(ctx, &s.count.foreign, "request is somebody else's to answer", from)
		return
	case Keep:
	}
	if !s.admit(from) {
		s.drop(ctx, &s.count.notAdmitted, "request not admitted", from)
		return
	}
	if !s.atOnce(ctx, r, protocol, b, from) {
		s.enqueue(ctx, r, protocol.Request(b, from), from)
	}
}

// atOnce answers a request that needs no work, and says whether it has.
func (s *Server) atOnce(ctx context.Context, r *reader, protocol Protocol, b []byte, from Arrival) bool {
	reply, kind := s.answerAtOnce(ctx, r.reply[:0], protocol, b, from)
	switch kind {
	case KindLater:
		return false
	case KindVersion:
		s.count.versionErrors.Add(1)
	case KindOpcode:
		s.count.opcodeErrors.Add(1)
	case KindDone:
	}
	s.reply(ctx, r.transport, reply, from)
	return true
}

// enqueue hands a request to the queue, which serves it when its turn has come.
func (s *Server) enqueue(ctx context.Context, r *reader, req Request, from Arrival) {
	r.working.Add(1)
	v := s.queue.submit(&job{
		from: from.Client, request: req,
		run:  func() { s.work(ctx, r.transport, req, from) },
		done: r.working.Done,
	}, s.rank(from.Client.Addr(), req.Subject()))
	switch v {
	case repeated:
		s.drop(ctx, &s.count.repeated, "the same request is waiting", from)
	case overload:
		s.drop(ctx, &s.count.overload, "too many requests waiting", from)
	case accepted:
	}
}

// work serves a request and sends the reply. One whose turn comes when the server stops
// is dropped.
func (s *Server) work(ctx context.Context, tr transport, req Request, from Arrival) {
	if ctx.Err() != nil {
		return
	}
	s.reply(ctx, tr, s.serve(ctx, req, from), from)
}

// serve has the request served, and turns a panic into a failure. One request that
// meets a bug must not cost every client its mappings; the log line is an
// error and has the stack, so it cannot be overlooked.
func (s *Server) serve(ctx context.Context, req Request, from Arrival) (reply []byte) {
	defer func() {
		if p := recover(); p != nil {
			s.panicked(ctx, from, req, p)
			reply = req.Failure()
		}
	}()
	return req.Serve(ctx)
}

// answerAtOnce asks for a reply without work, with the same care.
func (s *Server) answerAtOnce(ctx context.Context, dst []byte, protocol Protocol, b []byte, from Arrival) (reply []byte, kind Kind) {
	defer func() {
		if p := recover(); p != nil {
			req := protocol.Request(b, from)
			s.panicked(ctx, from, req, p)
			reply, kind = req.Failure(), KindDone
		}
	}()
	return protocol.AtOnce(dst, b, from)
}

// panicked counts a bug and tells of it.
func (s *Server) panicked(ctx context.Context, from Arrival, req Request, p any) {
	s.count.panics.Add(1)
	s.log.ErrorContext(ctx, "handler panicked, answering with a failure",
		"client", from.Client, "subject", req.Subject(), "panic", p, "stack", string(debug.Stack()))
}

// reply sends a reply, unless that is silence, and never waits for room: one that cannot be
// sent is lost like any other packet, and the client asks again. A client without a mapping
// leaves half of the send buffer to those with one, and so does one that is not on the link.
// Replies to hosts that do not exist stay in it for seconds, and anybody on the link can ask
// in the names of such hosts.
func (s *Server) reply(ctx context.Context, tr transport, packet []byte, to Arrival) {
	if packet == nil {
		s.count.silenced.Add(1)
		return
	}
	err := tr.write(packet, to, s.rank(to.Client.Addr(), Subject{}) == RankStranger)
	switch {
	case err == nil:
		s.count.replies.Add(1)
	case errors.Is(err, errCrowded), exchange.NoRoom(err):
		s.drop(ctx, &s.count.crowded, "no room for the reply", to)
	default:
		s.count.sendErrors.Add(1)
		if s.lines.Allow() {
			s.log.DebugContext(ctx, "reply not sent", "client", to.Client, "error", err)
		}
	}
}

// drop counts a packet that gets no answer, and tells of it unless there are many.
func (s *Server) drop(ctx context.Context, counter *atomic.Uint64, reason string, from Arrival) {
	counter.Add(1)
	if !s.log.Enabled(ctx, slog.LevelDebug) || !s.lines.Allow() {
		return
	}
	s.log.DebugContext(ctx, "packet dropped", "reason", reason, "client", from.Client,
		"destination", from.Destination, "interface", from.Interface)
}
