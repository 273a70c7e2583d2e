//go:build !unix

package config

// nonBlocking is nothing here: opening never waits.
const nonBlocking = 0
