package routeros

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// errNotSent tells Do that the session ended before the command was given to
// the connection, so that the next session may have it.
var errNotSent = errors.New("connection ended before the command was sent")

// errSilent is why the connection to a router that says nothing is given up.
var errSilent = fmt.Errorf("%w: the connection is silent", ErrTimeout)

// call is one command from Do to the end of its reply.
type call struct {
	cmd     Command
	tag     uint32
	timeout time.Duration
	result  chan result // has room for the one result

	each func(Row) error // gets the rows; nil if the reply is kept

	turn chan struct{} // its one token is taken while each runs
	gone bool          // guarded by turn: the caller has left, each must not be called

	// What the reader collects, guarded by session.mu until the result is there.
	reply     *Reply
	traps     []Trap
	size      int       // bytes that reply takes
	err       error     // why the reply is of no use, nil if it is
	last      time.Time // when the last row came, or the call began
	until     time.Time // when a call with each has to end
	sent      bool      // guarded by session.mu: given to the connection
	abandoned bool      // guarded by session.mu: nobody waits any more
	mark      uint64    // guarded by session.mu: session.heard when it was sent
	control   bool      // a /cancel of ours, for which nobody waits from the beginning
}

// touch notes that a row came.
func (k *call) touch() { k.last = time.Now() }

// rest returns how much of its time a call has left, not counting its first timeout. A
// reply that is kept has one timeout, a table has one for each row.
func (s *session) rest(k *call) time.Duration {
	if k.each == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	until := k.last.Add(k.timeout)
	if until.After(k.until) {
		until = k.until
	}
	return time.Until(until)
}

// result is how a call ended.
type result struct {
	reply *Reply
	err   error
}

// session is one connection with a login. Three parties work on it: the reader
// (in the goroutine of run), the writer, and the callers of do.
type session struct {
	client *Client
	conn   net.Conn
	close  func() error // see closer
	reader *Reader
	queue  chan *call    // commands to be written
	over   chan struct{} // closed when the session has failed
	lent   Row           // the row that dispatch lends out; only the reader uses it
	began  time.Time     // when the login had worked
	number uint64        // counts the connections of the client from 1; set before it is used

	mu        sync.Mutex
	calls     map[uint32]*call // what the router owes us, and what is still to be written
	owed      int              // calls that were sent, endless ones not counted
	abandoned int              // calls that were sent and that nobody waits for
	patience  time.Duration    // how long the router may be silent while owed > 0
	silentAt  time.Time        // the read deadline, zero for none
	heard     uint64           // sentences that came
	held      int              // bytes of the replies in the making
	err       error            // why the session is over, nil before
	proven    bool             // a command worked that proves the session
	retired   bool             // takes no more calls, see Client.Renew
	retiring  *time.Timer      // ends a session that is retired and not idle
}

// newSession returns a session on a connection that is logged in. It starts nothing.
func newSession(c *Client, conn net.Conn, reader *Reader) *session {
	return &session{
		client: c, conn: conn, close: closer(conn), reader: reader,
		queue: make(chan *call, c.cfg.MaxInFlight),
		over:  make(chan struct{}), began: time.Now(),
		calls: make(map[uint32]*call),
	}
}

// closer returns what closes the connection at once. Closing TLS in order is to
// write to the router, which may be dead, and takes up to five seconds then.
func closer(conn net.Conn) func() error {
	if secure, ok := conn.(*tls.Conn); ok {
		return secure.NetConn().Close
	}
	return conn.Close
}

// run reads and writes until the session fails or ctx ends, and returns why.
// When it returns the connection is closed and every call has its result.
func (s *session) run(ctx context.Context) error {
	// The end of ctx closes the connection, which ends the reader and with it all else.
	var others sync.WaitGroup
	others.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer others.Done()
		s.fail(ErrClosed)
	})
	others.Go(s.write)
	s.fail(s.read())
	if stop() {
		others.Done()
	}
	others.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fail ends the session: the first reason counts. Every call gets it as its result.
func (s *session) fail(err error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = err
	for tag, k := range s.calls {
		delete(s.calls, tag)
		if !k.abandoned {
			s.dropLocked(k)
			k.result <- result{err: s.lostLocked(k)}
		}
	}
	if s.retiring != nil {
		s.retiring.Stop()
	}
	close(s.over)
	s.mu.Unlock()
	_ = s.close()
}

// retire ends the session as soon as nobody waits for a reply any more, but not
// later than after the timeout of a command.
func (s *session) retire() {
	s.mu.Lock()
	s.retired = true
	idle := s.idleLocked()
	if !idle {
		s.retiring = time.AfterFunc(s.client.cfg.CommandTimeout, func() { s.fail(ErrRenewed) })
	}
	s.mu.Unlock()
	if idle {
		s.fail(ErrRenewed)
	}
}

