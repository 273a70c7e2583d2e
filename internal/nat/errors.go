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
	// ReasonPort is another port than the very one that was asked for (RFC 6887 §13.2). No
	// way in that can only suggest a port meets it.
	ReasonPort
	// ReasonRemotes is more senders than a mapping can be opened to at once (RFC 6887
	// §13.3). Only who asks for a filter meets it.
	ReasonRemotes
)

// String returns "unreachable", "denied", "out of resources", "another port" or "too many remotes".
func (r Reason) String() string {
	switch r {
	case ReasonUnreachable:
		return "unreachable"
	case ReasonDenied:
		return "denied"
	case ReasonResources:
		return "out of resources"
	case ReasonPort:
		return "another port"
	case ReasonRemotes:
		return "too many remotes"
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
	// Taken is set on a denial that may be about the inner port: somebody else has a lease
	// for it, whom the hop tells from us. Another inner port is worth a try.
	Taken bool
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

// asError returns the [Error] that a failure is or wraps.
func asError(err error) (*Error, bool) { return errors.AsType[*Error](err) }

// ambiguous says whether a failure leaves it unknown whether the hop did what was asked.
func ambiguous(err error) bool {
	e, ok := asError(err)
	return ok && e.Ambiguous
}
