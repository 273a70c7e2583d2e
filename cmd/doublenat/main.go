// Command doublenat is a NAT-PMP server (RFC 6886) for a LAN behind a MikroTik
// router and a gateway beyond it. `doublenat help` tells the rest.
package main

import (
	"context"
	"io"
	"os"

	"doublenat/internal/daemon"
)

func main() {
	limitMemory()
	os.Exit(run(os.Args[0], os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// run does what the arguments say and returns the exit code. Nothing but main
// and this function knows of a process.
func run(name string, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &process{
		name:    name,
		environ: environment(environ),
		stdin:   stdin,
		stdout:  stdout,
		stderr:  stderr,
		daemon:  runDaemon,
		hangup:  new(hangup),
	}
	return interruptible(p.hangup, func(ctx context.Context) int { return p.run(ctx, args) })
}

// runDaemon runs the real daemon until ctx ends.
func runDaemon(ctx context.Context, o daemon.Options) error { return daemon.Serve(ctx, o) }
