//go:build !unix

package main

import "os"

// levelSignals returns the signals that switch the log level: none here.
func levelSignals() []os.Signal { return nil }
