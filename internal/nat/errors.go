package nat

import (
	"errors"
	"fmt"
)

// Hop is the part of the path on which something failed.
type Hop uint8

// The hops, in the order in which a packet from the Internet meets them.
const (
	// HopNone is the zero value: doublenat itself, for example one of its limits.
	HopNone Hop = iota
	// HopGateway is the VPN gateway.
	HopGateway
	// HopRouter is the MikroTik router.
	HopRouter
)

// String returns "doublenat", "gateway" or "router".
func (h Hop) String() string {
	switch h {
	case HopGateway:
		return "gateway"
	case HopRouter:
		return "router"
	case HopNone:
		return "doublenat"
	default:
		return fmt.Sprintf("hop(%d)", uint8(h))
	}
}

// Reason is the kind of a failure, as far as a client is told (RFC 6886 §3.5).
type Reason uint8

// The reasons.
const (
	// ReasonUnreachable is a hop that does not answer or cannot work now: result code 3.
	ReasonUnreachable Reason = iota
	// ReasonDenied is a hop or a policy that says no: result code 2.
	ReasonDenied
	// ReasonResources is no port left or a limit reached: result code 4.
	ReasonResources
)

// String returns "unreachable", "denied" or "out of resources".
func (r Reason) String() string {
	switch r {
	case ReasonUnreachable:
		return "unreachable"
	case ReasonDenied:
		return "denied"
	case ReasonResources:
		return "out of resources"
	default:
		return fmt.Sprintf("reason(%d)", uint8(r))
	}
}

// Error is a failure of one hop. All errors of this package and of the
// implementations of [Router] and [Gateway] that a client has to hear of are or
// wrap an *Error; callers use errors.As.
type Error struct {
	// Hop is who failed.
	Hop Hop
	// Reason decides the client's result code.
	Reason Reason
	// Ambiguous is set when it is unknown whether the hop did what was asked.
	Ambiguous bool
	// Err is what happened, nil where Reason says it all.
	Err error
}

// Error returns hop, reason and cause in one line.
func (e *Error) Error() string {
	s := e.Hop.String() + " " + e.Reason.String()
	if e.Ambiguous {
		s += " (outcome unknown)"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ambiguous says whether a failure leaves it unknown whether the hop did what was asked.
func ambiguous(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Ambiguous
}
