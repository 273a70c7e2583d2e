package natpmp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// ListenerConfig has what a [Listener] needs.
type ListenerConfig struct {
	// Gateway is who may announce: packets from any other address are dropped
	// (RFC 6886 §3.2.1). Required.
	Gateway netip.Addr
	// OnAnnouncement is told of each announcement and when it came. It is called by
	// one goroutine and must not block. Required.
	OnAnnouncement func(resp Response, at time.Time)
	// Logger gets a debug line for each dropped packet. Nil discards.
	Logger *slog.Logger
}

// Listener hears a gateway's announcements (RFC 6886 §3.2.1).
type Listener struct{ cfg ListenerConfig }

// NewListener checks the configuration and returns a listener. It starts nothing.
func NewListener(cfg ListenerConfig) (*Listener, error) {
	switch {
	case !cfg.Gateway.Is4():
		return nil, errors.New("natpmp: listener needs the gateway's IPv4 address")
	case cfg.OnAnnouncement == nil:
		return nil, errors.New("natpmp: listener needs somebody to tell")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Listener{cfg: cfg}, nil
}

// Serve hears announcements on the connection, which [ListenAnnouncements] makes,
// until the context ends; it then returns nil. The connection stays open, with a
// read deadline in the past; it is the caller's to close. The error is one of
// the connection.
func (l *Listener) Serve(ctx context.Context, conn net.PacketConn) error {
	defer interrupt(ctx, conn)()
	buf := make([]byte, MaxPacket)
	for {
		n, from, err := conn.ReadFrom(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		if err := l.hear(buf[:n], from); err != nil {
			l.cfg.Logger.DebugContext(ctx, "announcement ignored", "from", from, "error", err)
		}
	}
}

// hear deals with one packet.
func (l *Listener) hear(b []byte, from net.Addr) error {
	source, err := addrPort(from)
	if err != nil {
		return err
	}
	if source.Addr() != l.cfg.Gateway {
		return errors.New("not from the gateway")
	}
	resp, err := ParseResponse(b)
	if err != nil {
		return err
	}
	if resp.Opcode != OpExternalAddress {
		return errors.New("not an address reply")
	}
	l.cfg.OnAnnouncement(resp, time.Now())
	return nil
}
