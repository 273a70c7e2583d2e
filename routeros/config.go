package routeros

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"
)

// The values that a zero field of [Config] stands for.
const (
	// DefaultConnectTimeout limits connect, TLS handshake and login together.
	DefaultConnectTimeout = 10 * time.Second
	// DefaultCommandTimeout is how long a command may take.
	DefaultCommandTimeout = 10 * time.Second
	// DefaultMaxInFlight is how many commands may wait for replies at a time.
	DefaultMaxInFlight = 16
	// DefaultEachTimeout is how long the rows of one command may keep coming.
	DefaultEachTimeout = 5 * time.Minute
	// DefaultMaxRows is the maximum number of rows in a reply that is kept whole.
	DefaultMaxRows = 20_000
	// DefaultMaxReplyBytes is the memory limit for all unfinished replies together.
	DefaultMaxReplyBytes = 8 << 20
	// DefaultBackoffMin is the pause after the first failed attempt to connect.
	DefaultBackoffMin = 500 * time.Millisecond
	// DefaultBackoffMax is the longest pause between attempts to connect.
	DefaultBackoffMax = 30 * time.Second
	// DefaultAuthBackoff is the pause after a refused login.
	DefaultAuthBackoff = time.Minute
)

// highestInFlight is what MaxInFlight may be at most. RouterOS answers one
// command in about a millisecond; more in flight only wait on its side.
const highestInFlight = 1024

// Dial opens a connection to an address as a [Client] does it whose [Config.Dial] is nil: with a
// keepalive that finds a router without power in half a minute, also while no command is waiting for
// it. The error is that of [net.Dialer.DialContext].
func Dial(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 3 * time.Second, Count: 5}}
	return dialer.DialContext(ctx, "tcp", address)
}

// Config configures a [Client]. Only Address or Dial, and User, are required.
type Config struct {
	// Address is the router's API service as host:port. RouterOS listens on 8728 without
	// TLS, and on 8729 with it.
	Address string
	// Dial opens the connection instead of Address, if not nil. If TLS is set, the
	// handshake is done on the connection that it returns. TCP keepalive is then up to
	// Dial.
	Dial func(ctx context.Context) (net.Conn, error)
	// TLS turns TLS on. An empty ServerName becomes the host of Address. Nil means
	// no TLS.
	TLS *tls.Config
	// User is the name of the RouterOS user.
	User string
	// Password is the user's password; the zero value is the empty one.
	Password Secret

	// ConnectTimeout limits connect, TLS handshake and login together.
	ConnectTimeout time.Duration
	// CommandTimeout is how long a command may take that does not set its own. If the
	// router owes a reply and is silent for that long, the connection is given up.
	CommandTimeout time.Duration
	// MaxInFlight is how many commands may wait for replies at a time, at most 1024.
	// Others wait until one of them ends.
	MaxInFlight int
	// EachTimeout is how long [Client.Each] may take in all, while rows keep coming.
	EachTimeout time.Duration
	// MaxRows is the maximum number of rows in a reply to [Client.Do]; more are a
	// [*LimitError]. [Client.Each] has no such limit.
	MaxRows int
	// MaxReplyBytes limits the memory of the replies to all commands in flight together.
	// The command whose row exceeds it gets a [*LimitError].
	MaxReplyBytes int
	// Limits limits each sentence. A row that exceeds them is skipped and counted, see
	// [Reply.Skipped].
	Limits Limits

	// BackoffMin is the pause after the first failed attempt to connect. It
	// doubles with each further one.
	BackoffMin time.Duration
	// BackoffMax is the longest pause between two attempts.
	BackoffMax time.Duration
	// AuthBackoff is the pause after a refused login: a wrong password does not
	// become right by itself, and each attempt is an entry in the router's log.
	AuthBackoff time.Duration

	// Logger gets each command at debug level, without passwords. Nil means no log.
	Logger *slog.Logger
	// Random returns a number in [0, 1), which spreads the pauses. It must be safe for
	// concurrent use. Nil means [rand.Float64].
	Random func() float64
	// OnState is called whenever a connection is made, is lost, or cannot be made, one
	// call at a time. The connection waits while it runs, and it must not call
	// [Client.Do]. Nil means no callback.
	OnState func(State)
}

// withDefaults returns the configuration with every unset field filled, or why
// it cannot be used.
func (c Config) withDefaults() (Config, error) {
	if c.Address == "" && c.Dial == nil {
		return c, errors.New("routeros: neither address nor dial function given")
	}
	if c.User == "" {
		return c, errors.New("routeros: no user given")
	}
	if c.Address != "" {
		host, _, err := net.SplitHostPort(c.Address)
		if err != nil {
			return c, fmt.Errorf("routeros: %w", err)
		}
		if c.TLS != nil && c.TLS.ServerName == "" {
			c.TLS = c.TLS.Clone()
			c.TLS.ServerName = host
		}
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&c.ConnectTimeout, DefaultConnectTimeout},
		{&c.CommandTimeout, DefaultCommandTimeout},
		{&c.EachTimeout, DefaultEachTimeout},
		{&c.BackoffMin, DefaultBackoffMin},
		{&c.BackoffMax, DefaultBackoffMax},
		{&c.AuthBackoff, DefaultAuthBackoff},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	for _, n := range []struct {
		value    *int
		standard int
	}{
		{&c.MaxInFlight, DefaultMaxInFlight},
		{&c.MaxRows, DefaultMaxRows},
		{&c.MaxReplyBytes, DefaultMaxReplyBytes},
	} {
		if *n.value <= 0 {
			*n.value = n.standard
		}
	}
	c.MaxInFlight = min(c.MaxInFlight, highestInFlight)
	c.BackoffMax = max(c.BackoffMax, c.BackoffMin)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	return c, nil
}

// State is the argument of [Config.OnState].
type State struct {
	// Connected is set if there is a connection and the login was accepted.
	Connected bool
	// Err is why there is no connection: the reason for the loss or for the failed
	// attempt. It is [ErrClosed] at the end of Run, [ErrRenewed] after [Client.Renew], and
	// nil while Connected.
	Err error
}
