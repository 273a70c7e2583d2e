package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"doublenat/internal/daemon"
)

// The exit codes (docs/operation.md, "Exit codes"). A second signal ends the
// process with 128 and the signal's number, as a shell would say it.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitSignal  = 128
)

// process is all that a command may touch of the process in which it runs.
type process struct {
	// environ holds the environment variables by name.
	environ map[string]string
	// stdin, stdout and stderr are the standard streams. Results go to stdout,
	// errors and logs to stderr.
	stdin          io.Reader
	stdout, stderr io.Writer
	// daemon runs the daemon until ctx ends; tests put another one here.
	daemon func(ctx context.Context, o daemon.Options) error
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
	root.SetArgs(args)
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	err := root.Execute()
	if err == nil {
		return exitOK
	}
	// The last words; there is nobody left to tell that they could not be written.
	_, _ = fmt.Fprintf(p.stderr, "doublenat: %v\n", err)
	if diagnosed, ok := errors.AsType[diagnosisError](err); ok {
		return diagnosed.exitCode()
	}
	if usage := (usageError{}); errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
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
