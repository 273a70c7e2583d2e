//go:build unix

package config

import "syscall"

// nonBlocking makes opening a pipe return at once, should one have taken the file's place.
const nonBlocking = syscall.O_NONBLOCK
