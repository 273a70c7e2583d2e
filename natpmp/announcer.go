package natpmp

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"
)

const (
	// announcements is how many copies of one announcement are sent (RFC 6886 §3.2.1).
	announcements = 10
	// announcementGap is the time between the first two; each gap is twice the one
	// before (RFC 6886 §3.2.1).
	announcementGap = 250 * time.Millisecond
	// announcementWait is how long a series waits for a link.
	announcementWait = time.Minute
)

// AnnouncementSender puts a packet on every link that is served.
type AnnouncementSender interface {
	// Announce sends the packet to 224.0.0.1, port 5350. It must not block, and
	// does not keep the packet.
	Announce(packet []byte) error
}

// AnnouncerConfig has what an [Announcer] needs.
type AnnouncerConfig struct {
	// Sender sends the packets. Required.
	Sender AnnouncementSender
	// Epoch is the server's; each copy has what it says at that moment. Required.
	Epoch *Epoch
	// Address returns the public address, or false while it is not known. It is
	// asked for each copy. Required.
	Address func() (netip.Addr, bool)
	// Prepare is called at the beginning of each series, and when a packet could not be
	// sent: links come and go, and their addresses change. False is nowhere to send;
	// the series then waits, and begins when Prepare, asked once a minute, says true.
	// It is called by Run's goroutine and must not block. Nil is always ready.
	Prepare func() bool
	// Logger gets a warning when sending fails, once for each series. Nil discards.
	Logger *slog.Logger
}

// Announcer tells all clients on the links that the public address changed or
// that mappings may have been lost (RFC 6886 §3.2.1, §3.7).
type Announcer struct {
	cfg AnnouncerConfig
	// again has a value when the series is to begin anew.
	again chan struct{}
}

// NewAnnouncer checks the configuration and returns an announcer. It starts nothing.
func NewAnnouncer(cfg AnnouncerConfig) (*Announcer, error) {
	switch {
	case cfg.Sender == nil:
		return nil, errors.New("natpmp: announcer needs a sender")
	case cfg.Epoch == nil:
		return nil, errors.New("natpmp: announcer needs an epoch")
	case cfg.Address == nil:
		return nil, errors.New("natpmp: announcer needs to know the address")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Prepare == nil {
		cfg.Prepare = func() bool { return true }
	}
	return &Announcer{cfg: cfg, again: make(chan struct{}, 1)}, nil
}

// Announce begins a new series, and ends the one that goes on. It never blocks
// and may be called at any time, before Run too.
func (a *Announcer) Announce() {
	select {
	case a.again <- struct{}{}:
	default: // a new series is about to begin anyway
	}
}

// Run announces the start at once (RFC 6886 §3.2.1: "on boot"), then whatever
// [Announcer.Announce] is called for, until the context ends. It returns nil.
func (a *Announcer) Run(ctx context.Context) error {
	select {
	case <-a.again: // asked for before: it is the series that begins now
	default:
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var s series
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.again:
			s = series{}
		case <-timer.C:
		}
		timer.Stop()
		if wait := a.advance(ctx, &s); wait > 0 {
			timer.Reset(wait)
		}
	}
}

// series is how far a series of announcements has come.
type series struct {
	sent int
	// failed is set once a failure was told of.
	failed bool
}

// advance sends the next copy, or waits for a link on which to send the first one. It
// returns the time until it is to be called again, 0 at the end of the series.
func (a *Announcer) advance(ctx context.Context, s *series) time.Duration {
	if s.sent == 0 && !a.cfg.Prepare() {
		return announcementWait
	}
	if err := a.cfg.Sender.Announce(a.packet()); err != nil {
		if !s.failed {
			s.failed = true
			a.cfg.Logger.WarnContext(ctx, "announcement not sent", "error", err)
		}
		if !a.cfg.Prepare() {
			s.sent = 0
			return announcementWait
		}
	}
	s.sent++
	if s.sent == announcements {
		return 0
	}
	return announcementGap << (s.sent - 1)
}

// packet returns the announcement as it is true now. Without an address it still
// tells the epoch, in the form of a failed address reply.
func (a *Announcer) packet() []byte {
	resp := Response{Epoch: a.cfg.Epoch.Seconds()}
	if addr, ok := a.cfg.Address(); ok {
		resp.Address = addr
	} else {
		resp.Result = ResultNetworkFailure
	}
	return resp.Append(make([]byte, 0, addressResponseSize))
}
