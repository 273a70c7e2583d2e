package igd

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Protocol is a mapping's transport protocol. The zero value is none.
type Protocol uint8

// The protocols that a gateway maps.
const (
	UDP Protocol = 1
	TCP Protocol = 2
)

// String returns "UDP" or "TCP", as in the actions.
func (p Protocol) String() string {
	switch p {
	case UDP:
		return "UDP"
	case TCP:
		return "TCP"
	default:
		return fmt.Sprintf("protocol(%d)", uint8(p))
	}
}

// parseProtocol reads a protocol as devices write it.
func parseProtocol(s string) (Protocol, error) {
	switch strings.ToUpper(s) {
	case "UDP":
		return UDP, nil
	case "TCP":
		return TCP, nil
	default:
		return 0, fmt.Errorf("%w: protocol %s", ErrNonsense, brief(s))
	}
}

// MaxLease is the longest lease in IGD:2 (WANIPConnection:2 §2.3.16).
const MaxLease = 604800 * time.Second

// Mapping is a port mapping, requested or found. It is comparable.
type Mapping struct {
	// Protocol is UDP or TCP.
	Protocol Protocol
	// External is the port on the public address, never 0.
	External uint16
	// Client is the host on the device's LAN that the mapping leads to. In a mapping that
	// was found, it is the zero Addr if the device gives no IPv4 address.
	Client netip.Addr
	// Internal is the port on that host.
	Internal uint16
	// Lease is the remaining time in whole seconds; 0 means for ever with IGD:1, and
	// [MaxLease] with IGD:2.
	Lease time.Duration
	// Description is a text that the device stores with the mapping, if it does that.
	Description string
	// Disabled is set on a mapping that was found and that somebody disabled.
	Disabled bool
}
