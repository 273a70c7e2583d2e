package routeros

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
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

	commands, traps, abandoned, late, skipped, connects atomic.Uint64

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

// Do sends the command and waits for the end of its reply, for as long as its timeout and
// ctx allow. Without a connection it waits for one until ctx ends. It keeps the whole
// reply in memory: for a table that may be large, use [Client.Each].
//
// The error is a [*TrapError] if the router refused, a [*TransportError] if there was no
// reply, and a [*LimitError] if the reply is too large; [Ambiguous] reports whether the
// router may have executed the command anyway. Do never sends a command twice.
func (c *Client) Do(ctx context.Context, cmd Command) (*Reply, error) {
	start := time.Now()
	reply, err := c.send(ctx, cmd, nil)
	if err != nil {
		c.failed(ctx, cmd, start, err)
		return nil, err
	}
	c.worked(ctx, cmd, start, len(reply.Rows))
	return reply, nil
}

// Each is [Client.Do] for a table of any size: it calls f with each row as it arrives, in
// the router's order, and keeps none. The reply has everything but Rows. The command's
// timeout limits the wait for each row and for the end, and [Config.EachTimeout] the
// whole.
//
// The next row reuses a row's slice, and its strings are parts of one larger string: f
// keeps what it needs with [strings.Clone] or [Row.Clone]. An error from f ends the
// command, and Each returns it unchanged. After Each has returned, f is not running and is
// not called again. All commands on the connection wait while f runs: it must be quick,
// and must not use the client.
//
// An error may come after any number of rows.
func (c *Client) Each(ctx context.Context, cmd Command, f func(Row) error) (*Reply, error) {
	start, rows := time.Now(), 0
	reply, err := c.send(ctx, cmd, func(row Row) error {
		rows++
		return f(row)
	})
	if err != nil {
		c.failed(ctx, cmd, start, err)
		return nil, err
	}
	c.worked(ctx, cmd, start, rows)
	return reply, nil
}

// worked logs a command and how many rows its reply had.
func (c *Client) worked(ctx context.Context, cmd Command, start time.Time, rows int) {
	if c.cfg.Logger.Enabled(ctx, slog.LevelDebug) { // a copy of the command for a line that nobody reads
		c.cfg.Logger.DebugContext(ctx, "router command", "command", cmd, "took", time.Since(start), "rows", rows)
	}
}

// failed logs a command that did not work.
func (c *Client) failed(ctx context.Context, cmd Command, start time.Time, err error) {
	c.cfg.Logger.DebugContext(ctx, "router command", "command", cmd, "took", time.Since(start), "error", err)
}

// send checks the command, waits until not too many others are in flight, and
// sends it. Each is nil if the reply is to be kept.
func (c *Client) send(ctx context.Context, cmd Command, each func(Row) error) (*Reply, error) {
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
	return c.do(ctx, cmd, each)
}

// do gives the command to the present session, or to the next one when that
// one ended before the command was sent.
func (c *Client) do(ctx context.Context, cmd Command, each func(Row) error) (*Reply, error) {
	for {
		if cmd.Connection != 0 && cmd.Connection != c.Connection() {
			return nil, &TransportError{Op: cmd.Path, Err: ErrOtherConnection}
		}
		s, err := c.awaitSession(ctx)
		if err != nil {
			return nil, &TransportError{Op: cmd.Path, Err: err}
		}
		if cmd.Connection != 0 && cmd.Connection != s.number {
			return nil, &TransportError{Op: cmd.Path, Err: ErrOtherConnection}
		}
		reply, err := s.do(ctx, cmd, each)
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

// Connection returns the number of the present connection, counted from 1; 0 if there is none.
func (c *Client) Connection() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return 0
	}
	return c.session.number
}

// LocalAddress returns our address on the present connection, as our host sees it: a NAT on the way
// may give it another one. It is the zero Addr without a connection.
func (c *Client) LocalAddress() netip.Addr {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s == nil {
		return netip.Addr{}
	}
	local, err := netip.ParseAddrPort(s.conn.LocalAddr().String())
	if err != nil {
		return netip.Addr{} // not a connection of IP
	}
	return local.Addr().Unmap().WithZone("")
}

