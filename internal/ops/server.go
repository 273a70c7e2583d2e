package ops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"doublenat/internal/web"
)

const (
	// headerTimeout and idleTimeout bound how long a connection may do nothing, before
	// its first question and after an answer.
	headerTimeout, idleTimeout = 5 * time.Second, 30 * time.Second
	// maxHeader bounds the header of a request.
	maxHeader = 16 << 10
	// goodbye is how long answers under way may take when the server ends.
	goodbye = 2 * time.Second
)

// ServerConfig is what a [Server] needs.
type ServerConfig struct {
	// Monitor makes the pictures. Required.
	Monitor *Monitor
	// Hosts are names under which we may be asked for, in lower case, beside IP
	// addresses and the names of home networks. Nil means none.
	Hosts []string
	// Logger gets failures. Nil discards.
	Logger *slog.Logger
}

// Server answers HTTP. Nothing can be changed through it.
type Server struct {
	handler http.Handler
	log     *slog.Logger
}

// NewServer checks the configuration. It starts nothing.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Monitor == nil {
		return nil, errors.New("ops: a server needs a monitor")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	next, err := cfg.Monitor.handler()
	if err != nil {
		return nil, fmt.Errorf("ops: %w", err)
	}
	return &Server{handler: &guard{next: next, hosts: cfg.Hosts, log: cfg.Logger}, log: cfg.Logger}, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Serve answers the connections of l until ctx ends. It then closes l, ends all
// streams, and returns nil when nothing of it is left.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	gate := newGate(l)
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      writeTimeout, // a stream sets its own for each write
		IdleTimeout:       idleTimeout,
		ConnState:         gate.note,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx }, // its end ends the streams
	}
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	if err := web.Serve(ctx, server, gate, goodbye); err != nil {
		return fmt.Errorf("serving http: %w", err)
	}
	return nil
}
