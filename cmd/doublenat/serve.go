package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/mdlayher/sdnotify"

	"doublenat/internal/config"
	"doublenat/internal/daemon"
)

// serve runs the daemon as the environment says until ctx ends.
func serve(ctx context.Context, p *process) error {
	cfg, err := p.config()
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	level.Set(cfg.LogLevel)
	log := newLogger(p.stderr, level, cfg.LogFormat, p.environ)
	defer switchLevel(ctx, log, level)()
	for _, w := range cfg.Warnings {
		log.WarnContext(ctx, "configuration looks odd", "reason", w)
	}

	manager := newManager(ctx, p.environ, log)
	defer manager.close()
	told := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(told)
		manager.notify(sdnotify.Stopping)
	})
	defer func() {
		if !cancel() {
			<-told
		}
	}()
	return p.daemon(ctx, daemon.Options{
		Config:  cfg,
		Logger:  log,
		Version: buildVersion().short(),
		OnReady: func() { manager.notify(sdnotify.Ready) },
	})
}

// config reads the configuration of this process.
func (p *process) config() (config.Config, error) { return parseConfig(p.environ) }

// unusable returns the error for a configuration with mistakes, one on each line.
func unusable(err error) error {
	return usageError{fmt.Errorf("the configuration cannot be used (see: doublenat serve --help)\n  %s",
		strings.ReplaceAll(err.Error(), "\n", "\n  "))}
}

// manager tells the service manager how far the daemon is. Where there is none,
// it does nothing.
type manager struct {
	notifier *sdnotify.Notifier // nil where there is no service manager
	log      *slog.Logger
}

// newManager connects to the socket that NOTIFY_SOCKET names.
func newManager(ctx context.Context, environ map[string]string, log *slog.Logger) *manager {
	m := &manager{log: log}
	path := environ[sdnotify.Socket]
	if path == "" {
		return m
	}
	notifier, err := sdnotify.Open(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.WarnContext(ctx, "service manager cannot be told", "error", err)
	}
	m.notifier = notifier
	return m
}

// notify sends one state. That it could not be sent stops nobody's mappings.
func (m *manager) notify(state string) {
	if err := m.notifier.Notify(state); err != nil {
		m.log.Warn("service manager was not told", "state", state, "error", err)
	}
}

// close gives the socket back.
func (m *manager) close() {
	_ = m.notifier.Close() // a datagram socket: nothing is lost with it
}
