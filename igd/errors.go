package igd

import (
	"errors"
	"fmt"
	"strings"
)

// What a device may be found guilty of. They are wrapped in more specific errors.
var (
	// ErrSilent means that nothing answered the search.
	ErrSilent = errors.New("no answer to the search")
	// ErrElsewhere means that a URL points to another host than the gateway.
	ErrElsewhere = errors.New("address of another host than the gateway")
	// ErrNoService means that the device maps no ports.
	ErrNoService = errors.New("device has no WAN connection service")
	// ErrTooLarge means that a document exceeds this package's limits.
	ErrTooLarge = errors.New("document is too large")
	// ErrDoctype means that a document has a DTD, which no UPnP document has.
	ErrDoctype = errors.New("document has a DTD")
	// ErrNonsense means that a reply cannot be read.
	ErrNonsense = errors.New("answer cannot be read")
)

// ActionError is a device's reply that it did not do the action.
type ActionError struct {
	// Action is the requested action.
	Action string
	// Code says why.
	Code Code
	// Description is the device's own text, shortened.
	Description string
}

// Error returns action, code and the device's text in one line.
func (e *ActionError) Error() string {
	s := fmt.Sprintf("%s: %d %s", e.Action, uint16(e.Code), e.Code)
	if e.Description != "" && !strings.EqualFold(e.Description, e.Code.String()) {
		s += fmt.Sprintf(" (%s)", e.Description)
	}
	return s
}

// StatusError is an HTTP reply whose status is neither success nor an action's failure.
type StatusError struct {
	// Status is the HTTP status.
	Status int
}

// Error returns the status.
func (e *StatusError) Error() string { return fmt.Sprintf("HTTP status %d", e.Status) }

// CallError means that an action got no reply that shows whether it was done.
type CallError struct {
	// Action is the requested action.
	Action string
	// Ambiguous is set if the device may have done it anyway.
	Ambiguous bool
	// Err is what happened.
	Err error
}

// Error returns the action and what happened.
func (e *CallError) Error() string { return e.Action + ": " + e.Err.Error() }

// Unwrap returns what happened.
func (e *CallError) Unwrap() error { return e.Err }

// CodeOf returns the code with which a device answered, and 0 for any other error.
func CodeOf(err error) Code {
	if failed, ok := errors.AsType[*ActionError](err); ok {
		return failed.Code
	}
	return 0
}

// briefly is how many bytes of a device's text are kept.
const briefly = 64

// brief returns a text of the device as one short printable line.
func brief(s string) string {
	if len(s) > briefly {
		s = s[:briefly]
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '�' || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}
