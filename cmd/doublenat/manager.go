package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strconv"
	"time"

	"github.com/mdlayher/sdnotify"
)

// manager tells the service manager how far the daemon is. Where there is none,
// it does nothing.
type manager struct {
	notifier *sdnotify.Notifier // nil where there is no service manager
	log      *slog.Logger
	// watchdog is how often it wants to hear that the daemon lives; 0 for never.
	watchdog time.Duration
}

// newManager connects to the socket that NOTIFY_SOCKET names.
func newManager(ctx context.Context, environ map[string]string, pid int, log *slog.Logger) *manager {
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
	if notifier != nil {
		m.watchdog, err = watchdogTime(environ, pid)
	}
	if err != nil {
		log.WarnContext(ctx, "the watchdog's time cannot be used, set WatchdogSec= in the unit", "error", err)
	}
	return m
}

// watchdogTime returns what the service manager asks for (sd_watchdog_enabled(3)):
// WATCHDOG_USEC in microseconds, which is for another process if WATCHDOG_PID says so.
func watchdogTime(environ map[string]string, pid int) (time.Duration, error) {
	text := environ["WATCHDOG_USEC"]
	if whose := environ["WATCHDOG_PID"]; text == "" || whose != "" && whose != strconv.Itoa(pid) {
		return 0, nil
	}
	const most = int64(1<<63-1) / int64(time.Microsecond)
	us, err := strconv.ParseInt(text, 10, 64)
	if err != nil || us <= 0 || us > most {
		return 0, errors.New("WATCHDOG_USEC is no time in microseconds")
	}
	return time.Duration(us) * time.Microsecond, nil
}

// watch tells the service manager that the daemon lives, twice as often as it wants
// to hear it, for as long as alive has nothing to object, until ctx ends. One that does
// not live any more is ended and started anew by the manager.
func (m *manager) watch(ctx context.Context, alive func() error) {
	if m.watchdog == 0 {
		return
	}
	tick := time.NewTicker(max(m.watchdog/2, time.Millisecond))
	defer tick.Stop()
	well := true
	for {
		err := alive()
		if err == nil {
			m.notify("WATCHDOG=1")
		} else if well {
			m.log.ErrorContext(ctx, "stuck, the service manager will restart doublenat", "error", err)
		}
		well = err == nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
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
