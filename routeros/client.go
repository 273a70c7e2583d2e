package routeros

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Client sends commands to one router over one connection. Its methods may be
// called from any number of goroutines.
type Client struct {
	cfg   Config
	slots chan struct{} // one token for each command in flight
	wake  chan struct{} // tells Run that somebody waits for a connection

	running atomic.Bool
	tag     atomic.Uint32

	commands, traps, abandoned, late, connects atomic.Uint64

	mu      sync.Mutex
	session *session      // the connection, nil while there is none
	changed chan struct{} // closed and replaced when session or closed changes
	waiting int           // commands that wait for a connection
	lastErr error         // why there is no connection
	closed  bool          // Run has ended
}

// New checks the configuration and returns a Client that is not connected.
func New(cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Client{
		cfg:     cfg,
		slots:   make(chan struct{}, cfg.MaxInFlight),
		wake:    make(chan struct{}, 1),
		changed: make(chan struct{}),
	}, nil
}

// Do sends the command and waits for the end of its reply, as long as its
// timeout and ctx allow. While there is no connection it waits for one until
// ctx ends.
//
// The error is a [*TrapError] when the router refused, and a [*TransportError]
// when there was no answer; [Ambiguous] tells whether the router may have done it
// all the same. Do never sends a command twice.
func (c *Client) Do(ctx context.Context, cmd Command) (*Reply, error) {
	if err := cmd.check(); err != nil {
		return nil, err
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		err := fmt.Errorf("waiting for %d commands before it: %w", c.cfg.MaxInFlight, context.Cause(ctx))
		return nil, &TransportError{Op: cmd.Path, Err: err}
	}
	start := time.Now()
	reply, err := c.do(ctx, cmd)
	if err != nil {
		c.cfg.Logger.DebugContext(ctx, "router command", "command", cmd, "took", time.Since(start), "error", err)
		return nil, err
	}
	c.cfg.Logger.DebugContext(ctx, "router command", "command", cmd, "took", time.Since(start), "rows", len(reply.Rows))
	return reply, nil
}

// do gives the command to the present session, or to the next one when that
// one ended before the command was sent.
func (c *Client) do(ctx context.Context, cmd Command) (*Reply, error) {
	for {
		s, err := c.awaitSession(ctx)
		if err != nil {
			return nil, &TransportError{Op: cmd.Path, Err: err}
		}
		reply, err := s.do(ctx, cmd)
		if !errors.Is(err, errNotSent) {
			return reply, err
		}
		// Run may not have noticed yet that this session is over.
		c.drop(s)
	}
}

// awaitSession returns the connection, which it makes Run open if there is none.
func (c *Client) awaitSession(ctx context.Context) (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting++
	defer func() { c.waiting-- }()
	for {
		if c.closed {
			return nil, ErrClosed
		}
		if c.session != nil {
			return c.session, nil
		}
		select {
		case c.wake <- struct{}{}:
		default:
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
			c.mu.Lock()
		case <-ctx.Done():
			c.mu.Lock()
			if c.lastErr == nil {
				return nil, fmt.Errorf("waiting for the connection: %w", context.Cause(ctx))
			}
			return nil, fmt.Errorf("waiting for the connection: %w: %w", context.Cause(ctx), c.lastErr)
		}
	}
}

// Run opens the connection when a command needs it, again and again, until ctx ends.
// Then it closes the connection, fails what is in flight with [ErrClosed], and
// returns nil when everything that it started has ended. It can be called once.
func (c *Client) Run(ctx context.Context) error {
	if !c.running.CompareAndSwap(false, true) {
		return errors.New("routeros: client was run before")
	}
	defer c.close()
	pause := backoff{least: c.cfg.BackoffMin, most: c.cfg.BackoffMax, random: c.cfg.Random}
	// Without a command that waits there is no connection: a router that logs idle
	// users out, or is switched off on purpose, is left in peace.
	for c.awaitDemand(ctx) {
		s, err := c.connect(ctx)
		if err == nil {
			c.connects.Add(1)
			c.tell(State{Connected: true})
			c.publish(s)
			err = s.run(ctx)
			c.drop(s)
			if s.answered {
				pause.reset()
			}
		}
		if ctx.Err() != nil {
			break
		}
		c.lost(err)
		if s != nil && s.answered {
			continue // it worked until now: try again at once
		}
		if !sleep(ctx, c.pause(&pause, err)) {
			break
		}
	}
	return nil
}

// pause returns how long to wait after the error before connecting again.
func (c *Client) pause(b *backoff, err error) time.Duration {
	if _, ok := errors.AsType[*AuthError](err); ok {
		return spread(c.cfg.AuthBackoff, c.cfg.Random())
	}
	return b.next()
}

// sleep waits for d and reports whether ctx lasted as long.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// awaitDemand waits until a command needs a connection. It returns false when ctx ended.
func (c *Client) awaitDemand(ctx context.Context) bool {
	for {
		c.mu.Lock()
		waiting := c.waiting > 0
		c.mu.Unlock()
		if ctx.Err() != nil {
			return false
		}
		if waiting {
			return true
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			return false
		}
	}
}

// publish makes the session the one that commands use.
func (c *Client) publish(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.lastErr = s, nil
	c.changedLocked()
}

// drop takes the session out of use, if it still is the one.
func (c *Client) drop(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == s {
		c.session = nil
	}
}

// lost notes why there is no connection.
func (c *Client) lost(err error) {
	c.mu.Lock()
	c.lastErr = err
	c.mu.Unlock()
	c.tell(State{Err: err})
}

// close ends the client: waiting commands and those to come get ErrClosed.
func (c *Client) close() {
	c.mu.Lock()
	c.closed, c.session, c.lastErr = true, nil, ErrClosed
	c.changedLocked()
	c.mu.Unlock()
	c.tell(State{Err: ErrClosed})
}

// changedLocked wakes everybody who waits for a session.
func (c *Client) changedLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// tell calls the hook for a new state.
func (c *Client) tell(state State) {
	if c.cfg.OnState != nil {
		c.cfg.OnState(state)
	}
}

// nextTag returns a tag that no command in flight has: it comes again after 2³² commands.
func (c *Client) nextTag() uint32 {
	for {
		if tag := c.tag.Add(1); tag != 0 {
			return tag
		}
	}
}

// Stats is what a [Client] has done since it was made.
type Stats struct {
	// Connected is set while the connection stands.
	Connected bool
	// InFlight is how many commands wait for the connection or for their reply.
	InFlight int
	// Connects counts the connections that were made.
	Connects uint64
	// Commands counts the commands that were sent, without logins.
	Commands uint64
	// Traps counts the commands that the router refused.
	Traps uint64
	// Abandoned counts the commands that were sent and whose reply was not waited for.
	Abandoned uint64
	// Late counts the sentences that came for abandoned commands and were dropped.
	Late uint64
}

// Stats returns the counters. It does not wait for anything.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	connected := c.session != nil
	c.mu.Unlock()
	return Stats{
		Connected: connected,
		InFlight:  len(c.slots),
		Connects:  c.connects.Load(),
		Commands:  c.commands.Load(),
		Traps:     c.traps.Load(),
		Abandoned: c.abandoned.Load(),
		Late:      c.late.Load(),
	}
}
