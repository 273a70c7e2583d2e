package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
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
		Listen: d.cfg.Listen.String(), Gateway: d.cfg.Gateway.String(), Router: d.cfg.Router.String(),
		ReadOnly: d.cfg.ReadOnly, Static: make(map[nat.Key]bool),
	}
	for _, m := range d.cfg.Static {
		about.Static[m.Key] = true
	}
	log := d.log.With("component", "http")
	if d.monitor, err = ops.NewMonitor(ops.MonitorConfig{About: about, Parts: d.parts, Logger: log}); err != nil {
		return err
	}
	d.pages, err = ops.NewServer(ops.ServerConfig{Monitor: d.monitor, Hosts: d.cfg.HTTPHosts, Logger: log})
	return err
}

// parts asks the parts how they are. None of them waits for the network.
func (d *Daemon) parts() ops.Parts {
	return ops.Parts{
		Router: d.router.Status(), Gateway: d.gateway.Stats(), Core: d.service.Status(), Mappings: d.service.Mappings(),
		Frontend: d.frontend.Stats(), Server: d.server.Stats(), Stopping: d.stopping.Load(),
	}
}

// took returns what takes in how long a hop took.
func (d *Daemon) took(hop ops.Hop) func(time.Duration) {
	return func(t time.Duration) { d.monitor.Observe(hop, t) }
}

// timed is a handler that tells how long clients wait for their answer.
func (d *Daemon) timed(h natpmp.Handler) natpmp.Handler {
	return natpmp.HandlerFunc(func(ctx context.Context, client netip.AddrPort, req natpmp.Request) natpmp.Reply {
		start := time.Now()
		reply := h.ServeNATPMP(ctx, client, req)
		d.monitor.Observe(ops.HopLAN, time.Since(start))
		return reply
	})
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
		return nil, fmt.Errorf("opening HTTP_ADDR %s: %w", d.cfg.HTTP, err)
	}
	d.log.InfoContext(ctx, "showing status", "http", d.cfg.HTTP.String())
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
		d.log.ErrorContext(ctx, "status is not shown any more", "error", err)
	}
	cancel()
	<-done
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
	if info, statErr := os.Lstat(at.Address); statErr != nil || info.Mode().Type() != os.ModeSocket || !errors.Is(dialErr, syscall.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(at.Address); err != nil {
		return nil, err
	}
	return lc.Listen(ctx, at.Network, at.Address)
}
