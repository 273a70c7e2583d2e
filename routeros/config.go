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
	// DefaultConnectTimeout bounds connect, TLS handshake and login together.
	DefaultConnectTimeout = 10 * time.Second
	// DefaultCommandTimeout is how long a command may take.
	DefaultCommandTimeout = 10 * time.Second
	// DefaultMaxInFlight is how many commands are sent before the first is answered.
	DefaultMaxInFlight = 16
	// DefaultMaxRows is the most rows in a reply.
	DefaultMaxRows = 20_000
	// DefaultMaxReplyBytes is the memory that the rows of a reply take.
	DefaultMaxReplyBytes = 32 << 20
	// DefaultBackoffMin is the pause after the first attempt to connect that failed.
	DefaultBackoffMin = 500 * time.Millisecond
	// DefaultBackoffMax is the longest pause between attempts to connect.
	DefaultBackoffMax = 30 * time.Second
	// DefaultAuthBackoff is the pause after a refused login.
	DefaultAuthBackoff = time.Minute
)

// highestInFlight is what MaxInFlight may be at most. RouterOS answers one
// command in about a millisecond; more in flight only wait on its side.
const highestInFlight = 1024

// keepAlive finds a router that lost power in half a minute, also while no
// command is waiting for it.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 3 * time.Second, Count: 5} //nolint:gochecknoglobals // a constant of a struct type

// Config is what a [Client] needs to know. Only Address or Dial, and User, have
// to be set.
type Config struct {
	// Address is the router's API service as host:port. RouterOS listens on 8728
	// without and on 8729 with TLS.
	Address string
	// Dial opens the connection in place of Address when it is not nil. With TLS
	// set the handshake is done on what it returns. TCP keepalive is then up to Dial.
	Dial func(ctx context.Context) (net.Conn, error)
	// TLS turns TLS on. An empty ServerName becomes the host of Address. Nil means
	// no TLS.
	TLS *tls.Config
	// User is the name of the RouterOS user.
	User string
	// Password is the user's password; the zero value is the empty one.
	Password Secret

	// ConnectTimeout bounds connect, TLS handshake and login together.
	ConnectTimeout time.Duration
	// CommandTimeout is how long a command may take that does not say otherwise. A
	// router that is silent for so long while it owes an answer is given up.
	CommandTimeout time.Duration
	// MaxInFlight is how many commands may wait for their replies at a time, at
	// most 1024. Further ones wait until one of them ended.
	MaxInFlight int
	// MaxRows is the most rows that a reply may have. More close the connection.
	MaxRows int
	// MaxReplyBytes is the memory that the rows of a reply may take. More close the connection.
	MaxReplyBytes int
	// Limits bounds the single sentence.
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
	// Random returns a number from 0 up to and not including 1, by which pauses are
	// spread. It must be safe for concurrent use. Nil means [rand.Float64].
	Random func() float64
	// OnState is told of every connection made, lost or failed to be made, one
	// call at a time. It holds up the connection while it runs and must not call
	// [Client.Do]. Nil means nobody wants to know.
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

// State is what [Config.OnState] is told.
type State struct {
	// Connected is set when the connection stands and the login was accepted.
	Connected bool
	// Err is why it does not stand: the reason of the loss or of the failed
	// attempt. It is [ErrClosed] at the end of Run and nil while Connected.
	Err error
}
