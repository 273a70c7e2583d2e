package daemon

import (
	"context"
	"errors"
	"net"

	"golang.org/x/sync/errgroup"
)

// life is what runs of a daemon, in the order in which it ends.
type life struct {
	d *Daemon
	// above serves clients until aboveCtx ends, and then takes down or hands over what there is.
	above    *errgroup.Group
	aboveCtx context.Context //nolint:containedctx // it is the life of above
	endAbove context.CancelCauseFunc
	// beyond is what is on the far side of the router.
	beyond *tier
	// holding renews the lock, which is released when nobody writes any more.
	holding *tier
	// below is the router, the hooks, which tell of all that, and the page.
	below *tier
}

// tier is what ends together.
type tier struct {
	errgroup.Group

	ctx  context.Context //nolint:containedctx // it is the life of the tier
	stop context.CancelFunc
}

// newTier returns a tier that does not end with ctx.
func newTier(ctx context.Context) *tier {
	t := new(tier)
	t.ctx, t.stop = context.WithCancel(context.WithoutCancel(ctx))
	return t
}

// run runs something until the tier ends.
func (t *tier) run(what string, f func(context.Context) error) {
	t.Go(func() error { return wrap(what, f(t.ctx)) })
}

// end ends the tier and returns when all of it has ended.
func (t *tier) end() error {
	t.stop()
	return t.Wait()
}

// silent is something that has no error to return.
func silent(f func(context.Context)) func(context.Context) error {
	return func(ctx context.Context) error { f(ctx); return nil }
}

// begin starts what runs whether the daemon is active or stands by.
func (d *Daemon) begin(ctx context.Context, s sockets) *life {
	l := &life{d: d, beyond: newTier(ctx), holding: newTier(ctx), below: newTier(ctx)}
	running, end := context.WithCancelCause(ctx)
	l.endAbove = end
	l.above, l.aboveCtx = errgroup.WithContext(running)
	l.below.run("router", d.router.Run)
	l.below.run("hooks", d.hooks.Run)
	if d.supervise != nil {
		l.below.run("", silent(func(ctx context.Context) { d.supervise(ctx, d.Alive) }))
	}
	l.below.run("", silent(func(ctx context.Context) { d.showStatus(ctx, l.aboveCtx, s.pages) }))
	l.serve("server", func(ctx context.Context) error { return d.server.Serve(ctx, s.clients) })
	l.serve("", silent(d.profile))
	return l
}

// serve runs something until the daemon stops, or until something else of that kind fails.
func (l *life) serve(what string, f func(context.Context) error) {
	l.above.Go(func() error { return wrap(what, f(l.aboveCtx)) })
}

// activate starts what only the active one does.
func (l *life) activate(s sockets) {
	d := l.d
	if d.term != nil {
		l.holding.run("", func(ctx context.Context) error { return d.hold(ctx, l.endAbove) })
		if d.cfg.Lock.Redirect {
			l.serve("", silent(d.leadClientsHere))
		}
	}
	l.beyond.run("gateway", d.gateway.Run)
	if d.reflection != nil {
		l.beyond.run("stun", d.reflection.Run)
	}
	l.serve("announcements", func(ctx context.Context) error { return d.announce(ctx, s.clients) })
	l.serve("", silent(d.updater.Run))
	l.serve("", silent(d.adopted))
	if d.upnp != nil {
		l.serve("", silent(func(ctx context.Context) { d.upnp.run(ctx, s.device) }))
		l.serve("", silent(d.absence().Run))
	}
	l.serve("", silent(func(ctx context.Context) { d.refresh(ctx, d.refreshed) }))
	l.serve("static mappings", d.static.Run)
	l.serve("shutdown", d.service.Run)
}

// wait waits for the end of the daemon, which it brings to an end in order. A term that was lost is
// the only thing to say then: what could not be taken down is the next one's.
func (l *life) wait() error {
	err := l.above.Wait()
	err = errors.Join(err, l.beyond.end())
	lost := l.holding.end()
	if l.d.term != nil && lost == nil {
		l.d.handOver(l.below.ctx)
	}
	err = errors.Join(err, l.below.end())
	l.endAbove(nil)
	if lost != nil {
		return lost
	}
	return err
}

// sockets are those on which the daemon is asked.
type sockets struct {
	clients net.PacketConn
	device  deviceSockets
	pages   net.Listener // nil without HTTP_ADDR
}

// open opens the sockets: one that cannot be opened is a mistake of the operator's.
func (d *Daemon) open(ctx context.Context) (s sockets, err error) {
	if s.clients, err = d.listen(ctx); err != nil {
		return sockets{}, err
	}
	if s.device, err = d.listenUPnP(ctx); err == nil {
		if s.pages, err = d.listenHTTP(ctx); err == nil {
			return s, nil
		}
		s.device.close()
	}
	_ = s.clients.Close() // nobody was answered there
	return sockets{}, err
}
