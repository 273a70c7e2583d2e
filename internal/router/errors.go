package router

import (
	"errors"
	"fmt"

	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// PermissionError is a command that the router's user may not do.
type PermissionError struct {
	// Policy is the policy that the user's group lacks: "read" or "write".
	Policy string
	// Err is the router's refusal.
	Err error
}

// Error returns the refusal and the remedy.
func (e *PermissionError) Error() string {
	return fmt.Sprintf("%v: add the policy %q to the group of the router's user", e.Err, e.Policy)
}

// Unwrap returns the cause.
func (e *PermissionError) Unwrap() error { return e.Err }

// Advice says which policy to add.
func (e *PermissionError) Advice() remedy.Advice { return remedy.Permission("", e.Policy) }

// crowdError is more rows with our comment than there can be of ours.
type crowdError struct {
	instance string
	err      *routeros.LimitError
}

// Error returns which limit was met.
func (e *crowdError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *crowdError) Unwrap() error { return e.err }

// Advice says how the rows are removed.
func (e *crowdError) Advice() remedy.Advice { return remedy.Crowd(e.instance) }

// fault turns what went wrong while doing op into the core's error. Ambiguous
// says that the router may have changed something.
func fault(op string, err error, ambiguous bool) error {
	reason := nat.ReasonUnreachable
	if _, ok := errors.AsType[*PermissionError](err); ok {
		reason = nat.ReasonDenied
	}
	return &nat.Error{Hop: nat.HopRouter, Reason: reason, Ambiguous: ambiguous, Err: fmt.Errorf("%s: %w", op, err)}
}

// troubleConnection stands for all troubles that may pass by themselves: they come
// in turns while a router reboots, which is one event.
const troubleConnection = "connection"

// advise returns what the operator can do about err, and what kind of trouble it
// is. The kind tells whether the trouble is the same as before.
func advise(err error) (advice remedy.Advice, trouble string) {
	advice, ok := remedy.For(err)
	if !ok {
		advice = remedy.Unreachable()
	}
	if advice.Passes() {
		return advice, troubleConnection
	}
	return advice, string(advice.Kind) + ": " + err.Error()
}
