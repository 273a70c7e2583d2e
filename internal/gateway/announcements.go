package gateway

import (
	"context"
	"time"

	"doublenat/natpmp"
)

const (
	// openFirst and openLast are the shortest and the longest wait until the socket for
	// announcements is opened again; each is twice the one before.
	openFirst, openLast = time.Second, 5 * time.Minute
	// steadyAfter is how long a socket has to last until it is called one.
	steadyAfter = time.Minute
)

// hearAnnouncements listens for the gateway's multicasts (RFC 6886 §3.2.1), which
// seldom cross a tunnel. Without them nothing is lost but time; but a tunnel that
// comes up late, or goes down for a moment, must not cost them for good.
func (g *Gateway) hearAnnouncements(ctx context.Context) {
	wait := openFirst
	for ctx.Err() == nil {
		began := time.Now()
		err := g.serveAnnouncements(ctx)
		if ctx.Err() != nil {
			return
		}
		if g.setDeaf(true) {
			g.log.WarnContext(ctx, "cannot receive the gateway's announcements", "error", err)
		}
		if time.Since(began) >= steadyAfter {
			wait = openFirst
		}
		sleep(ctx, wait, nil)
		wait = min(2*wait, openLast)
	}
}

// setDeaf notes whether announcements can be heard, and says whether that is news.
func (g *Gateway) setDeaf(deaf bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	news := g.deaf != deaf
	g.deaf = deaf
	return news
}

// serveAnnouncements opens a socket and hears announcements on it until the context
// ends, or the socket is of no use any more.
func (g *Gateway) serveAnnouncements(ctx context.Context) error {
	conn, err := g.cfg.ListenAnnouncements()
	if err != nil {
		return err
	}
	defer conn.Close()
	steady := time.AfterFunc(steadyAfter, func() {
		if g.setDeaf(false) {
			g.log.InfoContext(ctx, "receiving the gateway's announcements again")
		}
	})
	defer steady.Stop()
	l, err := natpmp.NewListener(natpmp.ListenerConfig{
		Gateway: g.cfg.Address, OnAnnouncement: g.announced, OnOther: g.heardOther, Logger: g.log,
	})
	if err != nil {
		return err
	}
	return l.Serve(ctx, conn)
}

// announced takes an announcement as a reason to look, not as the truth: anybody
// on the link can send one with the gateway's address (RFC 6886 §5). Its epoch is
// not taken in either; that of the reply will tell. Looks keep their own pause.
func (g *Gateway) announced(resp natpmp.Response, at time.Time) {
	g.mu.Lock()
	g.count.announcements++
	news := resp.Address != g.address
	g.mu.Unlock()
	if news || g.epoch.Suspect(resp.Epoch, at) {
		g.lookNow()
	}
}
