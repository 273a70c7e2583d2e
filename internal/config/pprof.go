package config

import (
	"errors"
	"net/netip"
)

// parseLoopback reads an address and port that nobody but this host can reach.
func parseLoopback(s string) (netip.AddrPort, error) {
	at, err := netip.ParseAddrPort(s)
	switch {
	case err != nil:
		return netip.AddrPort{}, errors.New("is not an IP address and port")
	case !at.Addr().IsLoopback():
		return netip.AddrPort{}, errors.New("is not a loopback address")
	case at.Port() == 0:
		return netip.AddrPort{}, errors.New("has no port")
	}
	return at, nil
}
