//go:build !linux

package main

import "syscall"

// confined is for Linux.
func confined(string) *syscall.SysProcAttr { return nil }
