package routeros

import (
	"errors"
	"fmt"
	"strings"
)

// ErrClosed is what commands get once [Client.Run] has ended.
var ErrClosed = errors.New("routeros: client is closed")

// ErrTimeout says that the router did not answer in time.
var ErrTimeout = errors.New("no answer from the router in time")

// NoCategory is the [Trap.Category] of a trap that came without one.
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
	// Message is RouterOS's text. Texts and their error numbers differ between versions.
	Message string
	// Category is one of the Category constants, or [NoCategory].
	Category int
}

// TrapError is a command that the router refused or could not do. The
// connection goes on.
type TrapError struct {
	// Path is the command.
	Path string
	// Traps are all complaints in the order in which they came, at least one.
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

// IsBadPlace reports whether the item before which another one should be placed does not exist.
func IsBadPlace(err error) bool { return trapSays(err, "place-before") }

// FatalError is the router's last word before it closes the connection.
type FatalError struct {
	// Reason is RouterOS's text, for example "not logged in".
	Reason string
}

// Error returns the reason.
func (e *FatalError) Error() string { return "router ended the connection: " + e.Reason }

// ProtocolError is something on the wire that is not the RouterOS API, or more
// of it than the limits allow. The connection is closed.
type ProtocolError struct {
	// Message says what is wrong with it.
	Message string
}

// Error returns the message.
func (e *ProtocolError) Error() string { return "routeros protocol: " + e.Message }

// protocolErrorf returns a ProtocolError with a formatted message.
func protocolErrorf(format string, args ...any) error {
	return &ProtocolError{Message: fmt.Sprintf(format, args...)}
}

// AuthError is a refused login. RouterOS has the same text for a wrong name, a
// wrong password and a user whose group lacks the policy "api".
type AuthError struct {
	// User is the name that was tried.
	User string
	// Message is RouterOS's text.
	Message string
}

// Error returns the user and the router's text.
func (e *AuthError) Error() string {
	return fmt.Sprintf("login as %q refused: %s", e.User, e.Message)
}

// TLSError is a TLS handshake that failed.
type TLSError struct {
	// Hint says what to do about it, empty where Err says enough.
	Hint string
	// Err is the error of crypto/tls.
	Err error
}

// Error returns the cause and the hint.
func (e *TLSError) Error() string {
	s := "TLS handshake: " + e.Err.Error()
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *TLSError) Unwrap() error { return e.Err }

// TransportError is a command without an answer: the connection could not be
// made or was lost, the time was up, or the caller's context ended.
type TransportError struct {
	// Op is the command, or what was attempted while connecting.
	Op string
	// Sent is set when the command was given to the connection, so that the
	// router may have executed it. When it is not set, it certainly has not.
	Sent bool
	// Err is the cause: [ErrTimeout], [ErrClosed], the context's error, a
	// [*FatalError], a [*ProtocolError], an error of net.
	Err error
}

// Error returns what was attempted, the cause, and whether the outcome is unknown.
func (e *TransportError) Error() string {
	s := e.Op + ": " + e.Err.Error()
	if e.Sent {
		s += " (outcome unknown)"
	}
	return s
}

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// Ambiguous reports whether err leaves it unknown if the router executed the
// command. That is so when the command was sent and not answered, and when an
// overloaded router or /cancel broke it off ("action timed out", "interrupted").
func Ambiguous(err error) bool {
	if transport, ok := errors.AsType[*TransportError](err); ok {
		return transport.Sent
	}
	return trapSays(err, "action timed out", "interrupted")
}
