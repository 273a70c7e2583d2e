package routeros

import (
	"context"
	"crypto/md5" //nolint:gosec // the login of RouterOS before 6.43 is defined with MD5
	"encoding/hex"
	"errors"
	"io"
	"net"
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
	raw := conn
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if c.cfg.TLS != nil {
		if conn, err = c.secure(ctx, raw); err != nil {
			_ = raw.Close()
			return nil, &TransportError{Op: "connecting", Err: err}
		}
	}
	reader := NewReader(conn, loginLimits())
	if err := c.login(conn, reader); err != nil {
		_ = raw.Close()
		return nil, c.loginError(ctx, err)
	}
	if !stop() {
		_ = raw.Close()
		return nil, c.loginError(ctx, context.Cause(ctx))
	}
	reader.limits = c.cfg.Limits.withDefaults()
	return newSession(c, conn, reader), nil
}

// loginLimits bounds the answer to a login, which has a few short words.
func loginLimits() Limits {
	return Limits{WordBytes: 4 << 10, SentenceWords: 16, SentenceBytes: 8 << 10}
}

// dial opens the connection.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	if c.cfg.Dial != nil {
		return c.cfg.Dial(ctx)
	}
	return Dial(ctx, c.cfg.Address)
}

// connectError wraps what went wrong on the way to a connection. When the time
// was up, that is the reason and not the I/O error by which it showed.
func connectError(ctx context.Context, op string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return &TransportError{Op: op, Err: err}
}

// loginError wraps what went wrong with a login. What the router said comes before
// the way in which the connection ended.
func (c *Client) loginError(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*AuthError](err); ok {
		return err
	}
	const op = "logging in"
	wrongPort := c.cfg.TLS == nil && c.dials(tlsPort)
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, ErrTimeout):
		return &TransportError{Op: op, Err: &LoginError{Err: ErrLoginSilent, WrongPort: wrongPort}}
	case cause == nil && hungUp(err):
		return &TransportError{Op: op, Err: &LoginError{Err: ErrLoginClosed, WrongPort: wrongPort}}
	}
	return connectError(ctx, op, err)
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
	if err := notAPI(reader); err != nil {
		return nil, err
	}
	var traps []Trap
	for range maxLoginSentences {
		words, err := reader.next()
		if reader.long != nil {
			err = protocolErrorf("longer than any answer to /login: %v", reader.long)
		}
		if err != nil {
			if refusal := c.loginRefused(traps, true); refusal != nil {
				return nil, refusal // it has said so, and hung up
			}
			return nil, err
		}
		switch {
		case words[0] == replyTrap:
			traps = append(traps, parseTrap(words[1:]))
		case words[0] == replyDone:
			return parseRow(words[1:]), c.loginRefused(traps, false)
		case words[0] == replyFatal && len(traps) > 0:
			return nil, c.loginRefused(traps, true)
		case words[0] == replyFatal:
			return nil, &FatalError{Reason: fatalReason(words[1:])}
		case words[0][0] != '!':
			return nil, protocolErrorf("%.40q is no reply to /login", words[0])
		}
	}
	return nil, protocolErrorf("no end of the answer to /login")
}

// notAPI looks at the beginning of an answer and returns an error if that is
// recognizably none of the API. Other errors show with the first sentence.
func notAPI(reader *Reader) error {
	first, _ := reader.br.Peek(firstBytes) // what is there if it is less
	if peer := findPeer(first); peer != PeerUnknown {
		return peerError(peer)
	}
	return nil
}

// loginRefused returns the error for the traps of a login: an AuthError, unless
// the router was only too busy to look at it. Closed says that it hung up then.
func (c *Client) loginRefused(traps []Trap, closed bool) error {
	if len(traps) == 0 {
		return nil
	}
	trap := &TrapError{Path: "/login", Traps: traps}
	if Ambiguous(trap) {
		return trap
	}
	return &AuthError{User: c.cfg.User, Message: traps[0].Message, Closed: closed}
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
