package natpmp

import (
	"context"
	"log/slog"
	"net/netip"

	"doublenat/internal/datagram"
)

// Arrival says how a packet arrived.
type Arrival = datagram.Arrival

// Rank says how much a request has to lose by waiting.
type Rank = datagram.Rank

// Subject is the mapping that a request is about.
type Subject = datagram.Subject

// The ranks, from the lowest.
const (
	// RankStranger is a request from a client that has nothing to lose yet.
	RankStranger = datagram.RankStranger
	// RankHolder is a request from a client that has a mapping, for something else.
	RankHolder = datagram.RankHolder
	// RankRenewal is a request for a mapping that the client already has.
	RankRenewal = datagram.RankRenewal
)

// ServerStats counts the packets of a [Server] since it was created.
type ServerStats = datagram.Stats

// Handler decides about requests. Several goroutines call it at once.
type Handler interface {
	// ServeNATPMP decides about one request of version 0 with opcode 0, 1 or 2. From says
	// who sent it and when it arrived: it may have waited since. The context ends when the
	// server stops; the call must then return soon. A panic is logged, counted and
	// answered with [ResultNetworkFailure], and the server continues.
	ServeNATPMP(ctx context.Context, from Arrival, req Request) Reply
}

// HandlerFunc makes a function a [Handler].
type HandlerFunc func(ctx context.Context, from Arrival, req Request) Reply

// ServeNATPMP calls the function.
func (f HandlerFunc) ServeNATPMP(ctx context.Context, from Arrival, req Request) Reply {
	return f(ctx, from, req)
}

// ServerConfig configures a [Server].
type ServerConfig struct {
	// Handler, Epoch and AtOnce are those of [ResponderConfig].
	Handler Handler
	Epoch   *Epoch
	AtOnce  func(from Arrival, req Request) (Reply, bool)
	// Rank is that of [datagram.Config]: nil ranks all alike.
	Rank func(client netip.Addr, about Subject) Rank
	// Admit decides about every packet that is not a response and not malformed, before
	// anything is answered. False drops the packet silently. The reading goroutine calls
	// it, and it must not block. Nil admits all.
	//
	// This is the place for RFC 6886 §3.3: requests that were sent to an external address,
	// or that arrived on an external interface, must not be accepted.
	Admit func(Arrival) bool
	// MaxConcurrent limits the requests in progress; more have to wait. 0 means 256.
	MaxConcurrent int
	// MaxPerClient limits one client's requests in progress, separately for each rank. 0
	// means 64.
	MaxPerClient int
	// MaxWaiting limits the waiting requests; one client may have a quarter of them. More
	// are dropped and counted. 0 means 1024.
	MaxWaiting int
	// Logger gets a debug line for each drop, at most 20 per second, and panics of the
	// handler as errors. Nil discards.
	Logger *slog.Logger
}

// Server answers NAT-PMP requests on one or more connections. Requests of any other
// version get [ResultUnsupportedVersion].
type Server struct{ *datagram.Server }

// NewServer checks the configuration and returns a server. It starts nothing.
func NewServer(cfg ServerConfig) (*Server, error) {
	p, err := NewResponder(ResponderConfig{Handler: cfg.Handler, Epoch: cfg.Epoch, AtOnce: cfg.AtOnce})
	if err != nil {
		return nil, err
	}
	s, err := datagram.NewServer(datagram.Config{
		Protocol: func(byte) datagram.Protocol { return p }, Admit: cfg.Admit,
		MaxConcurrent: cfg.MaxConcurrent, MaxPerClient: cfg.MaxPerClient, MaxWaiting: cfg.MaxWaiting,
		Rank: cfg.Rank, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	return &Server{s}, nil
}
