package natpmp

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"
)

// The bounds of a [Server] unless it is told otherwise.
const (
	// DefaultMaxConcurrent is how many requests are worked on at once.
	DefaultMaxConcurrent = 256
	// DefaultMaxPerClient is how many of them may be one client's.
	DefaultMaxPerClient = 64
	// DefaultMaxWaiting is how many further requests may wait.
	DefaultMaxWaiting = 1024
)

// Handler decides about requests. It is called from several goroutines at once.
type Handler interface {
	// ServeNATPMP decides about one request of version 0 with opcode 0, 1 or 2. The
	// client is the source of the packet. The context ends when the server stops;
	// the call must then return soon. A panic is logged, counted and answered with
	// [ResultNetworkFailure], and the server goes on.
	ServeNATPMP(ctx context.Context, client netip.AddrPort, req Request) Reply
}

// HandlerFunc is a function as a [Handler].
type HandlerFunc func(ctx context.Context, client netip.AddrPort, req Request) Reply

// ServeNATPMP calls the function.
func (f HandlerFunc) ServeNATPMP(ctx context.Context, client netip.AddrPort, req Request) Reply {
	return f(ctx, client, req)
}

// ServerConfig has what a [Server] needs.
type ServerConfig struct {
	// Handler decides about requests. Required.
	Handler Handler
	// Epoch is in every response, failures included. Required.
	Epoch *Epoch
	// Admit is asked first, before anything is answered, about every packet that
	// is not a response and not malformed. False drops the packet in silence. It
	// is called by the goroutine that reads and must not block. Nil admits all.
	//
	// It is the place for RFC 6886 §3.3: requests that were sent to an external
	// address, or that came in on an external interface, must not be accepted.
	Admit func(Arrival) bool
	// MaxConcurrent bounds the requests in work; what comes beyond waits. 0 means
	// [DefaultMaxConcurrent].
	MaxConcurrent int
	// MaxPerClient bounds the requests in work of one client, those of each rank
	// apart. 0 means [DefaultMaxPerClient].
	MaxPerClient int
	// MaxWaiting bounds the requests that wait; a client may have a quarter of them
	// waiting. What comes beyond is dropped and counted. 0 means [DefaultMaxWaiting].
	MaxWaiting int
	// Rank says how much a request has to lose by waiting. A quarter of MaxConcurrent
	// is kept for renewals, and a half of that again for clients that hold a mapping.
	// It is called as Admit is. Nil ranks all alike, and keeps nothing.
	Rank func(client netip.Addr, req Request) Rank
	// Logger gets a debug line for each drop, up to 20 in a second, and panics of the
	// handler as errors. Nil discards.
	Logger *slog.Logger
}

// Server answers NAT-PMP requests on one connection or more.
type Server struct {
	handler Handler
	epoch   *Epoch
	admit   func(Arrival) bool
	rank    func(netip.Addr, Request) Rank
	queue   *queue
	log     *slog.Logger
	count   serverCounters
	lines   lineLimit
}

// NewServer checks the configuration and returns a server. It starts nothing.
func NewServer(cfg ServerConfig) (*Server, error) {
	switch {
	case cfg.Handler == nil:
		return nil, errors.New("natpmp: server needs a handler")
	case cfg.Epoch == nil:
		return nil, errors.New("natpmp: server needs an epoch")
	case cfg.MaxConcurrent < 0, cfg.MaxPerClient < 0, cfg.MaxWaiting < 0:
		return nil, errors.New("natpmp: a bound is negative")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Admit == nil {
		cfg.Admit = func(Arrival) bool { return true }
	}
	limits := queueLimits{
		perClient: cmp.Or(cfg.MaxPerClient, DefaultMaxPerClient),
		waiting:   cmp.Or(cfg.MaxWaiting, DefaultMaxWaiting),
	}
	most := cmp.Or(cfg.MaxConcurrent, DefaultMaxConcurrent)
	if cfg.Rank == nil {
		cfg.Rank = func(netip.Addr, Request) Rank { return RankStranger }
		limits.working = [ranks]int{most, most, most}
	} else {
		limits.working = [ranks]int{most - most/4 - most/8, most - most/4, most}
	}
	return &Server{
		handler: cfg.Handler,
		epoch:   cfg.Epoch,
		admit:   cfg.Admit,
		rank:    cfg.Rank,
		queue:   newQueue(limits),
		log:     cfg.Logger,
	}, nil
}

// Serve answers requests on the connection until the context ends, and then
// waits for the handlers. It returns nil in that case, and an error when the
// connection was closed by someone else.
//
// A reply leaves from the address that was asked if conn is a *net.UDPConn on a
// platform that tells it, also on a wildcard address. Its receive buffer is made
// larger then, as far as the system allows. The connection stays open, with a read
// deadline in the past; it is the caller's to close.
func (s *Server) Serve(ctx context.Context, conn net.PacketConn) error {
	defer interrupt(ctx, conn)()
	var handlers sync.WaitGroup
	defer handlers.Wait()

	tr := newTransport(conn)
	buf := make([]byte, MaxPacket+1)
	failures := 0
	for {
		n, from, err := tr.read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			failures++
			if failures == 1 {
				s.log.WarnContext(ctx, "reading requests failed, going on", "error", err)
			}
			pause(ctx, readPause(failures))
			continue
		}
		failures = 0
		s.receive(ctx, tr, buf[:n], from, &handlers)
	}
}

