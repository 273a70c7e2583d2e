//go:build !linux

package main

import "syscall"

// hearOfDeadEnds does nothing: what this system tells of its own is heard.
func hearOfDeadEnds(_, _ string, _ syscall.RawConn) error { return nil }
