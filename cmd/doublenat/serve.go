package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
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
	surviveBrokenPipes()
	level := new(slog.LevelVar)
	level.Set(cfg.LogLevel)
	log, closeLog := p.openLog(level, cfg.LogFormat) //nolint:contextcheck // lost lines belong to no request
	defer closeLog()
	defer switchLevel(ctx, log, level)()
	defer keepSmall(ctx)()
	for _, w := range cfg.Warnings {
		log.WarnContext(ctx, "configuration looks odd", "reason", w)
	}

	manager := newManager(ctx, p.environ, os.Getpid(), log)
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
		Config:    cfg,
		Logger:    log,
		Version:   buildVersion().short(),
		OnReady:   func() { manager.notify(sdnotify.Ready) },
		Supervise: manager.watch,
		Refresh:   p.refreshes(),
		OnEvent:   newTableMemory().observe,
		Host:      hostName(),
		Environ:   p.environ,
	})
}

// hostName returns the name of this host, empty if it does not know it.
func hostName() string {
	name, _ := os.Hostname() // the instance's name is used then
	return name
}

// refreshes returns what gets a value at each SIGHUP. A daemon that was started from
// a terminal loses it by that signal, and ends as by SIGTERM: nothing ever comes then.
func (p *process) refreshes() <-chan struct{} {
	asked := make(chan struct{}, 1)
	if onTerminal() {
		return asked
	}
	p.hangup.divert(func() {
		select {
		case asked <- struct{}{}:
		default: // One is waiting already.
		}
	})
	return asked
}

// config reads the configuration of this process.
func (p *process) config() (config.Config, error) { return parseConfig(p.environ) }

// unusable returns the error for a configuration with mistakes, one on each line.
func unusable(err error) error {
	return usageError{fmt.Errorf("the configuration cannot be used (see: doublenat serve --help)\n  %s",
		strings.ReplaceAll(err.Error(), "\n", "\n  "))}
}
