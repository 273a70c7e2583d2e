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

	// What the reader collects. Nobody else looks at it before the result is there.
	reply *Reply
	traps []Trap
	size  int

	sent      bool   // guarded by session.mu: given to the connection
	abandoned bool   // guarded by session.mu: nobody waits any more
	mark      uint64 // guarded by session.mu: session.heard when it was sent
	control   bool   // a /cancel of ours, for which nobody waits from the beginning
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

	mu        sync.Mutex
	calls     map[uint32]*call // what the router owes us, and what is still to be written
	owed      int              // calls that were sent, endless ones not counted
	abandoned int              // calls that were sent and that nobody waits for
	patience  time.Duration    // how long the router may be silent while owed > 0
	silentAt  time.Time        // the read deadline, zero for none
	heard     uint64           // sentences that came
	err       error            // why the session is over, nil before
	answered  bool             // a command was answered
}

// newSession returns a session on a connection that is logged in. It starts nothing.
func newSession(c *Client, conn net.Conn, reader *Reader) *session {
	return &session{
		client: c, conn: conn, close: closer(conn), reader: reader,
		queue: make(chan *call, c.cfg.MaxInFlight),
		over:  make(chan struct{}),
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
			k.result <- result{err: s.lostLocked(k)}
		}
	}
	close(s.over)
	s.mu.Unlock()
	_ = s.close()
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
func (s *session) do(ctx context.Context, cmd Command) (*Reply, error) {
	k := &call{cmd: cmd, timeout: cmd.Timeout, result: make(chan result, 1), reply: new(Reply)}
	if k.timeout == 0 {
		k.timeout = s.client.cfg.CommandTimeout
	}
	// Registered before it is queued, so that the session's end finds it in either place.
	if !s.register(k) {
		return nil, errNotSent
	}
	var expired <-chan time.Time
	if !cmd.Endless {
		timer := time.NewTimer(k.timeout)
		defer timer.Stop()
		expired = timer.C
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
	if s.err != nil {
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
	if !k.sent {
		delete(s.calls, k.tag)
		s.mu.Unlock()
		return false, false
	}
	s.abandoned++
	tooMany := s.abandoned > s.client.cfg.MaxInFlight
	silent := timedOut && s.heard == k.mark
	s.mu.Unlock()
	s.client.abandoned.Add(1)
	switch {
	case silent:
		s.fail(errSilent)
	case tooMany:
		s.fail(fmt.Errorf("%w: %d commands unanswered", ErrTimeout, s.client.cfg.MaxInFlight+1))
	case k.cmd.Endless:
		s.cancel(k.tag)
	}
	return false, true
}

// cancel tells the router to end the endless command with this tag.
func (s *session) cancel(tag uint32) {
	k := &call{
		cmd:       Command{Path: "/cancel", Args: []Attr{{Name: "tag", Value: strconv.FormatUint(uint64(tag), 10)}}},
		timeout:   s.client.cfg.CommandTimeout,
		abandoned: true,
		control:   true,
	}
	if !s.register(k) {
		return
	}
	select {
	case s.queue <- k:
	default: // nothing else would stop what the router sends for it
		s.fail(errors.New("no room for /cancel"))
	}
}
