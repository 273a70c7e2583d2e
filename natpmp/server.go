package natpmp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"
)

// DefaultMaxConcurrent is how many requests a [Server] works on at once, unless
// told otherwise.
const DefaultMaxConcurrent = 256

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
	// MaxConcurrent bounds the requests in work; what comes beyond is dropped and
	// counted. 0 means [DefaultMaxConcurrent].
	MaxConcurrent int
	// Logger gets a debug line for each drop, and panics of the handler as errors.
	// Nil discards.
	Logger *slog.Logger
}

// Server answers NAT-PMP requests on one connection or more.
type Server struct {
	handler Handler
	epoch   *Epoch
	admit   func(Arrival) bool
	slots   chan struct{}
	log     *slog.Logger
	count   serverCounters
}

// NewServer checks the configuration and returns a server. It starts nothing.
func NewServer(cfg ServerConfig) (*Server, error) {
	switch {
	case cfg.Handler == nil:
		return nil, errors.New("natpmp: server needs a handler")
	case cfg.Epoch == nil:
		return nil, errors.New("natpmp: server needs an epoch")
	case cfg.MaxConcurrent < 0:
		return nil, errors.New("natpmp: MaxConcurrent is negative")
	}
	if cfg.MaxConcurrent == 0 {
		cfg.MaxConcurrent = DefaultMaxConcurrent
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Admit == nil {
		cfg.Admit = func(Arrival) bool { return true }
	}
	return &Server{
		handler: cfg.Handler,
		epoch:   cfg.Epoch,
		admit:   cfg.Admit,
		slots:   make(chan struct{}, cfg.MaxConcurrent),
		log:     cfg.Logger,
	}, nil
}

// Serve answers requests on the connection until the context ends, and then
// waits for the handlers. It returns nil in that case, and an error when the
// connection was closed by someone else.
//
// A reply leaves from the address that was asked if conn is a *net.UDPConn on a
// platform that tells it, also on a wildcard address. The connection stays open,
// with a read deadline in the past; it is the caller's to close.
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
// hands over the rest if there is room. It keeps nothing of the buffer.
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
	select {
	case s.slots <- struct{}{}:
	default:
		s.drop(ctx, &s.count.overload, "too many requests in work", from)
		return
	}
	handlers.Go(func() {
		defer func() { <-s.slots }()
		reply := s.handle(ctx, from.Client, req)
		resp, ok := reply.response(req, s.epoch.Seconds())
		if !ok {
			s.count.silenced.Add(1)
			return
		}
		s.send(ctx, tr, resp.Append(nil), from)
	})
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
