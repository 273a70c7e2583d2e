package pcp

import (
	"errors"
	"fmt"
	"time"

	"doublenat/internal/exchange"
)

var (
	// ErrClientStopped is returned by calls of a [Client] whose Run has returned.
	ErrClientStopped = errors.New("pcp: client stopped")
	// ErrNoAddress means that the client does not know its own address, without which it
	// cannot ask (RFC 6887 §8.1).
	ErrNoAddress = errors.New("pcp: own address towards the gateway is not known")
)

// RefusedError means that the host answered with ICMP port unreachable: nothing listens on
// the gateway's port. errors.Is finds syscall.ECONNREFUSED in it.
type RefusedError = exchange.Refused

// TimeoutError means that no reply arrived before the context ended or the last try timed
// out. If Tries is not 0, the gateway may have done what was requested.
type TimeoutError = exchange.Timeout

// ResultError is a gateway's reply with a result other than success.
type ResultError struct {
	// Opcode is that of the request.
	Opcode Opcode
	// Result is the gateway's result, never [ResultSuccess].
	Result ResultCode
	// Lifetime is how long to expect the same reply from now on (RFC 6887 §7.2); 0 if the
	// gateway does not say.
	Lifetime time.Duration
	// Held is set if the gateway was not asked, because it said so before, and that it
	// will last.
	Held bool
}

// Error returns opcode and result in words.
func (e *ResultError) Error() string {
	if e.Held {
		return fmt.Sprintf("pcp: gateway answered the %v request: %v, for another %v", e.Opcode, e.Result, e.Lifetime.Round(time.Second))
	}
	return fmt.Sprintf("pcp: gateway answered the %v request: %v", e.Opcode, e.Result)
}

// VersionError means that the gateway does not speak PCP version 2 (RFC 6887 §9).
type VersionError struct {
	// Version is the version that it does speak: 0 is NAT-PMP.
	Version uint8
}

// Error says what the gateway speaks.
func (e *VersionError) Error() string {
	if e.NATPMP() {
		return "pcp: gateway speaks NAT-PMP only"
	}
	return fmt.Sprintf("pcp: gateway does not speak version %d, but %d", Version, e.Version)
}

// NATPMP reports whether it is worth asking the gateway with NAT-PMP.
func (e *VersionError) NATPMP() bool { return e.Version == 0 }
