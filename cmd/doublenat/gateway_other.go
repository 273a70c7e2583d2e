//go:build !linux

package main

import (
	"errors"
	"net/netip"
)

// defaultGateway is known on Linux only.
func defaultGateway() (netip.Addr, error) {
	return netip.Addr{}, errors.New("the default route is not known on this system")
}
