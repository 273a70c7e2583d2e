//go:build !linux

package image_test

import "testing"

// runAlone is for Linux.
func runAlone(*testing.T, map[string]entry) {}
