package frontend

import (
	"errors"
	"math"
	"net/netip"
	"time"

	"doublenat/internal/nat"
	"doublenat/natpmp"
)

// outcome is what became of a request. Which fields count follows from the request.
type outcome struct {
	result   natpmp.ResultCode
	address  netip.Addr
	port     uint16
	lifetime uint32
}

// reply returns what is sent.
func (o outcome) reply(req natpmp.Request) natpmp.Reply {
	switch {
	case o.result != natpmp.ResultSuccess:
		return natpmp.Failure(o.result)
	case req.Opcode == natpmp.OpExternalAddress:
		return natpmp.Address(o.address)
	case req.Lifetime == 0:
		return natpmp.Deleted()
	default:
		return natpmp.Mapped(o.port, o.lifetime)
	}
}

// granted returns the outcome of a mapping that stands: for whole seconds, and
// never for longer than was asked for (RFC 6886 §3.3). One without a port or
// without time is none: clients would read it as the end of their mapping.
func granted(g nat.Grant, req natpmp.Request) outcome {
	lifetime := uint32(min(max(g.Lifetime/time.Second, 0), math.MaxUint32))
	if g.ExternalPort == 0 || lifetime == 0 {
		return outcome{result: natpmp.ResultNetworkFailure}
	}
	return outcome{port: g.ExternalPort, lifetime: min(lifetime, req.Lifetime)}
}

// resultOf returns what a client is told of an error (RFC 6886 §3.5), and success
// for nil. What nobody gave a reason for is "network failure".
func resultOf(err error) natpmp.ResultCode {
	if err == nil {
		return natpmp.ResultSuccess
	}
	e, ok := errors.AsType[*nat.Error](err)
	if !ok {
		return natpmp.ResultNetworkFailure
	}
	switch e.Reason {
	case nat.ReasonDenied:
		return natpmp.ResultNotAuthorized
	case nat.ReasonResources:
		return natpmp.ResultOutOfResources
	case nat.ReasonUnreachable:
		return natpmp.ResultNetworkFailure
	default:
		return natpmp.ResultNetworkFailure
	}
}
