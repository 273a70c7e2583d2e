package igd

import (
	"cmp"
	"errors"
	"log/slog"
	"net/netip"

	"doublenat/internal/datagram"
)

// The bounds of a [Server] unless it is told otherwise.
const (
	// DefaultMaxConnections is the maximum number of TCP connections at once.
	DefaultMaxConnections = 128
	// DefaultMaxPerClient is the maximum for one client.
	DefaultMaxPerClient = 8
)

// maxBoot is the highest BOOTID (UDA 1.1 §1.2.2: a 31-bit number).
const maxBoot = 1<<31 - 1

// ServerConfig configures a [Server].
type ServerConfig struct {
	// Handler maps ports. Required.
	Handler Handler
	// UUID identifies this gateway and stays the same over restarts; its devices' UUIDs
	// are derived from it. Required.
	UUID [16]byte
	// Boot returns BOOTID.UPNP.ORG, which grows each time the gateway loses its mappings
	// (UDA 1.1 §1.2.2). It has 31 bits. It must not block. Required.
	Boot func() uint32
	// Location returns where a client finds the descriptions: the address that it
	// contacted, if that is this host's, else the one from which something forwards here,
	// such as a router's dst-nat. The zero AddrPort is nowhere: the search gets no reply.
	// It must not block. Required.
	Location func(Arrival) netip.AddrPort
	// Admit decides about each TCP connection before anything is read from it, and about
	// each further request on it: false closes it without a reply. [datagram.Config.Admit]
	// decides about search packets. It must not block. Nil admits all.
	Admit func(Arrival) bool
	// Exact reports whether clients can get exactly the port that they request. If so,
	// searches find the device version that they name, or version 1, which all clients
	// know, if they name none. If not, they find version 2, whose clients accept another
	// port. It must not block. Nil means always.
	Exact func() bool
	// Answered is called for each answered action, with 0 or the failure's code; the name
	// is "" if no such action exists. It must not block. Nil means no callback.
	Answered func(from Arrival, action string, code Code)
	// Name is the friendly name, "" for "doublenat". Release is the program's version in
	// documents and in the SERVER header, "" for "1".
	Name, Release string
	// MaxConnections and MaxPerClient limit the TCP connections, in all and per client. 0
	// means [DefaultMaxConnections] and [DefaultMaxPerClient].
	MaxConnections, MaxPerClient int
	// Logger gets panics of the handler as errors, and a debug line for each refused
	// request, at most 20 per second. Nil discards.
	Logger *slog.Logger
}

// Server is the device's side: it answers searches, serves descriptions, and lets a
// [Handler] make port mappings. [Server.Searches] is for the search socket, [Server.Serve]
// for HTTP, and [Server.Notify] for announcements.
type Server struct {
	cfg   ServerConfig
	trees []*tree // that of version 1 and that of version 2
	// finders has what searches find, pages what is shown, by their paths. Both stay as made.
	finders finders
	pages   map[string]page
	lobby   *lobby
	pace    *pace
	lines   datagram.LineLimit
	// renotify has a value when the links are to be told anew.
	renotify chan struct{}
	count    serverCounters
	log      *slog.Logger
}

// NewServer checks the configuration and returns a server. It starts nothing.
func NewServer(cfg ServerConfig) (*Server, error) {
	switch {
	case cfg.Handler == nil:
		return nil, errors.New("igd: server needs a handler")
	case cfg.UUID == [16]byte{}:
		return nil, errors.New("igd: server needs a UUID")
	case cfg.Boot == nil, cfg.Location == nil:
		return nil, errors.New("igd: server needs to know its BOOTID and its location")
	case cfg.MaxConnections < 0, cfg.MaxPerClient < 0:
		return nil, errors.New("igd: a bound is negative")
	}
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, DefaultMaxConnections)
	cfg.MaxPerClient = cmp.Or(cfg.MaxPerClient, DefaultMaxPerClient)
	cfg.Name, cfg.Release = cmp.Or(brief(cfg.Name), product), cmp.Or(token(cfg.Release), "1")
	if cfg.Admit == nil {
		cfg.Admit = func(Arrival) bool { return true }
	}
	if cfg.Exact == nil {
		cfg.Exact = func() bool { return true }
	}
	if cfg.Answered == nil {
		cfg.Answered = func(Arrival, string, Code) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, pace: newPace(), lobby: &lobby{perClient: cfg.MaxPerClient, all: cfg.MaxConnections}, log: cfg.Logger, renotify: make(chan struct{}, 1)}
	s.trees = []*tree{newTree(1, cfg), newTree(2, cfg)}
	s.finders, s.pages = newFinders(s.trees[0], s.trees[1]), pages(s.trees, cfg)
	return s, nil
}
