package datagram

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"doublenat/internal/exchange"
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

// readPatience is how long a socket may fail at every read until [Server.Serve] gives up.
const readPatience = time.Minute

// Config has what a [Server] needs.
type Config struct {
	// Protocol returns who reads a packet that begins with this byte, its version; never
	// nil. It is called by the goroutine that reads and must not block. Required.
	Protocol func(version byte) Protocol
	// Admit is asked before anything is answered about every packet that is not
	// discarded. False drops the packet in silence. It is called as Protocol is. Nil
	// admits all.
	//
	// It is the place for RFC 6886 §3.3: requests that were sent to an external
	// address, or that came in on an external interface, must not be accepted.
	Admit func(Arrival) bool
	// Group is the multicast group at which requests arrive beside this host's own addresses,
	// of whose members this is one ([Membership]). Replies to them come from the address that
	// the system chooses. The zero Addr is none: requests to groups get no answer.
	Group netip.Addr
	// MaxConcurrent bounds the requests in work; what comes beyond waits. 0 means
	// [DefaultMaxConcurrent].
	MaxConcurrent int
	// MaxPerClient bounds the requests in work of one client, those of each rank
	// apart. 0 means [DefaultMaxPerClient].
	MaxPerClient int
	// MaxWaiting bounds the requests that wait; a client may have a quarter of them
	// waiting. What comes beyond is dropped and counted. 0 means [DefaultMaxWaiting].
	MaxWaiting int
	// Rank says how much a request has to lose by waiting, and by being left without a reply
	// while replies pile up. A quarter of MaxConcurrent is kept for renewals, and a half of
	// that again for clients that hold a mapping. Before a reply it is asked with the zero
	// Subject: who is a stranger does not depend on the request. It is called as Protocol is.
	// Nil ranks all alike, and keeps nothing.
	Rank func(client netip.Addr, about Subject) Rank
	// Logger gets a debug line for each drop, up to 20 in a second, and panics of
	// protocols as errors. Nil discards.
	Logger *slog.Logger
}

// limits returns the bounds of the queue.
func (cfg *Config) limits() queueLimits {
	most := cmp.Or(cfg.MaxConcurrent, DefaultMaxConcurrent)
	limits := queueLimits{
		working:   [ranks]int{most - most/4 - most/8, most - most/4, most},
		perClient: cmp.Or(cfg.MaxPerClient, DefaultMaxPerClient),
		waiting:   cmp.Or(cfg.MaxWaiting, DefaultMaxWaiting),
	}
	if cfg.Rank == nil {
		limits.working = [ranks]int{most, most, most}
	}
	return limits
}

// Server answers requests on one connection or more.
type Server struct {
	protocol func(version byte) Protocol
	admit    func(Arrival) bool
	rank     func(netip.Addr, Subject) Rank
	group    netip.Addr
	queue    *queue
	log      *slog.Logger
	count    counters
	lines    LineLimit
	reader   busy
}

// NewServer checks the configuration and returns a server. It starts nothing.
func NewServer(cfg Config) (*Server, error) {
	switch {
	case cfg.Protocol == nil:
		return nil, errors.New("datagram: server needs a protocol")
	case cfg.Group.IsValid() && (!cfg.Group.Is4() || !cfg.Group.IsMulticast()):
		return nil, errors.New("datagram: the group is not a multicast address of IPv4")
	case cfg.MaxConcurrent < 0, cfg.MaxPerClient < 0, cfg.MaxWaiting < 0:
		return nil, errors.New("datagram: a bound is negative")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Admit == nil {
		cfg.Admit = func(Arrival) bool { return true }
	}
	limits := cfg.limits()
	if cfg.Rank == nil {
		cfg.Rank = func(netip.Addr, Subject) Rank { return RankStranger }
	}
	return &Server{
		protocol: cfg.Protocol, admit: cfg.Admit, rank: cfg.Rank, group: cfg.Group, queue: newQueue(limits), log: cfg.Logger,
		reader: busy{base: time.Now()},
	}, nil
}

// Serve answers requests on the connection until the context ends, and then
// waits for those in work. It returns nil in that case, and an error when the
// connection was closed by someone else, or every read of it has failed for a minute.
//
// A reply leaves from the address that was asked if conn is a *net.UDPConn on a
// platform that tells it, also on a wildcard address. Its buffers are made larger
// then, as far as the system allows. The connection stays open, with a read
// deadline in the past; it is the caller's to close.
func (s *Server) Serve(ctx context.Context, conn net.PacketConn) error {
	defer exchange.Interrupt(ctx, conn)()
	s.queue.crew.begin()
	defer s.queue.crew.end()
	r := &reader{transport: newTransport(conn)}
	defer r.working.Wait()

	buf := make([]byte, MaxPacket+1)
	var trouble readTrouble
	for {
		n, from, err := r.read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			if err := s.readFailed(ctx, &trouble, err); err != nil {
				return err
			}
			continue
		}
		trouble = readTrouble{}
		from.At, from.via = time.Now(), r.transport
		s.reader.begin(from.At)
		s.receive(ctx, r, buf[:n], from)
		s.reader.end()
	}
}

// readTrouble is how long a socket has failed at every read. The zero value is a
// socket that works.
type readTrouble struct {
	failures int
	since    time.Time
}

// readFailed counts a failure to read and waits a little. The error, which is one of
// the connection, says that it has failed for too long: it has to be opened anew.
func (s *Server) readFailed(ctx context.Context, t *readTrouble, err error) error {
	s.count.readErrors.Add(1)
	if t.failures == 0 {
		t.since = time.Now()
		s.log.WarnContext(ctx, "reading requests failed, retrying", "error", err)
	}
	t.failures++
	if failing := time.Since(t.since); failing >= readPatience {
		return fmt.Errorf("every read of the socket has failed for %v: %w", failing.Truncate(time.Second), err)
	}
	exchange.Pause(ctx, exchange.ReadPause(t.failures))
	return nil
}
