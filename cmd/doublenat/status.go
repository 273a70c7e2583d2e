package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"doublenat/internal/config"
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
		Long: "status asks a running doublenat over HTTP, at the address that HTTP_ADDR has, and shows what\n" +
			"its status page shows. The exit code is 1 if there is no answer.",
		Example: "  doublenat status                                   at HTTP_ADDR\n" +
			"  doublenat status --watch                           anew at each change\n" +
			"  doublenat status --addr unix:/run/doublenat.sock   somewhere else\n" +
			"  doublenat status --health                          for a container's health check",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return status(ctx, p, flags) },
	}
	set := cmd.Flags()
	set.SortFlags = false
	set.StringVar(&flags.addr, "addr", "", "address and port, or unix: and a path (default HTTP_ADDR)")
	set.BoolVarP(&flags.watch, "watch", "w", false, "show it anew at each change, until Ctrl-C")
	set.BoolVar(&flags.json, "json", false, "show it as JSON; with --watch a line for each change")
	set.BoolVar(&flags.health, "health", false, "say only whether the daemon is alive: exit code 0 or 1")
	return cmd
}

// status shows what the flags say.
func status(ctx context.Context, p *process, flags statusFlags) error {
	if flags.health && (flags.watch || flags.json) {
		return usageError{errors.New("--health says yes or no, and goes with neither --watch nor --json")}
	}
	given, name := flags.addr, "--addr"
	if given == "" {
		given, name = p.environ["HTTP_ADDR"], "HTTP_ADDR"
	}
	if given == "" {
		return usageError{errors.New("HTTP_ADDR is not set: where does the daemon show its status? (or --addr)")}
	}
	at, err := config.ParseListenAddress(given)
	if err != nil {
		return usageError{fmt.Errorf("%s=%q %w; example: 127.0.0.1:8080 or unix:/run/doublenat/http.sock", name, config.WithoutUserinfo(given), err)}
	}
	d := newDaemonClient(at)
	defer d.close()
	switch {
	case flags.health:
		return d.health(ctx, p.stdout)
	case flags.watch:
		return watch(ctx, d, func(data []byte) error { return p.show(data, flags) })
	default:
		data, err := d.get(ctx, ops.PathStatus)
		if err != nil {
			return err
		}
		return p.show(data, flags)
	}
}

// watch shows each picture until ctx ends. A daemon that goes away is waited for:
// whoever watches wants to see it come back.
func watch(ctx context.Context, d *daemonClient, show func([]byte) error) error {
	for seen := false; ; {
		err := d.stream(ctx, func(data []byte) error {
			seen = true
			return show(data)
		})
		_, broken := errors.AsType[*showError](err)
		if (broken || !seen) && !ended(ctx, 0) {
			return err
		}
		if ended(ctx, time.Second) {
			return nil
		}
	}
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
	if flags.json {
		_, err := fmt.Fprintf(p.stdout, "%s\n", trimmed(data))
		return err
	}
	var s ops.Status
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("what answers is not doublenat: %w", err)
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
