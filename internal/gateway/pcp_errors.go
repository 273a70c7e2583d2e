package gateway

import (
	"errors"

	"doublenat/natpmp"
	"doublenat/pcp"
)

// translated is an error of PCP that is one of NAT-PMP, too: the core, the page and the
// advice think in NAT-PMP's terms, in which clients are answered.
type translated struct{ err, as error }

// Error says what PCP says.
func (e *translated) Error() string { return e.err.Error() }

// Unwrap returns both errors.
func (e *translated) Unwrap() []error { return []error{e.err, e.as} }

// inNATPMP returns what an error of PCP is in NAT-PMP.
func inNATPMP(op natpmp.Opcode, err error) error {
	var (
		result  *pcp.ResultError
		version *pcp.VersionError
		timeout *pcp.TimeoutError
		as      error
	)
	switch {
	case errors.As(err, &result):
		as = &natpmp.ResultError{Opcode: op, Result: resultOf(result.Result)}
	case errors.As(err, &version):
		as = &natpmp.ResultError{Opcode: op, Result: natpmp.ResultUnsupportedVersion}
	case errors.As(err, &timeout):
		as = &natpmp.TimeoutError{Tries: timeout.Tries, Err: timeout.Err, Send: timeout.Send}
	case errors.Is(err, pcp.ErrClientStopped):
		as = natpmp.ErrClientStopped
	default: // [pcp.RefusedError] is one of both.
		return err
	}
	return &translated{err: err, as: as}
}

// resultOf returns what a failure of PCP is in NAT-PMP. A gateway that cannot read our
// requests does not speak PCP as we do. An address that is not ours is one that the router
// has no more, or a NAT between the two: nothing works until that is over.
func resultOf(code pcp.ResultCode) natpmp.ResultCode {
	switch code {
	case pcp.ResultNotAuthorized, pcp.ResultUnsupportedProtocol, pcp.ResultCannotProvideExternal:
		return natpmp.ResultNotAuthorized
	case pcp.ResultNoResources, pcp.ResultUserExceededQuota:
		return natpmp.ResultOutOfResources
	case pcp.ResultNetworkFailure, pcp.ResultAddressMismatch:
		return natpmp.ResultNetworkFailure
	case pcp.ResultUnsupportedVersion:
		return natpmp.ResultUnsupportedVersion
	default:
		return natpmp.ResultUnsupportedOpcode
	}
}

// held says whether a failure was not asked for again, because the gateway said that it
// lasts (RFC 6887 §8.3).
func held(err error) bool {
	result, ok := errors.AsType[*pcp.ResultError](err)
	return ok && result.Held
}

// spoken returns the protocol in which a gateway was asked that gave this error.
func spoken(err error) string {
	if _, ok := errors.AsType[*translated](err); ok {
		return "PCP"
	}
	return "NAT-PMP"
}

// othersLease says whether a refusal may be about the lease of somebody else, or of an earlier run
// with other nonces, for the same inner port (RFC 6887 §11.3). NAT-PMP knows no such thing.
func othersLease(err error) bool {
	result, ok := errors.AsType[*pcp.ResultError](err)
	return ok && result.Result == pcp.ResultNotAuthorized
}
