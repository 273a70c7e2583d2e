package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/nat"
	"doublenat/internal/ops"
	"doublenat/natpmp"
)

// makeOps makes what shows how the daemon is doing. Without HTTP_ADDR it remembers
// a little and shows nothing.
func (d *Daemon) makeOps(Options) (err error) {
	about := ops.About{
		Version: d.version, Instance: d.cfg.Instance,
		Listen: d.cfg.Listen.String(), Gateway: upstream(d.cfg, d.cfg.Pool), Router: d.cfg.Router.String(),
		ReadOnly: d.cfg.ReadOnly, MaxMappings: d.cfg.MaxMappings, Static: make(map[nat.Key]bool),
	}
	for _, m := range d.cfg.Static {
		about.Static[m.Key] = true
	}
	log := d.log.With("component", "http")
	if d.monitor, err = ops.NewMonitor(ops.MonitorConfig{About: about, Parts: d.parts, Outline: d.outline, Alive: d.Alive, Logger: log}); err != nil {
		return err
	}
	d.pages, err = ops.NewServer(ops.ServerConfig{Monitor: d.monitor, Hosts: d.cfg.HTTPHosts, Logger: log})
	return err
}

// parts asks the parts how they are. None of them waits for the network.
func (d *Daemon) parts() ops.Parts {
	p := d.outline()
	p.Mappings = d.service.Mappings()
	return p
}

// outline is parts without the mappings.
func (d *Daemon) outline() ops.Parts {
	p := ops.Parts{
		Router: d.router.Status(), Gateway: d.gateway.Stats(), Core: d.service.Status(),
		Frontend: d.frontend.Stats(), Server: d.server.Stats(), Stopping: d.stopping.Load(),
	}
	p.Lock, p.LockAdvice = d.lockStatus()
	if d.upnp != nil {
		p.UPnP = d.upnp.server.Stats()
	}
	return p
}

// took returns what takes in how long a hop took.
func (d *Daemon) took(hop ops.Hop) func(time.Duration) {
	return func(t time.Duration) { d.monitor.Observe(hop, t) }
}

// timed is a handler that tells how long clients wait for their answer.
func (d *Daemon) timed(h natpmp.Handler) natpmp.Handler {
	return natpmp.HandlerFunc(func(ctx context.Context, from natpmp.Arrival, req natpmp.Request) natpmp.Reply {
		reply := h.ServeNATPMP(ctx, from, req)
		if d.role() != roleActive {
			return natpmp.Silence() // What the fence refused is no answer, and the next active one has a better one.
		}
		d.monitor.Observe(ops.HopLAN, time.Since(from.At))
		return reply
	})
}

// atOnce is the frontend's, and tells the same.
func (d *Daemon) atOnce(from natpmp.Arrival, req natpmp.Request) (natpmp.Reply, bool) {
	reply, ok := d.frontend.AtOnce(from, req)
	if ok {
		d.monitor.Observe(ops.HopLAN, time.Since(from.At))
	}
	return reply, ok
}

// Status returns how the daemon is doing, as the status page shows it.
func (d *Daemon) Status() ops.Status { return d.monitor.Status() }

// listenHTTP opens what the status page is served on, nil if it is not wanted.
func (d *Daemon) listenHTTP(ctx context.Context) (net.Listener, error) {
	if d.cfg.HTTP == (config.ListenAddress{}) {
		return nil, nil //nolint:nilnil // there is no listener, and that is no error
	}
	l, err := d.net.ListenHTTP(ctx, d.cfg.HTTP)
	if err != nil {
		return nil, fmt.Errorf("opening HTTP_ADDR %s%s: %w", d.cfg.HTTP, closedHint(d.cfg.HTTP, err), err)
	}
	d.log.InfoContext(ctx, "serving the status page", "http", d.cfg.HTTP.String())
	return l, nil
}

// showStatus serves the page until ctx ends; d stops when running ends. Mappings
// matter more than the page: its failure is logged, and stops nothing.
func (d *Daemon) showStatus(ctx, running context.Context, l net.Listener) {
	if l == nil {
		return
	}
	stop := context.AfterFunc(running, func() {
		d.stopping.Store(true)
		d.monitor.Changed()
	})
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.monitor.Run(ctx) // it returns nil
	}()
	if err := d.pages.Serve(ctx, l); err != nil {
		d.log.ErrorContext(ctx, "status page is no longer served", "error", err)
	}
	cancel()
	<-done
}

// closedHint says what to do where the page cannot be shown, "" where only the error can.
func closedHint(at config.ListenAddress, err error) string {
	unix := at.Network == "unix"
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && unix && !isSocket(at.Address):
		return " (something else than a socket is there: give the socket a path of its own)"
	case errors.Is(err, syscall.EADDRINUSE) && unix:
		return " (another doublenat shows its page there: give this one a path of its own)"
	case errors.Is(err, syscall.EADDRINUSE):
		return " (another program has this port: set HTTP_ADDR to a free one, or find the program with ss -ltnp)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return " (this host does not have that address: ip -brief address lists those it has, and a port alone, such as :8080, means all)"
	case errors.Is(err, syscall.EACCES) && !unix:
		return " (ports below 1024 are for root: take a higher one, such as 8080)"
	case errors.Is(err, syscall.ENOENT) && unix:
		return " (its folder does not exist: make it, or let systemd make /run/doublenat by RuntimeDirectory=doublenat)"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EROFS):
		return " (the user that doublenat runs as may not write to its folder)"
	}
	return ""
}

// listenStream opens a TCP or unix socket. A unix socket of a run that was killed is
// in the way and is removed, if nobody answers on it.
func listenStream(ctx context.Context, at config.ListenAddress) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, at.Network, at.Address)
	if at.Network != "unix" || !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	var dialer net.Dialer
	conn, dialErr := dialer.DialContext(ctx, at.Network, at.Address)
	if dialErr == nil {
		return nil, errors.Join(err, conn.Close())
	}
	if !isSocket(at.Address) || !errors.Is(dialErr, syscall.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(at.Address); err != nil {
		return nil, err
	}
	return lc.Listen(ctx, at.Network, at.Address)
}

// isSocket says whether a socket is at the path.
func isSocket(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().Type() == os.ModeSocket
}
