package daemon

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"

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

// links sends announcements on the links that there are when a series begins: this
// host's LAN may come up after doublenat, and its address may change. It is used by
// the announcer's goroutine alone.
type links struct {
	// find returns what sends on the present links, or nil and why there is nothing.
	find func() (natpmp.AnnouncementSender, string)
	// expected says that there should be something: that there is nothing is a warning.
	expected bool
	log      *slog.Logger

	sender natpmp.AnnouncementSender // nil if there was no link at the last look
	told   string                    // what the log has about that look
}

var _ natpmp.AnnouncementSender = (*links)(nil)

// newLinks returns a sender for the links of this host, on the clients' socket.
func (d *Daemon) newLinks(conn net.PacketConn) *links {
	return &links{
		find:     func() (natpmp.AnnouncementSender, string) { return d.net.Announcements(conn, d.cfg) },
		expected: d.cfg.Announce.Mode == config.AnnounceOn, log: d.log,
	}
}

// prepare looks which links there are and says whether there is one. The log hears
// of it when that is not what it was.
func (l *links) prepare() bool {
	sender, how := l.find()
	found := sender != nil
	news := found != (l.sender != nil) || how != l.told
	l.sender, l.told = sender, how
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
	return found
}

// Announce sends the packet on each link.
func (l *links) Announce(packet []byte) error {
	return l.sender.Announce(packet)
}
