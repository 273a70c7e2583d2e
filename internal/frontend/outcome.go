package frontend

import (
	"errors"
	"net/netip"
	"time"

	"doublenat/internal/nat"
)

// What a frontend refuses by itself, and what it could not find out.
var (
	errPort      = &nat.Error{Reason: nat.ReasonDenied, Err: errors.New("clients may not map this port")}
	errOtherPort = &nat.Error{Reason: nat.ReasonPort, Err: errors.New("the client's port can only have another external port")}
	errNoAddress = &nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonUnreachable, Err: errors.New("the public address is not known")}
	errHasty     = &nat.Error{Reason: nat.ReasonResources, Err: errors.New("the client asks for too many new mappings")}
	errNoGrant   = &nat.Error{Reason: nat.ReasonUnreachable, Err: errors.New("the mapping has no port or no time")}
	errNoOutcome = &nat.Error{Reason: nat.ReasonUnreachable, Err: errors.New("the work for the request did not end")}
)

// outcome is what became of a request. Which fields count follows from the request.
type outcome struct {
	// err is why there is nothing, nil if there is.
	err      error
	address  netip.Addr
	port     uint16
	lifetime time.Duration
	// silent is set where no answer is better than the one there is.
	silent bool
}

// granted returns the outcome of a mapping that stands: for whole seconds, and
// never for longer than was asked for (RFC 6886 §3.3). One without a port or
// without time is none: clients would read it as the end of their mapping.
func granted(g nat.Grant, req request) outcome {
	lifetime := min(g.Lifetime, req.lifetime).Truncate(time.Second)
	if g.ExternalPort == 0 || lifetime <= 0 {
		return outcome{err: errNoGrant}
	}
	return outcome{port: g.ExternalPort, lifetime: lifetime}
}

// reasonOf returns the reason of a failure. What nobody gave one for is that of a hop that
// does not answer.
func reasonOf(err error) nat.Reason {
	if e, ok := errors.AsType[*nat.Error](err); ok {
		return e.Reason
	}
	return nat.ReasonUnreachable
}
