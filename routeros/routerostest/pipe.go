package routerostest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipeWindow is how much one side of a pipe can send before the other reads.
const pipeWindow = 256 << 10

// pipe is one end of a connection in memory. Unlike net.Pipe it has a buffer, as
// TCP has: a write returns before the other side reads. Waiting blocks durably
// in the sense of testing/synctest.
type pipe struct {
	local, remote net.Addr
	in, out       *stream
}

// stream is one direction of a connection.
type stream struct {
	mu   sync.Mutex
	cond *sync.Cond
	// buf[read:] is what was written and not read yet.
	buf  []byte
	read int
	// readErr is what a read returns once buf is empty, writeErr what a write
	// returns at once; nil while open.
	readErr, writeErr error
	// readLimit and writeLimit are the deadlines.
	readLimit, writeLimit deadline
}

// deadline is a time after which an operation fails. Its fields are guarded by
// the stream's lock.
type deadline struct {
	timer   *time.Timer
	expired bool
}

// newPipe returns the two ends of a connection.
func newPipe(a, b net.Addr) (first, second *pipe) {
	ab, ba := newStream(), newStream()
	return &pipe{local: a, remote: b, in: ba, out: ab}, &pipe{local: b, remote: a, in: ab, out: ba}
}

// newStream returns an open stream.
func newStream() *stream {
	s := &stream{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

// Read reads what the other side wrote.
func (p *pipe) Read(b []byte) (int, error) {
	s := p.in
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readLimit.expired:
			return 0, p.failed("read", os.ErrDeadlineExceeded)
		case s.waiting() > 0:
			n := copy(b, s.buf[s.read:])
			if s.read += n; s.waiting() == 0 {
				s.buf, s.read = s.buf[:0], 0
			}
			s.cond.Broadcast()
			return n, nil
		case s.readErr == io.EOF: //nolint:errorlint // our own value
			return 0, io.EOF
		case s.readErr != nil:
			return 0, p.failed("read", s.readErr)
		case len(b) == 0:
			return 0, nil
		}
		s.cond.Wait()
	}
}

// Write hands bytes to the other side and waits while its window is full.
func (p *pipe) Write(b []byte) (n int, err error) {
	s := p.out
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.writeErr != nil:
			return n, p.failed("write", s.writeErr)
		case s.writeLimit.expired:
			return n, p.failed("write", os.ErrDeadlineExceeded)
		case len(b) == 0:
			return n, nil
		}
		if room := min(pipeWindow-s.waiting(), len(b)); room > 0 {
			if s.read > pipeWindow { // do not carry along for ever what was read
				s.buf, s.read = append(s.buf[:0], s.buf[s.read:]...), 0
			}
			s.buf = append(s.buf, b[:room]...)
			n, b = n+room, b[room:]
			s.cond.Broadcast()
			continue
		}
		s.cond.Wait()
	}
}

// waiting returns how many bytes were written and not read yet.
func (s *stream) waiting() int { return len(s.buf) - s.read }

// Close ends the connection in order: the other side reads what was written, then the end.
func (p *pipe) Close() error {
	p.out.end(io.EOF, net.ErrClosed, false)
	p.in.end(net.ErrClosed, syscall.EPIPE, true)
	return nil
}

// reset ends the connection as an RST does: what was not read is lost.
func (p *pipe) reset() {
	p.out.end(syscall.ECONNRESET, net.ErrClosed, true)
	p.in.end(net.ErrClosed, syscall.ECONNRESET, true)
}

// end closes a stream; the first end counts.
func (s *stream) end(readErr, writeErr error, discard bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readErr == nil || discard && s.readErr == io.EOF && readErr == net.ErrClosed { //nolint:errorlint // our own values
		s.readErr = readErr
	}
	if s.writeErr == nil {
		s.writeErr = writeErr
	}
	if discard {
		s.buf, s.read = nil, 0
	}
	s.readLimit.stop()
	s.writeLimit.stop()
	s.cond.Broadcast()
}

// failed wraps an error as the net package does.
func (p *pipe) failed(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: p.local, Addr: p.remote, Err: err}
}

// LocalAddr returns the address of this end.
func (p *pipe) LocalAddr() net.Addr { return p.local }

// RemoteAddr returns the address of the other end.
func (p *pipe) RemoteAddr() net.Addr { return p.remote }

// SetDeadline sets both deadlines.
func (p *pipe) SetDeadline(t time.Time) error {
	p.in.limit(&p.in.readLimit, t)
	p.out.limit(&p.out.writeLimit, t)
	return nil
}

// SetReadDeadline sets the deadline of reads, also of one that waits.
func (p *pipe) SetReadDeadline(t time.Time) error {
	p.in.limit(&p.in.readLimit, t)
	return nil
}

// SetWriteDeadline sets the deadline of writes, also of one that waits.
func (p *pipe) SetWriteDeadline(t time.Time) error {
	p.out.limit(&p.out.writeLimit, t)
	return nil
}

// limit sets one of the stream's deadlines; the zero time is none.
func (s *stream) limit(d *deadline, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.stop()
	wait := time.Until(t)
	d.expired = !t.IsZero() && wait <= 0
	if !t.IsZero() && wait > 0 {
		var timer *time.Timer
		timer = time.AfterFunc(wait, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			// A timer that was stopped too late belongs to an older deadline.
			if d.timer == timer {
				d.expired = true
				s.cond.Broadcast()
			}
		})
		d.timer = timer
	}
	s.cond.Broadcast()
}

// stop takes the timer away.
func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
