package routeros

import (
	"bytes"
	"errors"
	"fmt"
)

// Peer is what answers at the router's address, as far as its first bytes show.
type Peer uint8

// The peers.
const (
	// PeerUnknown means that the first bytes do not show what it is.
	PeerUnknown Peer = iota
	// PeerTLS speaks TLS, but we did not: the port is that of api-ssl (8729) or of some
	// other service with TLS.
	PeerTLS
	// PeerHTTP is a web server: RouterOS has its own on ports 80 and 443 (www, www-ssl).
	PeerHTTP
	// PeerSSH is an SSH server: RouterOS has its own on port 22.
	PeerSSH
	// PeerText greets with text, as FTP and mail servers do.
	PeerText
)

// String returns what the peer is, for an error.
func (p Peer) String() string {
	switch p {
	case PeerTLS:
		return "a TLS service"
	case PeerHTTP:
		return "a web server"
	case PeerSSH:
		return "an SSH server"
	case PeerText:
		return "a text protocol"
	case PeerUnknown:
		return "something else"
	default:
		return fmt.Sprintf("peer(%d)", uint8(p))
	}
}

// firstBytes is how much of an answer findPeer looks at; the shortest answer to a
// login has seven.
const firstBytes = 5

// findPeer tells by the first bytes of an answer who gave it. An answer of the API
// begins with a length and an exclamation mark.
func findPeer(first []byte) Peer {
	switch {
	case len(first) < firstBytes:
		return PeerUnknown
	case (first[0] == 0x15 || first[0] == 0x16) && first[1] == 3 && first[2] <= 4:
		return PeerTLS // a record with an alert or a handshake, RFC 8446 §5.1
	case bytes.HasPrefix(first, []byte("HTTP/")), first[0] == '<':
		return PeerHTTP
	case bytes.HasPrefix(first, []byte("SSH-")):
		return PeerSSH
	case first[1] == '!':
		return PeerUnknown
	}
	for _, c := range first {
		if c < ' ' || c > '~' {
			return PeerUnknown
		}
	}
	return PeerText
}

// ProtocolError means that the other side does not speak the RouterOS API. The connection
// is closed.
type ProtocolError struct {
	// Message says what is wrong with it.
	Message string
	// Peer is what answers instead, [PeerUnknown] if that is not clear. It is only set for
	// the reply to a login, and for a reply to a TLS handshake that is not TLS.
	Peer Peer
}

// Error returns the message.
func (e *ProtocolError) Error() string { return "routeros protocol: " + e.Message }

// protocolErrorf returns a ProtocolError with a formatted message.
func protocolErrorf(format string, args ...any) error {
	return &ProtocolError{Message: fmt.Sprintf(format, args...)}
}

// peerError returns the error for a peer that is not the RouterOS API.
func peerError(p Peer) error {
	return &ProtocolError{Peer: p, Message: p.String() + " answers, not the RouterOS API"}
}

// AuthError is a refused login. RouterOS sends the same text for a wrong name, a wrong
// password, an address that the user's own address list does not allow, and a user whose
// group lacks the policy "api".
type AuthError struct {
	// User is the name that was tried.
	User string
	// Message is RouterOS's text.
	Message string
	// Closed is set if the router also closed the connection.
	Closed bool
}

// Error returns the user and the router's text.
func (e *AuthError) Error() string {
	return fmt.Sprintf("login as %q refused: %s", e.User, e.Message)
}

// ErrLoginSilent means that the router read the login, or at least did not reject it, but
// did not reply. TCP connects, so the host is there and the firewall lets us in. The most
// common reason is an address list (address=) of the service api or api-ssl that does not
// include our address. It is also an [ErrTimeout].
var ErrLoginSilent = fmt.Errorf("%w: the login got none", ErrTimeout)

// ErrLoginClosed means that the router closed the connection before it replied to the
// login, without a reason: an address list of the service that does not include our
// address, no free session (max-sessions), or another protocol on this port.
var ErrLoginClosed = errors.New("the router closed the connection without an answer to the login")

// LoginError means that a login got no reply.
type LoginError struct {
	// WrongPort is set if we connected without TLS to port 8729, which is that of api-ssl:
	// then that is the most likely cause.
	WrongPort bool
	// Err is [ErrLoginSilent] or [ErrLoginClosed].
	Err error
}

// Error returns what happened.
func (e *LoginError) Error() string {
	if e.WrongPort {
		return e.Err.Error() + " (it was sent without TLS to the port of api-ssl)"
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *LoginError) Unwrap() error { return e.Err }
