package routeros

import (
	"context"
	"crypto/md5" //nolint:gosec // the login of RouterOS before 6.43 is defined with MD5
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// maxLoginSentences is how many sentences a router may send in answer to one
// login. RouterOS sends one or two.
const maxLoginSentences = 16

// connect opens the connection, does the TLS handshake and logs in, all within
// ConnectTimeout.
func (c *Client) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.ConnectTimeout, ErrTimeout)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, connectError(ctx, "connecting", err)
	}
	// Whatever the connection waits for, the end of the context wakes it up.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if c.cfg.TLS != nil {
		secure := tls.Client(conn, c.cfg.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, connectError(ctx, "connecting", &TLSError{Hint: tlsHint(err), Err: err})
		}
		conn = secure
	}
	reader := NewReader(conn, c.cfg.Limits)
	if err := c.login(conn, reader); err != nil {
		_ = closer(conn)()
		return nil, connectError(ctx, "logging in", err)
	}
	if !stop() {
		_ = closer(conn)()
		return nil, connectError(ctx, "logging in", context.Cause(ctx))
	}
	return newSession(c, conn, reader), nil
}

// dial opens the connection.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	if c.cfg.Dial != nil {
		return c.cfg.Dial(ctx)
	}
	dialer := net.Dialer{KeepAliveConfig: keepAlive}
	return dialer.DialContext(ctx, "tcp", c.cfg.Address)
}

// connectError wraps what went wrong on the way to a connection. When the time
// was up, that is the reason and not the I/O error by which it showed. Typed
// errors of the router's own words stay what they are.
func connectError(ctx context.Context, op string, err error) error {
	if _, ok := errors.AsType[*AuthError](err); ok {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return &TransportError{Op: op, Err: err}
}

// tlsHint says what the operator can do about a failed handshake.
func tlsHint(err error) string {
	var op *net.OpError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &op) && op.Op == "remote error" && strings.Contains(err.Error(), "handshake failure"):
		// Without a certificate RouterOS offers anonymous Diffie-Hellman only, which no
		// client of today speaks.
		return "assign a certificate to the router's api-ssl service"
	case errors.As(err, &record):
		return "the port does not speak TLS: api-ssl listens on 8729, api on 8728"
	default:
		return ""
	}
}

// login says who we are: in the way of RouterOS 6.43 and later first, and if the
// router answers with a challenge, in the way of those before.
func (c *Client) login(conn io.Writer, reader *Reader) error {
	done, err := c.loginStep(conn, reader, Attr{Name: "password", Value: c.cfg.Password.Reveal()})
	if err != nil {
		return err
	}
	challenge, ok := done.Lookup("ret")
	if !ok {
		return nil
	}
	response, err := challengeResponse(c.cfg.Password, challenge)
	if err != nil {
		return err
	}
	_, err = c.loginStep(conn, reader, Attr{Name: "response", Value: response})
	return err
}

// loginStep sends one /login and returns the attributes of its !done.
func (c *Client) loginStep(conn io.Writer, reader *Reader, proof Attr) (Row, error) {
	cmd := Command{Path: "/login", Args: []Attr{{Name: "name", Value: c.cfg.User}, proof}}
	c.cfg.Logger.Debug("router command", "command", cmd)
	if _, err := conn.Write(cmd.append(nil, 0)); err != nil {
		return nil, err
	}
	var traps []Trap
	for range maxLoginSentences {
		words, err := reader.next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: the router closed the connection; does the service's address list allow us, "+
				"and has it a session left (max-sessions)?", err)
		}
		if err != nil {
			return nil, err
		}
		switch words[0] {
		case replyFatal:
			return nil, &FatalError{Reason: fatalReason(words[1:])}
		case replyTrap:
			traps = append(traps, parseTrap(words[1:]))
		case replyDone:
			return parseRow(words[1:]), c.loginRefused(traps)
		}
	}
	return nil, protocolErrorf("no end of the answer to /login")
}

// loginRefused returns the error for the traps of a login: an AuthError, unless
// the router was only too busy to look at it.
func (c *Client) loginRefused(traps []Trap) error {
	if len(traps) == 0 {
		return nil
	}
	trap := &TrapError{Path: "/login", Traps: traps}
	if Ambiguous(trap) {
		return trap
	}
	return &AuthError{User: c.cfg.User, Message: traps[0].Message}
}

// challengeResponse answers the challenge of RouterOS before 6.43: the MD5 sum
// of a zero byte, the password and the challenge.
func challengeResponse(password Secret, challenge string) (string, error) {
	raw, err := hex.DecodeString(challenge)
	if err != nil {
		return "", protocolErrorf("login challenge %.40q is not hexadecimal", challenge)
	}
	h := md5.New() //nolint:gosec // the login of RouterOS before 6.43 is defined with MD5
	_, _ = h.Write([]byte{0})
	_, _ = io.WriteString(h, password.Reveal())
	_, _ = h.Write(raw)
	return "00" + hex.EncodeToString(h.Sum(nil)), nil
}