// receive deals with one packet: it answers at once what needs no handler, and
// queues the rest if there is room. It keeps nothing of the buffer.
func (s *Server) receive(ctx context.Context, tr transport, b []byte, from Arrival, handlers *sync.WaitGroup) {
	s.count.received.Add(1)
	if len(b) > MaxPacket {
		s.drop(ctx, &s.count.oversize, "packet too long", from)
		return
	}
	if from.Destination.IsMulticast() {
		// Nobody can be answered from the address that was asked.
		s.drop(ctx, &s.count.notAdmitted, "request to a multicast address", from)
		return
	}
	req, err := ParseRequest(b)
	switch {
	case errors.Is(err, ErrIsResponse):
		// RFC 6886 §3.5: MUST be ignored, or two gateways answer each other for ever.
		s.drop(ctx, &s.count.responses, "response instead of a request", from)
		return
	case errors.Is(err, ErrShort):
		s.drop(ctx, &s.count.short, "packet too short", from)
		return
	case !s.admit(from):
		s.drop(ctx, &s.count.notAdmitted, "request not admitted", from)
		return
	case errors.Is(err, ErrUnsupportedVersion):
		s.count.versionErrors.Add(1)
		s.send(ctx, tr, AppendVersionError(nil, Opcode(b[1]), s.epoch.Seconds()), from)
		return
	case errors.Is(err, ErrUnsupportedOpcode):
		s.count.opcodeErrors.Add(1)
		s.send(ctx, tr, AppendOpcodeError(nil, b, s.epoch.Seconds()), from)
		return
	}
	s.enqueue(ctx, tr, req, from, handlers)
}

// enqueue hands a request to the queue, which calls the handler when its turn has come.
func (s *Server) enqueue(ctx context.Context, tr transport, req Request, from Arrival, handlers *sync.WaitGroup) {
	handlers.Add(1)
	v := s.queue.submit(job{
		from: from.Client,
		req:  req,
		run:  func() { s.work(ctx, tr, req, from) },
		done: handlers.Done,
	}, s.rank(from.Client.Addr(), req))
	switch v {
	case repeated:
		s.drop(ctx, &s.count.repeated, "the same request is waiting", from)
	case overload:
		s.drop(ctx, &s.count.overload, "too many requests waiting", from)
	case accepted:
	}
}

// work lets the handler decide and sends the reply. A request whose turn comes
// when the server stops is dropped.
func (s *Server) work(ctx context.Context, tr transport, req Request, from Arrival) {
	if ctx.Err() != nil {
		return
	}
	reply := s.handle(ctx, from.Client, req)
	resp, ok := reply.response(req, s.epoch.Seconds())
	if !ok {
		s.count.silenced.Add(1)
		return
	}
	s.send(ctx, tr, resp.Append(nil), from)
}

// handle calls the handler and turns a panic into no decision. One request that
// meets a bug must not cost every client its mappings; the log line is an
// error and has the stack, so it cannot be overlooked.
func (s *Server) handle(ctx context.Context, client netip.AddrPort, req Request) (reply Reply) {
	defer func() {
		if p := recover(); p != nil {
			s.count.panics.Add(1)
			s.log.ErrorContext(ctx, "handler panicked, answering with a failure",
				"client", client, "opcode", req.Opcode, "panic", p, "stack", string(debug.Stack()))
			reply = Reply{}
		}
	}()
	return s.handler.ServeNATPMP(ctx, client, req)
}

// send sends a reply. One that cannot be sent is lost like any other packet: the
// client asks again.
func (s *Server) send(ctx context.Context, tr transport, b []byte, to Arrival) {
	if err := tr.write(b, to); err != nil {
		s.count.sendErrors.Add(1)
		s.log.DebugContext(ctx, "reply not sent", "client", to.Client, "error", err)
		return
	}
	s.count.replies.Add(1)
}

// readPause returns how long to wait after so many failures to read in a row:
// long enough not to spin, short enough not to be missed.
func readPause(failures int) time.Duration {
	return min(5*time.Millisecond<<min(failures, 10), time.Second)
}