// RenewPause is the minimum age of a login before [Client.Renew] makes a new one.
const RenewPause = time.Minute

// Renew makes the client log in again, because a RouterOS session has the policies that
// its user had at login, whatever happens to the user's group afterwards. It waits for
// commands in flight, up to [Config.CommandTimeout]; later commands use the new
// connection. It makes at most one login per [RenewPause]: while the current one is
// younger, Renew does nothing and returns how long to wait, otherwise 0. Without a
// connection there is nothing to do.
func (c *Client) Renew() (wait time.Duration) {
	c.mu.Lock()
	s := c.session
	if s == nil {
		c.mu.Unlock()
		return 0
	}
	if wait = RenewPause - time.Since(s.began); wait > 0 {
		c.mu.Unlock()
		return wait
	}
	c.session = nil
	c.mu.Unlock()
	s.retire()
	return 0
}

// Run opens the connection when a command needs it, as often as needed, until ctx ends.
// Then it closes the connection, fails what is in flight with [ErrClosed], and returns nil
// when everything that it started has ended. Call it once.
//
// The pauses between attempts grow from [Config.BackoffMin] to [Config.BackoffMax]. They
// start over after a session that lived for a minute, or in which a command with
// [Command.Proves] succeeded, unless that session was shorter than the pause before it.
// Once a minute, such a session is followed by the next without a pause.
func (c *Client) Run(ctx context.Context) error {
	if !c.running.CompareAndSwap(false, true) {
		return errors.New("routeros: client was run before")
	}
	defer c.close()
	pauses := backoff{least: c.cfg.BackoffMin, most: c.cfg.BackoffMax, random: c.cfg.Random}
	// Without a command that waits there is no connection: a router that logs idle
	// users out, or is switched off on purpose, is left in peace.
	for c.awaitDemand(ctx) {
		s, err := c.connect(ctx)
		if err == nil {
			s.number = c.connects.Add(1)
			c.tell(State{Connected: true})
			c.publish(s)
			err = s.run(ctx)
			c.drop(s)
		}
		if ctx.Err() != nil {
			break
		}
		c.lost(err)
		if !sleep(ctx, c.pause(&pauses, s, err)) {
			break
		}
	}
	return nil
}

// pause returns how long to wait before connecting again, after an attempt that
// failed with err, or after a session that ended with it.
func (c *Client) pause(b *backoff, s *session, err error) time.Duration {
	if _, ok := errors.AsType[*AuthError](err); ok {
		return spread(c.cfg.AuthBackoff, c.cfg.Random())
	}
	if s == nil {
		return b.next()
	}
	return b.after(time.Since(s.began), s.proven)
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

// Stats is what a [Client] has done since it was created.
type Stats struct {
	// Connected is set while there is a connection.
	Connected bool
	// InFlight is how many commands wait for the connection or for their reply.
	InFlight int
	// Connects counts connections made.
	Connects uint64
	// Commands counts commands sent, without logins.
	Commands uint64
	// Traps counts the commands that the router refused.
	Traps uint64
	// Abandoned counts commands that were sent but whose reply nobody waited for.
	Abandoned uint64
	// Late counts sentences that arrived for abandoned commands and were dropped.
	Late uint64
	// Skipped counts rows that exceeded [Config.Limits].
	Skipped uint64
	// Held is the memory in bytes of unfinished replies.
	Held int
}

// Stats returns the counters. It never blocks.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	held := 0
	if s != nil {
		held = s.holds()
	}
	return Stats{
		Connected: s != nil,
		Held:      held,
		InFlight:  len(c.slots),
		Connects:  c.connects.Load(),
		Commands:  c.commands.Load(),
		Traps:     c.traps.Load(),
		Abandoned: c.abandoned.Load(),
		Late:      c.late.Load(),
		Skipped:   c.skipped.Load(),
	}
}
