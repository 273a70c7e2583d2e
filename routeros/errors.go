package routeros

import (
	"errors"
	"strings"
)

// ErrClosed is the error of commands once [Client.Run] has ended.
var ErrClosed = errors.New("routeros: client is closed")

// ErrTimeout means that the router did not reply in time.
var ErrTimeout = errors.New("no answer from the router in time")

// ErrRenewed means that the connection ended because of [Client.Renew].
var ErrRenewed = errors.New("logging in again")

// ErrOtherConnection means that the connection to which a command is bound has ended, see
// [Command.Connection].
var ErrOtherConnection = errors.New("the connection is not the one that the command is for")

// NoCategory is the [Trap.Category] of a trap without one.
const NoCategory = -1

// The categories of traps that RouterOS documents.
const (
	CategoryMissing     = 0 // missing item or command
	CategoryArgument    = 1 // bad value of an argument
	CategoryInterrupted = 2 // interrupted by /cancel
	CategoryScript      = 3
	CategoryGeneral     = 4
	CategoryAPI         = 5
	CategoryTTY         = 6
	CategoryReturn      = 7 // a value of :return
)

// Trap is one complaint of the router about a command.
type Trap struct {
	// Message is RouterOS's text. Texts and their error numbers vary between versions.
	Message string
	// Category is one of the Category constants, or [NoCategory].
	Category int
}

// TrapError means that the router refused or could not execute the command. The connection
// continues.
type TrapError struct {
	// Path is the command.
	Path string
	// Traps are all complaints in order, at least one.
	Traps []Trap
}

// Error returns the command and all messages.
func (e *TrapError) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	for i, t := range e.Traps {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(t.Message)
	}
	return b.String()
}

// trapSays reports whether err is a TrapError of which one message has one of
// the texts in it, whatever the case of the letters.
func trapSays(err error, texts ...string) bool {
	var trap *TrapError
	if !errors.As(err, &trap) {
		return false
	}
	for _, t := range trap.Traps {
		message := strings.ToLower(t.Message)
		for _, text := range texts {
			if strings.Contains(message, text) {
				return true
			}
		}
	}
	return false
}

// IsNoSuchItem reports whether the item that a command named does not exist.
func IsNoSuchItem(err error) bool { return trapSays(err, "no such item") }

// IsNotPermitted reports whether the user's group lacks a policy that the command needs.
func IsNotPermitted(err error) bool { return trapSays(err, "not enough permissions") }

// IsUnknownCommand reports whether this version of RouterOS does not have the command.
func IsUnknownCommand(err error) bool { return trapSays(err, "no such command") }

// IsUnknownParameter reports whether this version of RouterOS does not have an argument.
func IsUnknownParameter(err error) bool { return trapSays(err, "unknown parameter") }

// IsBadPlace reports whether the item given to place-before does not exist.
func IsBadPlace(err error) bool { return trapSays(err, "place-before") }

// FatalError is the router's last word before it closes the connection.
type FatalError struct {
	// Reason is RouterOS's text, for example "not logged in".
	Reason string
}

// Error returns the reason.
func (e *FatalError) Error() string { return "router ended the connection: " + e.Reason }

// TransportError means that a command got no reply: the connection could not be made or
// was lost, the timeout was reached, or the caller's context ended.
type TransportError struct {
	// Op is the command, or the step of connecting that failed.
	Op string
	// Sent is set if the command was given to the connection, so that the router may have
	// executed it. If it is not set, the router certainly has not.
	Sent bool
	// Err is the cause: [ErrTimeout], [ErrClosed], [ErrRenewed], the context's error,
	// a [*FatalError], a [*ProtocolError], a [*LoginError], a [*TLSError], an error of net.
	Err error
}

// Error returns the operation, the cause, and whether the outcome is unknown.
func (e *TransportError) Error() string {
	s := e.Op + ": " + e.Err.Error()
	if e.Sent {
		s += " (outcome unknown)"
	}
	return s
}

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// LimitError means that a reply exceeded this package's limits: it was dropped, as will be
// the rest of it, and the connection continues. It does not mean that the router did
// anything wrong.
type LimitError struct {
	// Path is the command, "" if the sentence does not show it.
	Path string
	// Text says which limit was exceeded, for example "reply of more than 20000 rows".
	Text string
}

// Error returns the command and the limit.
func (e *LimitError) Error() string {
	if e.Path == "" {
		return e.Text
	}
	return e.Path + ": " + e.Text
}

// Ambiguous reports whether err leaves it open if the router executed the command. That is
// so if the command was sent but not answered completely, and if an overloaded router or
// /cancel interrupted it ("action timed out", "interrupted").
func Ambiguous(err error) bool {
	if _, ok := errors.AsType[*LimitError](err); ok {
		return true
	}
	if transport, ok := errors.AsType[*TransportError](err); ok {
		return transport.Sent
	}
	return trapSays(err, "action timed out", "interrupted")
}
