//go:build unix && !linux

package datagram

import "net/netip"

// absent is false: this system does not tell.
func absent(int, netip.Addr, int) bool { return false }