// idleLocked reports whether nobody waits for a reply. Endless commands, which
// would never end, do not count.
func (s *session) idleLocked() bool {
	for _, k := range s.calls {
		if !k.abandoned && !k.cmd.Endless {
			return false
		}
	}
	return true
}

// tooMany is why a session ends whose router owes too many answers.
func (s *session) tooMany() error {
	return fmt.Errorf("%w: %d commands unanswered", ErrTimeout, s.client.cfg.MaxInFlight+1)
}

// lostLocked returns the error for a call that the session's end leaves without reply.
func (s *session) lostLocked(k *call) error {
	if !k.sent {
		return errNotSent
	}
	return &TransportError{Op: k.cmd.Path, Sent: true, Err: s.err}
}

// do sends the command and waits for its reply.
//
// A command that is not answered in time is abandoned and the connection goes on:
// the late reply is known by its tag and dropped. (A client without tags has to
// drop the connection, or its next command gets that reply.) Only a router that
// was silent all the time loses the connection.
func (s *session) do(ctx context.Context, cmd Command, each func(Row) error) (*Reply, error) {
	k := &call{cmd: cmd, timeout: cmd.Timeout, each: each, result: make(chan result, 1), reply: new(Reply), last: time.Now()}
	if k.timeout == 0 {
		k.timeout = s.client.cfg.CommandTimeout
	}
	if each != nil {
		k.turn = make(chan struct{}, 1)
		defer k.leave()
	}
	k.until = k.last.Add(max(k.timeout, s.client.cfg.EachTimeout))
	// Registered before it is queued, so that the session's end finds it in either place.
	if !s.register(k) {
		return nil, errNotSent
	}
	timer := time.NewTimer(k.timeout)
	defer timer.Stop()
	expired := timer.C
	if cmd.Endless {
		expired = nil
	}
	queue := s.queue
	for {
		var why error
		select {
		case queue <- k:
			queue = nil // once is enough; a nil channel is never ready
			continue
		case r := <-k.result:
			return r.reply, r.err
		case <-expired:
			if rest := s.rest(k); rest > 0 {
				timer.Reset(rest)
				continue
			}
			why = ErrTimeout
		case <-ctx.Done():
			why = context.Cause(ctx)
		}
		ended, sent := s.abandon(k, errors.Is(why, ErrTimeout))
		if !ended {
			return nil, &TransportError{Op: cmd.Path, Sent: sent, Err: why}
		}
		r := <-k.result // it came in the same moment
		return r.reply, r.err
	}
}

// register gives the call its tag. It fails when the session is over.
func (s *session) register(k *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.retired && !k.control {
		return false
	}
	k.tag = s.client.nextTag()
	s.calls[k.tag] = k
	return true
}

// abandon gives the call up. It reports whether it has ended anyhow, so that its
// result is there, and whether it was sent. The router still owes the answer to
// a call that was sent, and the session keeps its tag until then. It gives up on
// a router that owes too many, and on one that let the call time out without
// saying anything at all.
func (s *session) abandon(k *call, timedOut bool) (ended, sent bool) {
	s.mu.Lock()
	if s.calls[k.tag] != k {
		s.mu.Unlock()
		return true, true
	}
	k.abandoned = true
	s.dropLocked(k)
	if sent = k.sent; sent {
		s.abandoned++
	} else {
		delete(s.calls, k.tag)
	}
	idle := s.retired && s.idleLocked()
	tooMany := s.abandoned > s.client.cfg.MaxInFlight
	silent := timedOut && s.heard == k.mark
	s.mu.Unlock()
	if sent {
		s.client.abandoned.Add(1)
	}
	switch {
	case idle:
		s.fail(ErrRenewed)
	case !sent:
	case silent:
		s.fail(errSilent)
	case tooMany:
		s.fail(s.tooMany())
	case k.cmd.Endless, k.each != nil:
		s.cancel(k) // Other commands are left to end: half of what they do is worse than all of it.
	}
	return false, sent
}

// cancel tells the router to end a command that is abandoned: one that would
// never end, or whose rows are of no use any more.
func (s *session) cancel(k *call) {
	c := &call{
		cmd:       Command{Path: "/cancel", Args: []Attr{{Name: "tag", Value: strconv.FormatUint(uint64(k.tag), 10)}}},
		timeout:   s.client.cfg.CommandTimeout,
		abandoned: true,
		control:   true,
	}
	if !s.register(c) {
		return
	}
	select {
	case s.queue <- c:
		return
	default:
	}
	if k.cmd.Endless {
		s.fail(errors.New("no room for /cancel")) // nothing else would stop what the router sends for it
		return
	}
	s.mu.Lock()
	delete(s.calls, c.tag)
	s.mu.Unlock()
}
