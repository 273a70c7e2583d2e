package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"time"

	"doublenat/internal/daemon"
	"doublenat/internal/foreign"
)

// The exit codes (docs/operation.md, "Exit codes"). A second Ctrl-C ends the
// process with 128 and the signal's number, as a shell would say it.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitSignal  = 128
)

// process is all that a command may touch of the process in which it runs.
type process struct {
	// name is how the program was called: the zeroth argument.
	name string
	// environ holds the environment variables by name.
	environ map[string]string
	// stdin, stdout and stderr are the standard streams. Results go to stdout,
	// errors and logs to stderr.
	stdin          io.Reader
	stdout, stderr io.Writer
	// daemon runs the daemon until ctx ends; tests put another one here.
	daemon func(ctx context.Context, o daemon.Options) error
	// hangup says what SIGHUP does; nil where nobody can change that.
	hangup *hangup
}

// usageError is a mistake in the command line or the configuration: running the
// same command again cannot succeed.
type usageError struct{ error }

// Unwrap returns the mistake.
func (e usageError) Unwrap() error { return e.error }

// run runs the command that the arguments name and returns the exit code.
func (p *process) run(ctx context.Context, args []string) int {
	root := newRoot(ctx, p)
	strict(root)
	complete(root, p.environ)
	root.SetArgs(append([]string{}, args...)) // of nil cobra would make the process's own
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	err := root.Execute()
	if err == nil {
		return exitOK
	}
	if errors.Is(err, syscall.EPIPE) {
		return forcedExit(syscall.SIGPIPE) // who reads no more wants no last words
	}
	p.lastWords("doublenat: " + words(err) + "\n")
	if diagnosed, ok := errors.AsType[diagnosisError](err); ok {
		return diagnosed.exitCode()
	}
	if usage := (usageError{}); errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}

// advised is an error with what to do about it, which is shown on a line of its own.
type advised struct {
	error

	advice string
}

// Error returns both.
func (e advised) Error() string { return e.error.Error() + e.below() }

// Unwrap returns the error.
func (e advised) Unwrap() error { return e.error }

// below returns the line with the advice.
func (e advised) below() string { return "\n→ " + e.advice }

// words returns an error as it is shown. The lines of a mistake in the configuration, and
// those of several errors, are ours; in any other a line end is somebody else's.
func words(err error) string {
	_, usage := errors.AsType[usageError](err)
	if _, ofLab := errors.AsType[labError](err); usage || ofLab {
		return foreign.Lines(err.Error())
	}
	if e, ok := errors.AsType[advised](err); ok {
		if before, ends := strings.CutSuffix(err.Error(), e.below()); ends {
			return foreign.Text(before) + "\n→ " + foreign.Text(e.advice)
		}
	}
	all := []error{err}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		if parts := several.Unwrap(); errors.Join(parts...).Error() == err.Error() {
			all = parts
		}
	}
	var lines []string
	for _, one := range all {
		lines = append(lines, foreign.Text(one.Error()))
	}
	return strings.Join(lines, "\n")
}

// plain returns the process with streams that make foreign text visible, for commands
// that have no colors of their own.
func (p *process) plain() *process {
	shown := *p
	for _, stream := range []*io.Writer{&shown.stdout, &shown.stderr} {
		if *stream != nil {
			*stream = foreign.NewWriter(*stream)
		}
	}
	return &shown
}

// lastWords writes why the command failed. It waits no longer than a moment for a
// terminal or a pipe that takes nothing: there is nobody left to tell.
func (p *process) lastWords(text string) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = io.WriteString(p.stderr, text)
	}()
	timer := time.NewTimer(logPatience)
	defer timer.Stop()
	select {
	case <-written:
	case <-timer.C:
	}
}

// environment turns "name=value" strings into a map. The last of equal names
// counts, as it does for os.Getenv's callers that set a variable anew.
func environment(pairs []string) map[string]string {
	environ := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		environ[name] = value
	}
	return environ
}
