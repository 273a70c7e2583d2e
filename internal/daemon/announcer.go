package daemon

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"doublenat/internal/config"
	"doublenat/natpmp"
)

// announcer is a [natpmp.Announcer] that need not be there: changes may come before
// the socket is open, and where announcing is off they always do.
type announcer struct {
	current atomic.Pointer[natpmp.Announcer]
}

func newAnnouncer() *announcer { return &announcer{} }

// Announce begins a series of announcements where that is possible. It never blocks.
func (a *announcer) Announce() {
	if current := a.current.Load(); current != nil {
		current.Announce()
	}
}

// run announces until ctx ends, the start first.
func (a *announcer) run(ctx context.Context, cfg natpmp.AnnouncerConfig) error {
	current, err := natpmp.NewAnnouncer(cfg)
	if err != nil {
		return err
	}
	a.current.Store(current)
	defer a.current.Store(nil)
	return current.Run(ctx)
}

// links finds the links on which announcements are sent: this host's LAN may come up
// after doublenat, and its address may change. It is used by the announcer's goroutine
// alone.
type links struct {
	// find returns what sends on the present links, or nil and why there is nothing.
	find func() (natpmp.AnnouncementSender, string)
	// expected says that there should be something: that there is nothing is a warning.
	expected bool
	log      *slog.Logger

	found bool   // at the look of which the log was told last
	told  string // what the log has about that look
	lines *rate.Limiter
}

// A link that goes up and down makes so many lines at once, and then one a minute.
const linkLines = 5

// newLinks returns what finds the links of this host, for the clients' socket.
func (d *Daemon) newLinks(conn net.PacketConn) *links {
	return &links{
		find: func() (natpmp.AnnouncementSender, string) {
			return d.net.Announcements(conn, d.cfg.At(d.router.Gateway()))
		},
		expected: d.cfg.Announce.Mode == config.AnnounceOn, log: d.log,
		lines: rate.NewLimiter(rate.Every(time.Minute), linkLines),
	}
}

// look returns the links that there are. The log hears of it when they are not what
// they were.
func (l *links) look() []natpmp.AnnouncementLink {
	sender, how := l.find()
	found := sender != nil
	news := (found != l.found || how != l.told) && l.lines.Allow()
	if news {
		l.found, l.told = found, how
	}
	const off = "announcements are off, clients learn of changes when they renew"
	switch {
	case !news:
	case found:
		l.log.Info("announcing changes", "where", how)
	case l.expected:
		l.log.Warn(off, "reason", how)
	default:
		l.log.Info(off, "reason", how)
	}
	return linksOf(sender)
}

// linksOf returns the links of a sender, which is one link itself if it does not know
// several.
func linksOf(sender natpmp.AnnouncementSender) []natpmp.AnnouncementLink {
	if sender == nil {
		return nil
	}
	if several, ok := sender.(interface {
		Links() []natpmp.AnnouncementLink
	}); ok {
		return several.Links()
	}
	return []natpmp.AnnouncementLink{{ID: sender, AnnouncementSender: sender}}
}
