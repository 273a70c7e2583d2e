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
	// announcementWait is the time between two looks for links, and two tries on a link
	// that fails, when a series should be over.
	announcementWait = time.Minute
	// announcementLook is the time between two looks for links as long as it is not.
	announcementLook = 5 * time.Second
	// announcementSpan is how long a series takes.
	announcementSpan = announcementGap<<(announcements-1) - announcementGap
)

// AnnouncementSender puts a packet on a link.
type AnnouncementSender interface {
	// Announce sends the packet to 224.0.0.1, port 5350. It must not block, and
	// does not keep the packet.
	Announce(packet []byte) error
}

// AnnouncementLink is a link on which announcements are sent.
type AnnouncementLink struct {
	AnnouncementSender

	// ID identifies the link, also over time: a link that was away comes back with the
	// same ID. It must be comparable.
	ID any
}

// AnnouncerConfig configures an [Announcer].
type AnnouncerConfig struct {
	// Links returns the present links; with none, nothing is sent. Each link gets its own
	// series: one that comes up during a series gets all copies, and so does one that was
	// away or failed meanwhile. Run's goroutine calls Links at the beginning of a series,
	// every few seconds during it, then once a minute while a link still lacks copies. It
	// must not block. Required.
	Links func() []AnnouncementLink
	// Epoch is the server's; each copy has its value at that moment. Required.
	Epoch *Epoch
	// Address returns the public address, or false while it is not known. It is called for
	// each copy. Required.
	Address func() (netip.Addr, bool)
	// Logger gets a warning when sending fails, once for each link and series. Nil discards.
	Logger *slog.Logger
}

// Announcer tells all clients on the links that the public address changed, or that
// mappings may have been lost (RFC 6886 §3.2.1, §3.7).
type Announcer struct {
	cfg AnnouncerConfig
	// again has a value when the series is to begin anew.
	again chan struct{}
}

// NewAnnouncer checks the configuration and returns an announcer. It starts nothing.
func NewAnnouncer(cfg AnnouncerConfig) (*Announcer, error) {
	switch {
	case cfg.Links == nil:
		return nil, errors.New("natpmp: announcer needs to know the links")
	case cfg.Epoch == nil:
		return nil, errors.New("natpmp: announcer needs an epoch")
	case cfg.Address == nil:
		return nil, errors.New("natpmp: announcer needs to know the address")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Announcer{cfg: cfg, again: make(chan struct{}, 1)}, nil
}

// Announce begins a new series, and ends the one in progress. It never blocks and may be
// called at any time, even before Run.
func (a *Announcer) Announce() {
	select {
	case a.again <- struct{}{}:
	default: // a new series is about to begin anyway
	}
}

// Run announces the start at once (RFC 6886 §3.2.1: "on boot"), then whenever
// [Announcer.Announce] is called, until the context ends. It returns nil.
func (a *Announcer) Run(ctx context.Context) error {
	select {
	case <-a.again: // asked for before: it is the series that begins now
	default:
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	e := newAnnouncement(time.Now())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.again:
			e = newAnnouncement(time.Now())
		case <-timer.C:
		}
		timer.Stop()
		if wait := a.advance(ctx, e, time.Now()); wait > 0 {
			timer.Reset(wait)
		}
	}
}

// advance looks for links when it is time to, and sends the copies that are due. It
// returns the time until it is to be called again, 0 if there is nothing more to do.
func (a *Announcer) advance(ctx context.Context, e *announcement, now time.Time) time.Duration {
	if !now.Before(e.lookAt) {
		e.look(a.cfg.Links(), now)
	}
	failed := false
	for _, s := range e.series {
		if s.pending() && !s.due.After(now) && !a.send(ctx, s, now) {
			failed = true
		}
	}
	if failed {
		e.look(a.cfg.Links(), now) // It may be gone.
	}
	return e.next(now)
}

// send sends a copy on a link, and says whether that worked.
func (a *Announcer) send(ctx context.Context, s *series, now time.Time) bool {
	err := s.Announce(a.packet())
	if err != nil && !s.warned {
		s.warned = true
		a.cfg.Logger.WarnContext(ctx, "announcement not sent", "error", err)
	}
	s.sentOne(err == nil, now)
	return err == nil
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
