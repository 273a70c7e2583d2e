//go:build unix

package main

import (
	"os"
	"syscall"
)

// levelSignals returns the signals that switch the log level.
func levelSignals() []os.Signal { return []os.Signal{syscall.SIGUSR1} }
