package remedy

import (
	"errors"

	"doublenat/natpmp"
)

// For returns what can be done about an error of the router or of the gateway,
// and false for an error of neither.
func For(err error) (Advice, bool) {
	if advisor, ok := errors.AsType[Advisor](err); ok {
		return advisor.Advice(), true
	}
	for _, find := range []func(error) (Advice, bool){gateway, router} {
		if advice, ok := find(err); ok {
			return advice, true
		}
	}
	return Advice{}, false
}

// gateway knows the errors of package natpmp.
func gateway(err error) (Advice, bool) {
	if result, ok := errors.AsType[*natpmp.ResultError](err); ok {
		if result.Version != natpmp.Version {
			return PCPOnly(), true
		}
		return ForResult(result.Result), true
	}
	if _, ok := errors.AsType[*natpmp.RefusedError](err); ok {
		return Refused(Link{}), true
	}
	if timeout, ok := errors.AsType[*natpmp.TimeoutError](err); ok {
		if timeout.Odd != natpmp.OddNone {
			return ForOddity(timeout.Odd), true
		}
		return Silent(Link{}), true
	}
	return Advice{}, false
}
