package natpmp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"doublenat/internal/datagram"
	"doublenat/internal/exchange"
)

// ListenerConfig configures a [Listener].
type ListenerConfig struct {
	// Gateway is the only address that may announce: packets from others are dropped (RFC
	// 6886 §3.2.1). Required.
	Gateway netip.Addr
	// OnAnnouncement gets each announcement and its time of arrival. One goroutine calls
	// it, and it must not block. Required.
	OnAnnouncement func(resp Response, at time.Time)
	// OnOther gets each packet from the gateway that has another protocol version: PCP
	// announces on the same port (RFC 6887 §14.1). The bytes are valid until it returns.
	// It is called like OnAnnouncement. Nil means that such packets are dropped.
	OnOther func(packet []byte, at time.Time)
	// Logger gets a debug line for each dropped packet. Nil discards.
	Logger *slog.Logger
}

// Listener receives a gateway's announcements (RFC 6886 §3.2.1).
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

// Serve receives announcements on the connection, which [ListenAnnouncements] makes, until
// the context ends; it then returns nil. It leaves the connection open, with a read
// deadline in the past; the caller closes it. The error is the connection's.
func (l *Listener) Serve(ctx context.Context, conn net.PacketConn) error {
	defer exchange.Interrupt(ctx, conn)()
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
	source, err := datagram.AddrPort(from)
	if err != nil {
		return err
	}
	if source.Addr() != l.cfg.Gateway {
		return errors.New("not from the gateway")
	}
	resp, err := ParseResponse(b)
	if errors.Is(err, ErrUnsupportedVersion) && l.cfg.OnOther != nil {
		l.cfg.OnOther(b, time.Now())
		return nil
	}
	if err != nil {
		return err
	}
	if resp.Opcode != OpExternalAddress {
		return errors.New("not an address reply")
	}
	l.cfg.OnAnnouncement(resp, time.Now())
	return nil
}
