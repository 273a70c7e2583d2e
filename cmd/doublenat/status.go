package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"doublenat/internal/config"
	"doublenat/internal/foreign"
	"doublenat/internal/ops"
)

// shownEvents is how many of the last events a terminal shows.
const shownEvents = 8

// statusFlags are the flags of status as they were given.
type statusFlags struct {
	addr                string
	watch, json, health bool
}

// newStatus builds the command that shows how a running daemon is doing.
func newStatus(ctx context.Context, p *process) *cobra.Command {
	var flags statusFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the running daemon is doing: hops, open ports, last events",
		Long: "status asks a running doublenat over HTTP, at HTTP_ADDR, or else at the socket of the\n" +
			"systemd unit, and shows what its status page shows. The exit code is 1 if there is no answer.",
		Example: "  doublenat status                                   at HTTP_ADDR\n" +
			"  doublenat status --watch                           again on every change\n" +
			"  doublenat status --addr unix:/run/doublenat/http.sock   somewhere else\n" +
			"  doublenat status --health                          for a container's health check",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return status(ctx, p, flags) },
	}
	set := cmd.Flags()
	set.SortFlags = false
	set.StringVar(&flags.addr, "addr", "", "address and port, or unix: and a path (default HTTP_ADDR, or else "+unitSocket+")")
	set.BoolVarP(&flags.watch, "watch", "w", false, "show it again on every change, until Ctrl-C")
	set.BoolVar(&flags.json, "json", false, "show it as JSON; with --watch a line for each change")
	set.BoolVar(&flags.health, "health", false, "say only whether the daemon is alive: exit code 0 or 1")
	return cmd
}

// unitSocket is where a doublenat that systemd runs by our unit shows its page.
const unitSocket = "unix:/run/doublenat/http.sock"

// packagePage is where one with the settings that come with the packages shows it instead.
const packagePage = "127.0.0.1:8080"

// pageAddress is where a daemon with this environment, or the unit's, shows its page.
func pageAddress(environ map[string]string) string { return cmp.Or(environ["HTTP_ADDR"], unitSocket) }

// errNotDoublenat is an answer that no doublenat gives.
var errNotDoublenat = errors.New("the server that answered is not doublenat")

// page returns where the daemon shows its page: where a flag says, the environment, or our unit.
func (p *process) page(flag string) (config.ListenAddress, error) {
	given, name := flag, "--addr"
	if given == "" {
		given, name = pageAddress(p.environ), "HTTP_ADDR"
	}
	at, err := config.ParseListenAddress(given)
	if err != nil {
		return at, fmt.Errorf("%s=%q %w; example: 127.0.0.1:8080 or %s", name, config.WithoutUserinfo(given), err, unitSocket)
	}
	if flag == "" && p.environ["HTTP_ADDR"] == "" {
		if _, err := os.Stat(at.Address); err != nil {
			return at, fmt.Errorf("HTTP_ADDR is not set, and there is no %s: where does the daemon show its status? Set it, or, as the packages set it, --addr %s", unitSocket, packagePage)
		}
	}
	return at, nil
}

// status shows what the flags say.
func status(ctx context.Context, p *process, flags statusFlags) error {
	if flags.health && (flags.watch || flags.json) {
		return usageError{errors.New("--health says yes or no, and goes with neither --watch nor --json")}
	}
	at, err := p.page(flags.addr)
	if err != nil {
		return usageError{err}
	}
	d := newDaemonClient(at)
	defer d.close()
	switch {
	case flags.health:
		return d.health(ctx, p.stdout)
	case flags.watch:
		return watch(ctx, d, func(data []byte) error { return p.show(data, flags) }, func(err error) error { return p.gone(err, flags) })
	default:
		data, err := d.get(ctx, ops.PathStatus)
		if err != nil {
			return err
		}
		return p.show(data, flags)
	}
}

// watch shows each picture until ctx ends. A daemon that goes away is waited for, after
// gone was told why: whoever watches wants to see it come back, and must not take an
// old picture for the truth.
func watch(ctx context.Context, d *daemonClient, show func([]byte) error, gone func(error) error) error {
	for seen, away := false, false; ; {
		err := d.stream(ctx, func(data []byte) error {
			seen, away = true, false
			return show(data)
		})
		_, broken := errors.AsType[*showError](err)
		if (broken || !seen) && !ended(ctx, 0) {
			return err
		}
		if ended(ctx, time.Second/2) { // one that is restarted is back by now
			return nil
		}
		if !away {
			away = true
			if err := gone(err); err != nil {
				return err
			}
		}
		if ended(ctx, time.Second/2) {
			return nil
		}
	}
}

// gone says in place of the picture that there is no daemon any more: on the terminal,
// and with JSON on stderr, where no program reads pictures.
func (p *process) gone(err error, flags statusFlags) error {
	text := fmt.Sprintf("No connection to doublenat since %s: %s\n  Waiting for it. Is doublenat running, and is this host on its network?\n",
		time.Now().Format(time.TimeOnly), foreign.Text(err.Error()))
	if flags.json {
		_, err := io.WriteString(p.stderr, text)
		return err
	}
	color := colorful(p.stdout, p.environ)
	if err := p.clear(color); err != nil {
		return err
	}
	sign := "✗"
	if color {
		sign = paint(ops.StateDown, sign)
	}
	_, err = io.WriteString(p.stdout, sign+" "+text)
	return err
}

// ended waits and says whether ctx has ended meanwhile.
func ended(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return ctx.Err() != nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return true
	case <-timer.C:
		return false
	}
}

// show writes one picture.
func (p *process) show(data []byte, flags statusFlags) error {
	if flags.json && !json.Valid(data) {
		return errNotDoublenat
	}
	if flags.json {
		_, err := fmt.Fprintf(foreign.NewWriter(p.stdout), "%s\n", trimmed(data))
		return err
	}
	var s ops.Status
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("%w: %w", errNotDoublenat, err)
	}
	options := ops.TextOptions{Location: time.Local, Events: shownEvents}
	color := colorful(p.stdout, p.environ)
	if color {
		options.Paint = paint
	}
	if flags.watch {
		if err := p.clear(color); err != nil {
			return err
		}
	}
	return ops.WriteText(p.stdout, s, options)
}

// clear makes room for the next picture: an empty screen on a terminal, else a line.
func (p *process) clear(terminal bool) error {
	next := "\n"
	if terminal {
		next = "\x1b[H\x1b[2J"
	}
	_, err := io.WriteString(p.stdout, next)
	return err
}

// paint colors a text by a state.
func paint(s ops.State, text string) string {
	color := "90" // gray
	switch s {
	case ops.StateOK:
		color = "32"
	case ops.StateDegraded:
		color = "33"
	case ops.StateDown:
		color = "31"
	case ops.StateUnknown:
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}
