package router

import (
	"errors"
	"fmt"

	"doublenat/internal/nat"
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

// kindConnection is the kind of trouble that passes by itself, more often than not.
const kindConnection = "connection"

// fault turns what went wrong while doing op into the core's error. Ambiguous
// says that the router may have changed something.
func fault(op string, err error, ambiguous bool) error {
	reason := nat.ReasonUnreachable
	if _, ok := errors.AsType[*PermissionError](err); ok {
		reason = nat.ReasonDenied
	}
	return &nat.Error{Hop: nat.HopRouter, Reason: reason, Ambiguous: ambiguous, Err: fmt.Errorf("%s: %w", op, err)}
}

// remedy returns what kind of trouble err is and what the operator can do about
// it. The kind tells whether the trouble is the same as before.
func remedy(err error) (kind, hint string) {
	if auth, ok := errors.AsType[*routeros.AuthError](err); ok {
		return "login: " + auth.Message, "check user and password; the user's group needs the policies api, read and write"
	}
	if secure, ok := errors.AsType[*routeros.TLSError](err); ok {
		return "tls: " + secure.Err.Error(), secure.Hint
	}
	if iface, ok := errors.AsType[*InterfaceError](err); ok {
		return "interface: " + iface.Error(), "set " + settingName
	}
	if permission, ok := errors.AsType[*PermissionError](err); ok {
		return "permission: " + permission.Policy, "add the policy " + permission.Policy + " to the group of the router's user"
	}
	if refused(err) {
		return "refused: " + err.Error(), "look at the router's log"
	}
	return kindConnection, "is the router up, is the api service enabled, does its address list allow this host?"
}
